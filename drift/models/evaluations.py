"""Evaluations of the fleet, their findings, and retrospectives over stored history."""

from django.db import models

from fleet.models import HardwareTarget, Release, User, Workload

# Statuses in which somebody still waits for a computation.
UNDER_WAY = ("queued", "running")


class Progress(models.TextChoices):
    """How far a long computation has come."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    STOPPED = "stopped", "Cancelled"


class Evaluation(models.Model):
    """One run of a statistical method over the fleet, with all that is needed to run it again."""

    class Kind(models.TextChoices):
        """Which question was asked."""

        BOARD = "board", "Fleet-wide drift board"
        SLOW_DRIFT = "slow_drift", "Slow drift"
        CREEP = "creep", "Creep against the anchor release"

    kind = models.CharField(max_length=16, choices=Kind)
    status = models.CharField(max_length=8, choices=Progress, default=Progress.QUEUED)
    as_of = models.DateTimeField()
    parameters = models.JSONField(default=dict)
    code_version = models.CharField(max_length=64)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["-as_of", "-id"]
        indexes = [models.Index(fields=["kind", "-as_of"])]

    def __str__(self) -> str:
        return f"{self.kind} as of {self.as_of:%Y-%m-%d %H:%M}"


class EvaluationCell(models.Model):
    """One release on one hardware target in an evaluation: the unit of work that one Celery task computes."""

    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="cells")
    workload = models.ForeignKey(Workload, on_delete=models.PROTECT)
    release = models.ForeignKey(Release, on_delete=models.PROTECT)
    hardware_target = models.ForeignKey(HardwareTarget, on_delete=models.PROTECT)
    status = models.CharField(max_length=8, choices=Progress, default=Progress.QUEUED)
    devices = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["evaluation", "workload", "release", "hardware_target"], name="evaluation_cell_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.release} on {self.hardware_target}"


class Finding(models.Model):
    """What one evaluation says of one metric of one release on one hardware target."""

    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="findings")
    workload = models.ForeignKey(Workload, on_delete=models.PROTECT)
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="findings")
    # What it was compared with; null where a period was compared with an earlier one of the same release.
    baseline_release = models.ForeignKey(Release, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    hardware_target = models.ForeignKey(HardwareTarget, null=True, blank=True, on_delete=models.PROTECT)
    metric = models.CharField(max_length=48)
    verdict = models.CharField(max_length=16)
    effect = models.FloatField(null=True)
    lower = models.FloatField(null=True)
    upper = models.FloatField(null=True)
    standard_error = models.FloatField(null=True)
    p_value = models.FloatField(null=True)
    # Benjamini-Hochberg adjusted over all cells of the evaluation.
    q_value = models.FloatField(null=True)
    n_treated = models.PositiveIntegerField(default=0)
    n_control = models.PositiveIntegerField(default=0)
    completeness = models.FloatField(null=True)
    attribution = models.JSONField(null=True, blank=True)
    reason = models.TextField(blank=True, default="")
    # What the method found on its way: days and path of a CUSUM, looks against a hold-back, steps of a creep.
    detail = models.JSONField(null=True, blank=True)

    class Meta:
        ordering = ["evaluation", "q_value"]
        constraints = [
            models.UniqueConstraint(
                fields=["evaluation", "release", "baseline_release", "hardware_target", "metric"],
                nulls_distinct=False,
                name="finding_once_per_cell",
            )
        ]

    def __str__(self) -> str:
        return f"{self.metric} of {self.release}"


class HoldBackWatch(models.Model):
    """One release on one hardware target, watched against the devices that were held back from it.

    A sequence of daily looks with one alpha; a look once taken stays taken, so what it leaves to the next is kept.
    """

    # The rollout that drew who is held back, by its id: this app knows nothing else of it.
    reference = models.BigIntegerField()
    workload = models.ForeignKey(Workload, on_delete=models.PROTECT)
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="+")
    hardware_target = models.ForeignKey(HardwareTarget, on_delete=models.PROTECT)
    started_at = models.DateTimeField()
    planned_looks = models.PositiveIntegerField()
    looks = models.PositiveIntegerField(default=0)
    last_look_at = models.DateTimeField(null=True, blank=True)
    look_state = models.JSONField(null=True, blank=True)
    # [{"as_of", "metrics": {metric: {"verdict", "effect", "lower", "upper", "margin", "margin_budget", …}}}], by look
    history = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ["-started_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["reference", "release", "hardware_target"], name="hold_back_watch_once")
        ]

    def __str__(self) -> str:
        return f"{self.release} on {self.hardware_target} against its hold-back"


class CreepAnchor(models.Model):
    """The release of a workload that later ones are summed up against; without one it is the oldest that still runs."""

    workload = models.OneToOneField(Workload, on_delete=models.CASCADE, related_name="creep_anchor")
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField(blank=True, default="")
    set_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL)
    set_at = models.DateTimeField()

    class Meta:
        ordering = ["workload"]

    def __str__(self) -> str:
        return f"{self.release} anchors {self.workload}"


class Retrospective(models.Model):
    """One run of the rollout engine over stored history: what would this policy have said?"""

    class Kind(models.TextChoices):
        """What is run."""

        RELEASE = "release", "A release against the one before"
        HISTORY = "history", "History against itself"

    kind = models.CharField(max_length=8, choices=Kind, default=Kind.RELEASE)
    request = models.JSONField()
    status = models.CharField(max_length=8, choices=Progress, default=Progress.QUEUED)
    looks_total = models.PositiveIntegerField(default=0)
    looks_done = models.PositiveIntegerField(default=0)
    result = models.JSONField(null=True, blank=True)
    error = models.TextField(blank=True, default="")
    code_version = models.CharField(max_length=64)
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    # Which process computes it, and when that was last heard of: a run whose process died is taken up again.
    claim = models.CharField(max_length=36, blank=True, default="")
    heard_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"retrospective {self.pk}"

    @property
    def under_way(self) -> bool:
        """Whether it is waiting or being computed."""
        return self.status in UNDER_WAY
