"""What devices recorded under which conditions: the input of attribution and of energy by temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from telemetry.selectors.contexts import labels_of_contexts
from telemetry.selectors.selection import Selection
from telemetry.store.cells import CellRow, device_cells

FACTORS = ("power_mode", "throttled", "temperature_band", "quality_band", "fallback")


@dataclass(frozen=True)
class DeviceCells:
    """Rows of (device, condition), one entry per row in every array.

    Attributes:
        device: position of the device in the ids asked for.
        factors: condition -> integer level. Power modes are levels of `power_modes`; bands and fallback as stored, -1
            where the record carried no reading.
        count, latency_sum, energy_n, energy_sum, confidence_n, confidence_sum: records and sums (ms, mJ, 1).
    """

    device: NDArray[np.int64]
    factors: Mapping[str, NDArray[np.int64]]
    power_modes: tuple[str, ...]
    count: NDArray[np.float64]
    latency_sum: NDArray[np.float64]
    energy_n: NDArray[np.float64]
    energy_sum: NDArray[np.float64]
    confidence_n: NDArray[np.float64]
    confidence_sum: NDArray[np.float64]


def cells_of_devices(
    device_ids: Sequence[int],
    *,
    workload_id: int,
    release_ids: Sequence[int] | None = None,
    exclude_release_ids: Sequence[int] = (),
    start: datetime,
    end: datetime,
    power_modes: Sequence[str] = (),
) -> DeviceCells:
    """The cells of devices over hours that begin in [start, end).

    Args:
        power_modes: power modes with the levels that an earlier reading gave them; new ones are added behind, so that
            two readings can be compared.
    """
    wanted = Selection(workload_id=workload_id, release_ids=None if release_ids is None else tuple(release_ids))
    labels = {
        pk: label
        for pk, label in labels_of_contexts(wanted).items()
        if label.release_id not in set(exclude_release_ids)
    }
    modes = list(power_modes)
    modes += sorted({label.power_mode for label in labels.values()} - set(modes))
    rows = device_cells(device_ids, context_ids=sorted(labels), start=start, end=end)
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(CellRow._fields))
    column = {name: table[:, index] for index, name in enumerate(CellRow._fields)}
    position = {device_id: index for index, device_id in enumerate(device_ids)}
    level = {pk: modes.index(label.power_mode) for pk, label in labels.items()}
    return DeviceCells(
        device=np.array([position[row.device_id] for row in rows], dtype=np.int64),
        factors={
            "power_mode": np.array([level[row.context_id] for row in rows], dtype=np.int64),
            **{name: column[name].astype(np.int64) for name in FACTORS[1:]},
        },
        power_modes=tuple(modes),
        **{name: column[name] for name in CellRow._fields[6:]},
    )
