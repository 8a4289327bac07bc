"""How much of what devices measured has arrived, proven by the ledger: what stands beside every chart and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.db.models import Exists, OuterRef, Q
from numpy.typing import NDArray

from fleet.models import Device
from telemetry import store
from telemetry.models import ReleaseSpan
from telemetry.selectors.contexts import labels_of_contexts
from telemetry.selectors.grouping import grouped_rollups
from telemetry.selectors.selection import Selection
from telemetry.store import Loss


@dataclass(frozen=True)
class LostRecords:
    """Losses of a selection, each with the public names of what it belongs to."""

    losses: list[Loss]
    labels: list[dict[str, str]]

    def total(self, kind: str | None = None) -> float:
        """Records lost, of one kind or in all."""
        return float(sum(loss.records for loss in self.losses if kind in (None, loss.kind)))

    def on_grid(
        self, groups: list[dict[str, str]], start: datetime, step: timedelta, n_times: int
    ) -> NDArray[np.float64]:
        """Records lost per group and step, shape (groups, times); a loss is spread evenly over its time.

        A loss whose release or power mode nobody knows counts against every group that its other names fit.
        """
        grid = np.zeros((len(groups), n_times))
        for loss, labels in zip(self.losses, self.labels, strict=True):
            shares = _spread(loss, start, step, n_times)
            for k, group in enumerate(groups):
                if all(labels.get(name, value) == value for name, value in group.items()):
                    grid[k] += loss.records * shares
        return grid


@dataclass(frozen=True)
class Completeness:
    """What arrived of a selection over a range, and what is known not to have.

    Attributes:
        received: inferences stored.
        dropped: inferences that devices admit to have lost.
        missing: inferences in batches that never came, estimated from their neighbours.
        devices_expected: accepted devices that ran the selected workload or releases and did not go on to another.
        devices_reporting: those of them with records in the range.
    """

    received: int
    dropped: float
    missing: float
    devices_expected: int
    devices_reporting: int

    @property
    def share(self) -> float | None:
        """Share of the inferences made that arrived; None when none is known of."""
        made = self.received + self.dropped + self.missing
        return self.received / made if made else None

    @property
    def reporting_share(self) -> float | None:
        """Share of the expected devices that reported; None when none is expected."""
        return self.devices_reporting / self.devices_expected if self.devices_expected else None


def lost_records(selection: Selection, *, start: datetime, end: datetime) -> LostRecords:
    """Losses of a selection that overlap [start, end)."""
    losses = store.batch_losses(start, end, device_ids=selection.device_ids)
    if not losses:
        return LostRecords([], [])
    contexts = labels_of_contexts()
    chosen = set(labels_of_contexts(selection)) if selection.of_context else None
    devices = {
        pk: {"device": serial, "hardware_target": target, "region": region, "ids": (target_id, region_id)}
        for pk, serial, target, region, target_id, region_id in Device.objects.filter(
            pk__in={loss.device_id for loss in losses}
        ).values_list("pk", "serial", "hardware_target__slug", "region__slug", "hardware_target_id", "region_id")
    }
    kept, labels = [], []
    for loss in losses:
        context = contexts.get(loss.context_id) if loss.context_id is not None else None
        device = dict(devices[loss.device_id])
        target_id, region_id = device.pop("ids")
        if selection.hardware_target_ids is not None and target_id not in selection.hardware_target_ids:
            continue
        if selection.region_ids is not None and region_id not in selection.region_ids:
            continue
        if context is not None:
            if chosen is not None and loss.context_id not in chosen:
                continue
            device |= {"workload": context.workload, "release": context.release, "power_mode": context.power_mode}
        kept.append(loss)
        labels.append(device)
    return LostRecords(kept, labels)


def completeness(selection: Selection, *, start: datetime, end: datetime) -> Completeness:
    """What arrived of a selection over [start, end), and what is known not to have."""
    grouped = grouped_rollups(selection, start=start, end=end, values=("count",))
    lost = lost_records(selection, start=start, end=end)
    spans = ReleaseSpan.objects.filter(selection.devices(), device__status=Device.Status.ACCEPTED, first_time__lt=end)
    if selection.workload_id is not None:
        spans = spans.filter(workload=selection.workload_id)
    if selection.release_ids is not None:
        # a device that went on to another release is not expected on this one any more
        spans = spans.filter(Q(release__in=selection.release_ids), ~_superseded(start))
    expected = spans.values("device").distinct().count()
    reporting = spans.filter(last_time__gte=start).values("device").distinct().count()
    return Completeness(
        received=int(grouped.rollups.numbers["count"].sum()),
        dropped=lost.total("dropped"),
        missing=lost.total("gap"),
        devices_expected=expected,
        devices_reporting=reporting,
    )


def _superseded(start: datetime) -> Q:
    """A span that ended before `start` and after which its device ran something else."""
    later = ReleaseSpan.objects.filter(
        device=OuterRef("device"), workload=OuterRef("workload"), first_time__gt=OuterRef("last_time")
    )
    return Q(Exists(later), last_time__lt=start)


def _spread(loss: Loss, start: datetime, step: timedelta, n_times: int) -> NDArray[np.float64]:
    """Which share of a loss falls into each step; what lies outside of the grid falls into none."""
    edges = np.arange(n_times + 1) * (step / timedelta(seconds=1))
    begin = (loss.start - start).total_seconds()
    length = (loss.end - loss.start).total_seconds()
    if length <= 0:
        inside = (edges[:-1] <= begin) & (begin < edges[1:])
        return inside.astype(float)
    return np.diff(np.clip((edges - begin) / length, 0, 1))
