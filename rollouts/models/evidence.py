"""What a lane was judged on: looks, frozen evidence with its hash, and the recommendations drawn from it."""

from django.db import models

from fleet.models import User
from rollouts.models.cohorts import StageRun
from rollouts.models.rollouts import Lane, Rollout, Stage


class Look(models.Model):
    """One look at a stage run: the verdict per lane at that moment; never taken back, never repeated."""

    run = models.ForeignKey(StageRun, on_delete=models.CASCADE, related_name="look_rows")
    number = models.PositiveIntegerField()
    as_of = models.DateTimeField()
    verdict = models.CharField(max_length=16)
    reason = models.TextField()
    # One entry per hardware target: verdict, reason, metrics, shape, hard_limits, reporting (drift.stats.look).
    lanes = models.JSONField(default=list)
    pooled = models.JSONField(null=True, blank=True)
    completeness = models.JSONField(default=dict)
    # {hardware target: figures of policy.Exposure}
    exposure = models.JSONField(default=dict)
    alpha = models.FloatField(default=0.0)
    alpha_spent = models.FloatField(default=0.0)
    critical_value = models.FloatField(null=True, blank=True)

    class Meta:
        ordering = ["run", "number"]
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="look_once")]

    def __str__(self) -> str:
        return f"look {self.number} of {self.run}"

    def lane(self, hardware_target: str) -> dict | None:
        """The entry of one hardware target."""
        return next((lane for lane in self.lanes if lane["hardware_target"] == hardware_target), None)


class Evidence(models.Model):
    """A frozen document: canonical JSON and its SHA-256. Append-only by a trigger in the database."""

    class Kind(models.TextChoices):
        """What the document supports."""

        SUBMISSION = "submission", "Submission of a rollout"
        RECOMMENDATION = "recommendation", "Recommendation for a lane"

    kind = models.CharField(max_length=16, choices=Kind)
    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="evidence")
    lane = models.ForeignKey(Lane, null=True, blank=True, on_delete=models.CASCADE, related_name="evidence")
    stage = models.ForeignKey(Stage, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    sha256 = models.CharField(max_length=64)
    body = models.TextField()
    code_version = models.CharField(max_length=64)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name_plural = "evidence"
        indexes = [models.Index(fields=["sha256"])]

    def __str__(self) -> str:
        return self.sha256[:12]


class Recommendation(models.Model):
    """What the product advises for a lane, on which evidence, and what became of the advice."""

    class Status(models.TextChoices):
        """What became of it."""

        OPEN = "open", "Open"
        ACCEPTED = "accepted", "Accepted"
        DECLINED = "declined", "Declined"
        SUPERSEDED = "superseded", "Superseded"
        EXPIRED = "expired", "Expired"

    lane = models.ForeignKey(Lane, on_delete=models.CASCADE, related_name="recommendations")
    run = models.ForeignKey(StageRun, on_delete=models.CASCADE, related_name="recommendations")
    look = models.ForeignKey(Look, null=True, blank=True, on_delete=models.PROTECT, related_name="recommendations")
    # policy.Recommendation: promote, hold, rollback
    kind = models.CharField(max_length=8)
    verdict = models.CharField(max_length=16)
    reason = models.TextField()
    # [{"name", "verdict", "reason", "waits"}]
    checks = models.JSONField(default=list)
    # For a rollback: what it will do, see services.reversal.
    reverse_plan = models.JSONField(null=True, blank=True)
    # The stage that begins if the lane goes on, as it was when the evidence was frozen; null: completion.
    next_stage = models.ForeignKey(Stage, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    evidence = models.OneToOneField(Evidence, on_delete=models.PROTECT, related_name="recommendation")
    status = models.CharField(max_length=12, choices=Status, default=Status.OPEN)
    # Of a policy on trial: logged, and nothing followed from it.
    shadow = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["lane"], condition=models.Q(status="open"), name="recommendation_open_once")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.lane}"
