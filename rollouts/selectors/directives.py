"""What running stages ask of their devices: a larger share of raw records while they are watched."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rollouts.models import CohortMember, StageRun


def of_running_stages(now: datetime) -> dict[int, dict[str, Any]]:
    """The directives of every device that a running stage compares, by device id.

    Both arms are asked alike: what the records cost a device must not look like the release's doing. It ends with the
    stage, as there is nothing kept that would have to be withdrawn.
    """
    runs = StageRun.objects.filter(started_at__lte=now, ended_at=None, rollout__policy__raw_sample_rate__gt=0)
    asked: dict[int, dict[str, Any]] = {}
    for run_id, rate in runs.values_list("pk", "rollout__policy__raw_sample_rate"):
        members = CohortMember.objects.filter(run=run_id, analysed=True).values_list("device_id", flat=True)
        for device_id in members:
            values = asked.setdefault(device_id, {"raw_sample_rate": rate})
            values["raw_sample_rate"] = max(values["raw_sample_rate"], rate)
    return asked
