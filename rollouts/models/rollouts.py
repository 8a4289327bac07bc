"""A rollout with its stages, its lanes (one per hardware target), and every move that a lane made."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from fleet.models import HardwareTarget, Release, User, Workload
from fleet.models.people import Role
from rollouts.machine import State, rollout_state
from rollouts.plans import CHANGE_RECORD, Policy

STATES = [(state.value, state.value.replace("_", " ").capitalize()) for state in State]


class Rollout(models.Model):
    """A release on its way to a population. Its state is derived from its lanes and stored nowhere."""

    workload = models.ForeignKey(Workload, on_delete=models.PROTECT, related_name="rollouts")
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="rollouts")
    # {field of plans.CHANGE_RECORD: text or list of texts}; complete before submission.
    change_record = models.JSONField(default=dict, blank=True)
    # {"groups", "regions", "hardware_targets", "devices"}: lists of names; empty means the whole fleet.
    selector = models.JSONField(default=dict, blank=True)
    # plans.Policy as it was filled in when the rollout was drafted.
    policy = models.JSONField(default=dict)
    preset = models.CharField(max_length=32, blank=True, default="")
    # Every draw of every stage follows from this number and the devices' ids.
    seed = models.BigIntegerField()
    # What drafting decided by itself, in words ("stage internal left out: no device in group internal").
    notes = models.JSONField(default=list, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="rollouts")
    created_at = models.DateTimeField()
    submitted_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["workload", "-created_at"])]

    def __str__(self) -> str:
        return f"{self.release} (rollout {self.pk})"

    @property
    def rules(self) -> Policy:
        """The policy as an object."""
        return Policy(**self.policy)

    @property
    def status(self) -> State:
        """Derived from the lanes (prefetch them for lists)."""
        return rollout_state(lane.state for lane in self.lanes.all())

    @property
    def change_record_rows(self) -> list[tuple[str, object]]:
        """Title and text of each field, in order."""
        return [(title, self.change_record.get(name, "")) for name, title in CHANGE_RECORD.items()]


class Stage(models.Model):
    """One step of a rollout: whom it treats, and what must have been seen before the next."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="stages")
    order = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=64)
    selector = models.JSONField(default=dict, blank=True)
    share = models.FloatField()
    # Treats everyone selected; observational, so that only hard limits recommend a rollback.
    hand_picked = models.BooleanField(default=False)
    minimum_soak_s = models.PositiveIntegerField()
    minimum_devices = models.PositiveIntegerField()
    minimum_inferences = models.BigIntegerField()
    required_roles = ArrayField(models.CharField(max_length=20, choices=Role.choices), default=list, blank=True)
    # {"from": "22:00", "to": "04:30", "days": [...], "timezone": "site" | IANA name}
    maintenance_window = models.JSONField(null=True, blank=True)
    # Devices per lane that may be installing at once; null: no limit.
    concurrency = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["rollout", "order"]
        constraints = [
            models.UniqueConstraint(fields=["rollout", "order"], name="stage_order_unique"),
            models.UniqueConstraint(fields=["rollout", "name"], name="stage_name_unique"),
            models.CheckConstraint(condition=models.Q(share__gt=0, share__lte=1), name="stage_share_in_range"),
        ]

    def __str__(self) -> str:
        return self.name


class Lane(models.Model):
    """A hardware target within a rollout: moved, judged, stopped and rolled back by itself."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="lanes")
    hardware_target = models.ForeignKey(HardwareTarget, on_delete=models.PROTECT, related_name="lanes")
    state = models.CharField(max_length=24, choices=STATES, default=State.DRAFT)
    state_since = models.DateTimeField()
    stage = models.ForeignKey(Stage, null=True, blank=True, on_delete=models.PROTECT, related_name="lanes")
    run = models.ForeignKey("StageRun", null=True, blank=True, on_delete=models.PROTECT, related_name="current_lanes")
    # When the stage's minimum number of devices was confirmed; the soak counts from here.
    soak_started_at = models.DateTimeField(null=True, blank=True)
    # Set while a person holds the lane: no promotion is recommended until somebody resumes it.
    hold_reason = models.TextField(blank=True, default="")
    # End of the watch after completion; hold-back devices are released then.
    watched_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["rollout", "hardware_target__slug"]
        constraints = [
            models.UniqueConstraint(fields=["rollout", "hardware_target"], name="lane_once_per_target"),
            models.CheckConstraint(
                condition=models.Q(state__in=[state.value for state in State]), name="lane_state_known"
            ),
        ]
        indexes = [models.Index(fields=["state"])]

    def __str__(self) -> str:
        return f"{self.hardware_target.slug} of rollout {self.rollout_id}"


class LaneTransition(models.Model):
    """One move of a lane; append-only by a trigger in the database."""

    lane = models.ForeignKey(Lane, on_delete=models.CASCADE, related_name="transitions")
    at = models.DateTimeField()
    event = models.CharField(max_length=24)
    old = models.CharField(max_length=24)
    new = models.CharField(max_length=24)
    stage = models.ForeignKey(Stage, null=True, blank=True, on_delete=models.DO_NOTHING, related_name="+")
    actor = models.CharField(max_length=160)
    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.DO_NOTHING, db_constraint=False)
    reason = models.TextField(blank=True, default="")
    evidence_hash = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        ordering = ["lane", "at", "id"]
        indexes = [models.Index(fields=["-at"])]

    def __str__(self) -> str:
        return f"{self.old} -> {self.new}"
