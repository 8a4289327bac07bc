"""The audit trail: every change of state, append-only by a trigger in the database."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from fleet.models.people import User


class AuditEntry(models.Model):
    """Who did what to which object, when, why, and on what evidence."""

    at = models.DateTimeField()
    # The person, where a person acted; `actor` is the text that survives the person's account.
    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.DO_NOTHING, db_constraint=False)
    actor = models.CharField(max_length=160)
    action = models.CharField(max_length=64)
    object_type = models.CharField(max_length=64)
    object_id = models.CharField(max_length=64)
    object_label = models.CharField(max_length=200)
    old = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)
    new = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)
    reason = models.TextField(blank=True, default="")
    evidence_hash = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["object_type", "object_id", "-at"], name="audit_by_object"),
            models.Index(fields=["-at"], name="audit_by_time"),
            models.Index(fields=["action", "-at"], name="audit_by_action"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.object_label}"
