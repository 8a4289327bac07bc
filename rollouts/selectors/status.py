"""Do other systems hear of rollouts? A section of the status page."""

from datetime import datetime, timedelta

from django.db.models import Count, Q

from fleet.status import BAD, GOOD, WARN, Line, Section
from rollouts.models import WebhookDelivery, WebhookEndpoint

LATELY = timedelta(days=1)


def webhooks(now: datetime) -> Section:
    """One line per endpoint: what became of its messages within a day."""
    recent = Q(deliveries__created_at__gte=now - LATELY)
    endpoints = WebhookEndpoint.objects.annotate(
        sent=Count("deliveries", filter=recent & Q(deliveries__status=WebhookDelivery.Status.SENT)),
        failed=Count("deliveries", filter=recent & Q(deliveries__status=WebhookDelivery.Status.FAILED)),
        trying=Count(
            "deliveries", filter=Q(deliveries__status=WebhookDelivery.Status.PENDING, deliveries__attempts__gt=0)
        ),
    ).order_by("name")
    lines = [_line(endpoint) for endpoint in endpoints]
    if not lines:
        lines = [Line("Webhooks", GOOD, "none", "no system is told of rollouts")]
    return Section("webhooks", "Webhooks of rollouts", lines, None, "Do other systems hear of rollouts?")


def _line(endpoint: WebhookEndpoint) -> Line:
    if not endpoint.enabled:
        return Line(endpoint.name, WARN, "paused", endpoint.url, "Enable it, or remove it.")
    newest = endpoint.deliveries.exclude(last_error="").order_by("-id").values_list("last_error", flat=True).first()
    if endpoint.failed:
        return Line(
            endpoint.name,
            BAD,
            f"{endpoint.failed} failed for good in 24 h",
            endpoint.url,
            f"Last answer: {newest}"[:300],
        )
    if endpoint.trying:
        remedy = f"They are tried again by themselves. Last answer: {newest}"[:300]
        return Line(endpoint.name, WARN, f"{endpoint.trying} not delivered yet", endpoint.url, remedy)
    return Line(endpoint.name, GOOD, f"{endpoint.sent} sent in 24 h", endpoint.url)
