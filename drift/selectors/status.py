"""Do messages about alarms arrive? A section of the status page."""

from datetime import datetime, timedelta

from django.db.models import Count, Q

from drift.models import Notification, NotificationChannel
from fleet.status import BAD, GOOD, WARN, Line, Section

LATELY = timedelta(days=1)


def notifications(now: datetime) -> Section:
    """One line per channel: what became of its messages within a day."""
    recent = Q(notifications__created_at__gte=now - LATELY)
    failed = recent & Q(notifications__status=Notification.Status.FAILED)
    trying = Q(notifications__status=Notification.Status.PENDING, notifications__attempts__gt=0)
    channels = NotificationChannel.objects.annotate(
        sent=Count("notifications", filter=recent & Q(notifications__status=Notification.Status.SENT)),
        failed=Count("notifications", filter=failed),
        trying=Count("notifications", filter=trying),
    ).order_by("name")
    lines = [_line(channel) for channel in channels]
    if not lines:
        lines = [Line("Channels", GOOD, "none", "alarms are shown on their page and sent to nobody")]
    return Section("alarm-messages", "Messages about alarms", lines, None, "Does whoever should hear of alarms hear?")


def _line(channel: NotificationChannel) -> Line:
    note = f"{channel.get_kind_display()}, {channel.target}"[:120]
    if not channel.enabled:
        return Line(channel.name, WARN, "paused", note, "Enable it, or remove it.")
    newest = channel.notifications.exclude(last_error="").order_by("-id").values_list("last_error", flat=True).first()
    if channel.failed:
        remedy = f"Last answer: {newest}"[:300]
        return Line(channel.name, BAD, f"{channel.failed} failed for good in 24 h", note, remedy)
    if channel.trying:
        remedy = f"They are tried again by themselves. Last answer: {newest}"[:300]
        return Line(channel.name, WARN, f"{channel.trying} not delivered yet", note, remedy)
    return Line(channel.name, GOOD, f"{channel.sent} sent in 24 h", note)
