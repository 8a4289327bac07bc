"""Who got the release when, and with whom they are compared; frozen at the start of a stage."""

from django.db import models

from fleet.models import Device, Release
from rollouts.cohorts import Arm
from rollouts.models.rollouts import Lane, Rollout, Stage


class StageRun(models.Model):
    """A stage as it was started for some lanes at once: one draw, one comparison, one sequence of looks."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="runs")
    stage = models.ForeignKey(Stage, on_delete=models.PROTECT, related_name="runs")
    lanes = models.ManyToManyField(Lane, related_name="runs")
    started_at = models.DateTimeField()
    # Derived from the rollout's seed; kept because a replay starts from it.
    seed = models.BigIntegerField()
    randomised = models.BooleanField()
    # [{"stratum", "hardware_target", "eligible", "treated", "control", "holdback"}]
    strata = models.JSONField(default=list)
    # {reason: number of devices left out, …} as of the start
    excluded = models.JSONField(default=dict)
    pre_start = models.DateTimeField()
    pre_end = models.DateTimeField()
    # Looks taken; the next look compares and swaps this number, so that two workers never take the same one.
    looks = models.PositiveIntegerField(default=0)
    next_look_at = models.DateTimeField()
    # A large stage is written down piece by piece: members drawn, members written, and when the last one was.
    drawn = models.PositiveIntegerField(default=0)
    written = models.PositiveIntegerField(default=0)
    ready_at = models.DateTimeField(null=True, blank=True)
    last_look_at = models.DateTimeField(null=True, blank=True)
    # What the last look leaves to the next (surviving assignments, alpha spent, running intervals).
    look_state = models.JSONField(null=True, blank=True)
    last_error = models.TextField(blank=True, default="")
    last_error_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["rollout", "started_at", "id"]
        indexes = [
            models.Index(fields=["next_look_at"], condition=models.Q(ended_at=None), name="run_due"),
            models.Index(fields=["id"], condition=models.Q(ready_at=None), name="run_starting"),
        ]

    def __str__(self) -> str:
        return f"{self.stage.name} of rollout {self.rollout_id}"

    @property
    def is_starting(self) -> bool:
        """Whether part of the cohort is still to be written and queued: nothing is judged before it is whole."""
        return self.ready_at is None


class DrawnMember(models.Model):
    """A device of a draw that is not written down yet, in the order of writing; gone once the stage has started.

    Plain numbers without foreign keys: a hundred thousand of them are copied in within a second.
    """

    run = models.ForeignKey(StageRun, on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False)
    position = models.PositiveIntegerField()
    device_id = models.BigIntegerField()
    lane_id = models.BigIntegerField()
    arm = models.CharField(max_length=8)
    stratum = models.CharField(max_length=200)
    analysed = models.BooleanField()
    previous_release_id = models.BigIntegerField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "position"], name="drawn_once")]

    def __str__(self) -> str:
        return f"{self.device_id} {self.arm}"


class CohortMember(models.Model):
    """A device in its arm of a stage run."""

    run = models.ForeignKey(StageRun, on_delete=models.CASCADE, related_name="members")
    lane = models.ForeignKey(Lane, on_delete=models.CASCADE, related_name="members")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="cohorts")
    arm = models.CharField(max_length=8, choices=[(arm.value, arm.value.capitalize()) for arm in Arm])
    stratum = models.CharField(max_length=200)
    # In the comparison; of very large stages only a random part is.
    analysed = models.BooleanField(default=True)
    # What the device ran when the stage started, as far as telemetry knew: where a rollback leads.
    previous_release = models.ForeignKey(Release, null=True, blank=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["run", "device"]
        constraints = [
            models.UniqueConstraint(fields=["run", "device"], name="member_once_per_run"),
            models.CheckConstraint(condition=models.Q(arm__in=[arm.value for arm in Arm]), name="member_arm_known"),
        ]
        indexes = [models.Index(fields=["lane", "arm"])]

    def __str__(self) -> str:
        return f"{self.device_id} {self.arm}"


class Holdback(models.Model):
    """A device that stays on its release until the watch period of its lane is over."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="holdbacks")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="+")
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rollout", "device"], name="holdback_once")]

    def __str__(self) -> str:
        return f"{self.device_id} held back from rollout {self.rollout_id}"
