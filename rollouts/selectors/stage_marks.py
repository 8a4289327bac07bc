"""When stages of rollouts began and ended: what time charts mark beside the releases that arrived."""

from __future__ import annotations

from datetime import datetime

from rollouts.models import StageRun
from telemetry.selectors.selection import Selection

MOST_RUNS = 20


def stage_marks(selection: Selection, *, start: datetime, end: datetime) -> list[tuple[datetime, str]]:
    """Moments within (start, end) at which a stage of a rollout in the selection began or ended, with words for it."""
    runs = StageRun.objects.filter(started_at__lt=end)
    if selection.workload_id is not None:
        runs = runs.filter(rollout__release__workload=selection.workload_id)
    if selection.release_ids is not None:
        runs = runs.filter(rollout__release__in=selection.release_ids)
    if selection.hardware_target_ids is not None:
        runs = runs.filter(lanes__hardware_target__in=selection.hardware_target_ids).distinct()
    marks = []
    newest = runs.order_by("-started_at").values_list("stage__name", "started_at", "ended_at")[:MOST_RUNS]
    for name, started_at, ended_at in newest:
        marks.append((started_at, f"{name} begins"))
        if ended_at is not None:
            marks.append((ended_at, f"{name} ends"))
    return sorted(mark for mark in marks if start < mark[0] < end)
