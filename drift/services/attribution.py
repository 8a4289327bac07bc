"""Why a metric changed: the cells of the devices concerned, taken apart, and what that may mean in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift.services.looks import LookOutcome, LookPlan
from drift.stats.attribution import CellTable, attribute
from drift.stats.metrics import METRICS
from drift.stats.reading import Circumstances, group_changes, read_attribution
from telemetry.models import DeviceLatest
from telemetry.selectors.cells import DeviceCells, cells_of_devices

# The sums that a metric's mean is made of; quantiles are explained by the mean of the same quantity.
_SUMS: dict[str, tuple[str, str]] = {
    "latency": ("count", "latency_sum"),
    "energy": ("energy_n", "energy_sum"),
    "confidence": ("confidence_n", "confidence_sum"),
}
CONDITIONS = ("power_mode", "throttled", "temperature_band", "quality_band", "fallback")


@dataclass(frozen=True)
class Comparison:
    """Whose change is to be explained, and when; `control` empty where there is none.

    Control devices are read on any release but `release_id`, treated ones on it since `started_at`.
    """

    workload_id: int
    release_id: int
    treated: Sequence[int]
    control: Sequence[int]
    pre_start: datetime
    started_at: datetime
    as_of: datetime
    seed: int = 0


def explain(comparison: Comparison, metric: str) -> dict[str, Any] | None:
    """The attribution of a metric's change with its readings, as plain JSON; None where it cannot be taken apart.

    Cells are hours, so the hour in which the change began counts as after it.
    """
    sums = _SUMS.get(METRICS[metric].source)
    if sums is None:
        return None
    devices = [*comparison.treated, *comparison.control]
    treated = np.arange(len(devices)) < len(comparison.treated)
    change_hour = comparison.started_at.replace(minute=0, second=0, microsecond=0)
    release = comparison.release_id
    before = cells_of_devices(
        devices,
        workload_id=comparison.workload_id,
        exclude_release_ids=(release,),
        start=comparison.pre_start,
        end=change_hour,
    )
    span = {"workload_id": comparison.workload_id, "start": change_hour, "end": comparison.as_of}
    since = [
        cells_of_devices(comparison.treated, release_ids=(release,), power_modes=before.power_modes, **span),
        cells_of_devices(comparison.control, exclude_release_ids=(release,), power_modes=before.power_modes, **span),
    ]
    after = _joined(_table(since[0], sums), _table(since[1], sums), offset=len(comparison.treated))
    return _explained(_table(before, sums), after, treated, devices, metric, seed=comparison.seed)


def explain_over_time(
    device_ids: Sequence[int],
    metric: str,
    *,
    workload_id: int,
    release_id: int,
    start: datetime,
    change: datetime,
    end: datetime,
) -> dict[str, Any] | None:
    """The same for devices that changed on one and the same release: without control it cannot name the release."""
    sums = _SUMS.get(METRICS[metric].source)
    if sums is None:
        return None
    before = cells_of_devices(device_ids, workload_id=workload_id, release_ids=(release_id,), start=start, end=change)
    after = cells_of_devices(
        device_ids,
        workload_id=workload_id,
        release_ids=(release_id,),
        start=change,
        end=end,
        power_modes=before.power_modes,
    )
    everyone = np.ones(len(device_ids), dtype=bool)
    return _explained(_table(before, sums), _table(after, sums), everyone, device_ids, metric, seed=0)


def explain_outcome(plan: LookPlan, outcome: LookOutcome, as_of: datetime) -> dict[str, Any]:
    """The attribution of every lane in which harm was shown, by hardware target; the worst metric speaks for its lane.

    Without such a lane there is nothing to explain, and the answer is empty.
    """
    found = {target: explain_lane(plan, target, metric, as_of) for target, metric in harmed_lanes(outcome).items()}
    return {target: explained for target, explained in found.items() if explained}


def harmed_lanes(outcome: LookOutcome) -> dict[str, str]:
    """Hardware targets in which harm was shown by a metric that can be taken apart, with the worst such metric."""
    found = {}
    for lane in outcome.lanes:
        metric = next(
            (
                row["metric"]
                for verdict in ("fail", "hold")
                for row in lane["metrics"]
                if row["verdict"] == verdict and METRICS[row["metric"]].source in _SUMS
            ),
            None,
        )
        if metric is not None:
            found[lane["hardware_target"]] = metric
    return found


def explain_lane(plan: LookPlan, target: str, metric: str, as_of: datetime) -> dict[str, Any] | None:
    """The attribution of a metric's change on one hardware target of a comparison."""
    arms = {
        treated: [
            device.device_id
            for device in plan.devices
            if device.hardware_target == target and device.treated is treated
        ]
        for treated in (True, False)
    }
    return explain(
        Comparison(
            workload_id=plan.workload_id,
            release_id=plan.release_id,
            treated=arms[True],
            control=arms[False],
            pre_start=plan.pre_start,
            started_at=plan.started_at,
            as_of=as_of,
            seed=plan.seed,
        ),
        metric,
    )


def _table(cells: DeviceCells, sums: tuple[str, str]) -> CellTable:
    count, total = (getattr(cells, name) for name in sums)
    kept = count > 0
    return CellTable(
        device=cells.device[kept],
        factors={name: cells.factors[name][kept] for name in CONDITIONS},
        count=count[kept],
        total=total[kept],
    )


def _joined(left: CellTable, right: CellTable, *, offset: int) -> CellTable:
    """Two arms' cells as one table; the right one's devices come after `offset` others."""
    return CellTable(
        device=np.concatenate([left.device, right.device + offset]),
        factors={name: np.concatenate([left.factors[name], right.factors[name]]) for name in CONDITIONS},
        count=np.concatenate([left.count, right.count]),
        total=np.concatenate([left.total, right.total]),
    )


def _explained(
    before: CellTable,
    after: CellTable,
    treated: NDArray[np.bool_],
    devices: Sequence[int],
    metric: str,
    *,
    seed: int,
) -> dict[str, Any] | None:
    found = attribute(before, after, treated, seed=seed)
    if found is None:
        return None
    changes = METRICS[metric].harm * (_device_means(after, len(devices)) - _device_means(before, len(devices)))
    firmware = dict(
        DeviceLatest.objects.filter(device__in=devices).values_list("device_id", "context__firmware_version")
    )
    groups = [firmware.get(device_id) or "unknown firmware" for device_id in devices]
    circumstances = Circumstances(
        groups=group_changes(changes, treated, groups, seed=seed) if (~treated).any() else (),
        device_changes=changes[treated],
    )
    return {
        "metric": metric,
        **found.to_dict(),
        "readings": [reading.to_dict() for reading in read_attribution(found, circumstances)],
        "caveat": "Shares describe where a change lies among recorded conditions; they prove no cause.",
    }


def _device_means(table: CellTable, n: int) -> NDArray[np.float64]:
    """Each device's mean over all its cells, shape (n,); NaN where it has none."""
    count = np.bincount(table.device, weights=table.count, minlength=n)
    total = np.bincount(table.device, weights=table.total, minlength=n)
    return np.divide(total, count, out=np.full(n, np.nan), where=count > 0)
