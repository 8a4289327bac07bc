"""Which devices of a selection reported in a range: whom a question that reads devices one by one can ask."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from telemetry.models import ReleaseSpan
from telemetry.selectors.selection import Selection


def reporting_devices(
    selection: Selection, *, start: datetime, end: datetime, most: int | None = None
) -> tuple[list[int], int]:
    """Up to `most` devices of a selection that reported in [start, end), evenly picked by id, and how many did."""
    spans = ReleaseSpan.objects.filter(selection.devices(), first_time__lt=end, last_time__gte=start)
    if selection.workload_id is not None:
        spans = spans.filter(workload=selection.workload_id)
    if selection.release_ids is not None:
        spans = spans.filter(release__in=selection.release_ids)
    # without the model's own order, which would make every span of a device distinct
    ids = list(spans.order_by("device").values_list("device", flat=True).distinct())
    if most is None or len(ids) <= most:
        return ids, len(ids)
    return evenly_picked(ids, most), len(ids)


def evenly_picked(ids: list[int], most: int) -> list[int]:
    """At most so many of the ids, evenly spread over them."""
    if len(ids) <= most:
        return ids
    return [ids[k] for k in np.linspace(0, len(ids) - 1, most).round().astype(int)]
