"""Why there is nothing to show: an empty chart names its cause instead of leaving people to guess."""

from __future__ import annotations

from datetime import datetime

from fleet.models import Device
from telemetry import store
from telemetry.models import QuarantinedRecord, RequestReject
from telemetry.selectors.grouping import grouped_rollups
from telemetry.selectors.selection import Selection

CAUSES = ("no_device", "not_measured", "filtered_out", "still_aggregating", "rejected", "no_data_in_range")


def why_empty(selection: Selection, *, start: datetime, end: datetime) -> tuple[str, int]:
    """One of CAUSES for a chart with nothing to show of [start, end), and for `rejected` how many records were refused.

    `not_measured`: there are inferences, but without what the chart is about.
    """
    if not Device.objects.exists():
        return "no_device", 0
    if grouped_rollups(selection, start=start, end=end, values=("count",)).rollups.numbers["count"].any():
        return "not_measured", 0
    if selection != Selection():
        anything = grouped_rollups(Selection(), start=start, end=end, values=("count",))
        if anything.rollups.n_rows:
            return "filtered_out", 0
    if store.marks_state(1)[0]:
        return "still_aggregating", 0
    records = QuarantinedRecord.objects.filter(selection.devices(), received_at__gte=start, received_at__lt=end)
    requests = RequestReject.objects.filter(selection.devices(), at__gte=start, at__lt=end)
    refused = records.count() + requests.count()
    return ("rejected", refused) if refused else ("no_data_in_range", 0)
