"""Ground-truth labels, and the queue of inferences that are worth labelling."""

from django.db import models

from fleet.models import Device, Release, Workload


class Sampling(models.TextChoices):
    """How an inference came to be labelled, which decides how it may be counted."""

    RANDOM = "random", "At random"
    UNCERTAIN = "uncertain", "Because the model was uncertain"
    OTHER = "other", "Chosen by a person"


class LabelRequest(models.Model):
    """An inference whose truth is worth knowing."""

    class Status(models.TextChoices):
        """Where the request stands."""

        OPEN = "open", "Open"
        LABELLED = "labelled", "Labelled"
        SKIPPED = "skipped", "Skipped"

    workload = models.ForeignKey(Workload, on_delete=models.PROTECT)
    release = models.ForeignKey(Release, on_delete=models.PROTECT)
    device = models.ForeignKey(Device, on_delete=models.PROTECT)
    time = models.DateTimeField()
    sample_ref = models.CharField(max_length=200, blank=True, default="")
    predicted_class = models.CharField(max_length=128)
    confidence = models.FloatField(null=True)
    sampling = models.CharField(max_length=12, choices=Sampling)
    # The chance with which this inference was drawn; its inverse is its weight.
    inclusion_probability = models.FloatField()
    status = models.CharField(max_length=8, choices=Status, default=Status.OPEN)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["status", "-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["device", "workload", "time", "sampling"], name="label_request_once")
        ]

    def __str__(self) -> str:
        return f"{self.predicted_class} on {self.device}"


class Label(models.Model):
    """What an inference should have said."""

    request = models.OneToOneField(LabelRequest, null=True, blank=True, on_delete=models.SET_NULL, related_name="label")
    workload = models.ForeignKey(Workload, on_delete=models.PROTECT)
    release = models.ForeignKey(Release, on_delete=models.PROTECT)
    device = models.ForeignKey(Device, on_delete=models.PROTECT)
    time = models.DateTimeField()
    sample_ref = models.CharField(max_length=200, blank=True, default="")
    predicted_class = models.CharField(max_length=128)
    true_class = models.CharField(max_length=128)
    confidence = models.FloatField(null=True)
    sampling = models.CharField(max_length=12, choices=Sampling, default=Sampling.OTHER)
    inclusion_probability = models.FloatField(null=True)
    labelled_by = models.CharField(max_length=160)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["device", "workload", "time"], name="label_once_per_inference")]

    def __str__(self) -> str:
        return f"{self.true_class} for {self.predicted_class}"
