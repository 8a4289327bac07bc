"""Signatures of the release board."""

from django.db import models

from fleet.models import User
from fleet.models.people import Role
from rollouts.models.evidence import Evidence
from rollouts.models.rollouts import Lane, Rollout, Stage


class Approval(models.Model):
    """One signature: a person, in one role, for one document; it ends with the document or at its own expiry."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="approvals")
    # Null for the start of the rollout, which is signed for all lanes at once.
    lane = models.ForeignKey(Lane, null=True, blank=True, on_delete=models.CASCADE, related_name="approvals")
    # The stage that the signature lets begin; null where it lets the lane complete.
    stage = models.ForeignKey(Stage, null=True, blank=True, on_delete=models.PROTECT, related_name="approvals")
    evidence = models.ForeignKey(Evidence, on_delete=models.PROTECT, related_name="approvals")
    role = models.CharField(max_length=20, choices=Role.choices)
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="approvals")
    remark = models.TextField()
    signed_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["signed_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["evidence", "role"], name="approval_once_per_role"),
            models.UniqueConstraint(fields=["evidence", "user"], name="approval_once_per_person"),
        ]

    def __str__(self) -> str:
        return f"{self.user} as {self.role}"
