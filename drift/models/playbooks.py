"""Playbooks: for each kind of alarm the known causes, what to check and what to do; every edit is a new version."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from fleet.models import User


class Playbook(models.Model):
    """The playbook of one kind of alarm."""

    alarm_kind = models.CharField(max_length=32, unique=True)
    title = models.CharField(max_length=128)

    class Meta:
        ordering = ["title"]

    def __str__(self) -> str:
        return self.title


class PlaybookVersion(models.Model):
    """One edition of a playbook; an alarm keeps the edition that it was raised with."""

    playbook = models.ForeignKey(Playbook, on_delete=models.CASCADE, related_name="versions")
    version = models.PositiveIntegerField()
    causes = ArrayField(models.TextField())
    checks = ArrayField(models.TextField())
    actions = ArrayField(models.TextField())
    edited_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["playbook", "-version"]
        constraints = [models.UniqueConstraint(fields=["playbook", "version"], name="playbook_version_unique")]

    def __str__(self) -> str:
        return f"{self.playbook.title}, version {self.version}"
