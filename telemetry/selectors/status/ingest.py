"""Does what devices send arrive, and how soon is it on the charts?"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Count

from fleet.models import Device
from fleet.status import BAD, GOOD, WARN, Line, Section, words_of_bytes, words_of_seconds
from telemetry import store
from telemetry.models import DeviceLatest, QuarantinedRecord, RequestReject
from telemetry.selectors.status import server_metrics
from telemetry.store.status import taken_since

LATELY = timedelta(minutes=5)
HOUR = timedelta(hours=1)
# An acknowledgement that takes longer ties up device radios; above the second bound something is wrong.
SLOW_S, VERY_SLOW_S = 0.5, 2.0
FOLDING_LATE, FOLDING_STUCK = timedelta(minutes=1), timedelta(minutes=10)
MOST_MARKS = 100_000


def ingest(now: datetime) -> Section:
    """The section of the status page."""
    lines = [_rate(now), *_answers(server_metrics.recent(now)), _refused(now), _folding(now)]
    return Section("ingest", "Ingest", lines, None, "Does what devices send arrive?")


def _rate(now: datetime) -> Line:
    taken = taken_since(now - LATELY)
    if taken.batches:
        per_s = taken.inferences / LATELY.total_seconds()
        note = f"{taken.batches} batches from {taken.devices} devices in 5 minutes, {words_of_bytes(taken.bytes)}"
        return Line("Arriving", GOOD, f"{per_s:,.1f} inferences/s", note)
    newest = DeviceLatest.objects.order_by("-last_seen_at").values_list("last_seen_at", flat=True).first()
    if newest is None:
        known = Device.objects.filter(status=Device.Status.ACCEPTED).exists()
        remedy = "Enrol a device." if not known else "No device has ever sent; see ingest health for what was refused."
        return Line("Arriving", WARN if known else GOOD, "nothing yet", remedy=remedy)
    silent = words_of_seconds((now - newest).total_seconds())
    remedy = "See whether devices reach this address, and ingest health for what was refused."
    return Line("Arriving", BAD, f"nothing for {silent}", "no device at all has sent", remedy)


def _answers(recent: server_metrics.Recent) -> list[Line]:
    when = "in the last minutes" if recent.since else "since the web processes began"
    if recent.p99 is None:
        return [Line("Acknowledged in", GOOD, "no request", when)]
    state = BAD if recent.p99 > VERY_SLOW_S else WARN if recent.p99 > SLOW_S else GOOD
    remedy = "Add web processes, or look at the database." if state != GOOD else ""
    times = f"p50 {words_of_seconds(recent.p50)}, p99 {words_of_seconds(recent.p99)}"
    away = recent.answers.get("503", 0)
    throttled = recent.answers.get("429", 0)
    said = ", ".join(f"{n:,.0f} × {status}" for status, n in recent.answers.items())
    return [
        Line("Acknowledged in", state, times, f"{recent.requests:,.0f} requests {when}", remedy),
        Line(
            "Answers",
            BAD if away else WARN if throttled > 0.05 * recent.requests else GOOD,
            said,
            when,
            "503: the pool was empty or the database away; devices send again, nothing is lost."
            if away
            else "429: devices send more than their allowance; see ingest health."
            if throttled > 0.05 * recent.requests
            else "",
        ),
    ]


def _refused(now: datetime) -> Line:
    requests = RequestReject.objects.filter(at__gte=now - HOUR).aggregate(n=Count("pk"))["n"]
    records = QuarantinedRecord.objects.filter(received_at__gte=now - HOUR).aggregate(n=Count("pk"))["n"]
    if not requests and not records:
        return Line("Refused in the last hour", GOOD, "nothing")
    value = f"{requests} requests, {records} records"
    return Line("Refused in the last hour", WARN, value, remedy="Ingest health names each reason with a sample.")


def _folding(now: datetime) -> Line:
    waiting, since = store.marks_state(MOST_MARKS)
    if since is None:
        return Line("Folded into the tiers", GOOD, "everything", "no mark waits")
    lag = now - since
    state = BAD if lag > FOLDING_STUCK else WARN if lag > FOLDING_LATE else GOOD
    value = f"{waiting:,} marks wait, the oldest for {words_of_seconds(max(lag.total_seconds(), 0.0))}"
    remedy = "Charts of cohorts lag behind: see whether “fold dirty buckets” runs." if state != GOOD else ""
    return Line("Folded into the tiers", state, value, "charts read what waits before they answer", remedy)
