"""Webhooks: who wants to hear of rollouts, and each message with what became of it."""

from django.contrib.postgres.fields import ArrayField
from django.db import models


class WebhookEndpoint(models.Model):
    """A URL that hears of events, each message signed with the endpoint's secret."""

    name = models.CharField(max_length=64, unique=True)
    url = models.URLField(max_length=500)
    # Key of the HMAC-SHA256 signature.
    secret = models.CharField(max_length=128)
    # Events such as "lane.rollback_recommended"; empty means all.
    events = ArrayField(models.CharField(max_length=48), default=list, blank=True)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class WebhookDelivery(models.Model):
    """One message to one endpoint."""

    class Status(models.TextChoices):
        """What became of it."""

        PENDING = "pending", "Pending"
        SENT = "sent", "Sent"
        FAILED = "failed", "Failed for good"

    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=48)
    payload = models.JSONField()
    status = models.CharField(max_length=8, choices=Status, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    last_error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "webhook deliveries"
        indexes = [models.Index(fields=["next_attempt_at"], condition=models.Q(status="pending"), name="webhook_due")]

    def __str__(self) -> str:
        return f"{self.event} to {self.endpoint}"
