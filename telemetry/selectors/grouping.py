"""Roll-ups of a selection, merged by time and by public dimensions: what every chart and figure is computed from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from fleet.models import Device, HardwareTarget, Region
from telemetry import store
from telemetry.resolution import EPOCH
from telemetry.rollups import Rollups
from telemetry.selectors.contexts import ContextLabels, labels_of_contexts
from telemetry.selectors.selection import Selection

_OF_CONTEXT = ("workload", "release", "power_mode")


@dataclass(frozen=True)
class Grouped:
    """Roll-ups with the key `group` (a position in `groups`) and, with a step, `bucket`; one row per key with data.

    `groups` holds one {dimension: public name} per group, in the order in which charts show them.
    """

    groups: list[dict[str, str]]
    rollups: Rollups


def grouped_rollups(
    selection: Selection,
    *,
    start: datetime,
    end: datetime,
    values: Sequence[str],
    group_by: Sequence[str] = (),
    step: timedelta | None = None,
    origin: datetime = EPOCH,
) -> Grouped:
    """Roll-ups of a selection over [start, end), from the cohort tiers, or the device tiers where devices are named.

    Versions are unique within a workload only, so grouping by release without a workload groups by workload as well.
    """
    group_by = _with_workload(group_by, selection)
    contexts = labels_of_contexts(selection)
    time_key = ("bucket",) if step is not None else ()
    context_key = ("context_id",) if set(group_by) & set(_OF_CONTEXT) else ()
    span = {"start": start, "end": end, "values": values, "step": step, "origin": origin}
    context_ids = sorted(contexts) if selection.of_context else None
    if selection.device_ids is None:
        place_keys = {"hardware_target": "hardware_target_id", "region": "region_id"}
        rollups = store.cohort_rollups(
            by=(*time_key, *context_key, *(key for name, key in place_keys.items() if name in group_by)),
            context_ids=context_ids,
            hardware_target_ids=selection.hardware_target_ids,
            region_ids=selection.region_ids,
            **span,
        )
        names = _place_names(group_by)
    else:
        of_device = set(group_by) & {"hardware_target", "region", "device"}
        rollups = store.device_rollups(
            selection.device_ids,
            by=(*time_key, *context_key, *(("device_id",) if of_device else ())),
            context_ids=context_ids,
            **span,
        )
        names = _device_names(selection.device_ids, of_device)
    names |= {name: _context_name(contexts, name) for name in group_by if name in _OF_CONTEXT}
    return _merge(rollups, group_by, names, by_time=step is not None)


def _with_workload(group_by: Sequence[str], selection: Selection) -> tuple[str, ...]:
    if "release" in group_by and "workload" not in group_by and selection.workload_id is None:
        return ("workload", *group_by)
    return tuple(group_by)


@dataclass(frozen=True)
class _Name:
    """How a dimension of a row is found: its key in the roll-ups, and the public name of a key's value."""

    key: str
    of: Callable[[int], str]


def _context_name(contexts: dict[int, ContextLabels], dimension: str) -> _Name:
    return _Name("context_id", lambda context_id: getattr(contexts[context_id], dimension))


def _place_names(group_by: Sequence[str]) -> dict[str, _Name]:
    names = {}
    for dimension, kind in (("hardware_target", HardwareTarget), ("region", Region)):
        if dimension in group_by:
            slugs = dict(kind.objects.values_list("pk", "slug"))
            names[dimension] = _Name(f"{dimension}_id", slugs.__getitem__)
    return names


def _device_names(device_ids: Sequence[int], dimensions: set[str]) -> dict[str, _Name]:
    if not dimensions:
        return {}
    rows = Device.objects.filter(pk__in=device_ids).values_list("pk", "serial", "hardware_target__slug", "region__slug")
    labels = {
        pk: {"device": serial, "hardware_target": target, "region": region} for pk, serial, target, region in rows
    }
    return {
        dimension: _Name("device_id", lambda device_id, dimension=dimension: labels[device_id][dimension])
        for dimension in dimensions
    }


def _merge(rollups: Rollups, group_by: Sequence[str], names: dict[str, _Name], *, by_time: bool) -> Grouped:
    """Rows of internal keys as rows of (bucket, group)."""
    keys = list(dict.fromkeys(names[dimension].key for dimension in group_by))
    if keys:
        stacked = np.column_stack([rollups.keys[key] for key in keys])
        unique, inverse = np.unique(stacked, axis=0, return_inverse=True)
        labels = [
            tuple(names[dimension].of(int(row[keys.index(names[dimension].key)])) for dimension in group_by)
            for row in unique
        ]
    else:
        unique, inverse, labels = np.zeros((1, 0)), np.zeros(rollups.n_rows, dtype=np.int64), [()]
    ordered = sorted(set(labels), key=lambda label: [natural_order(text) for text in label])
    place = np.array([ordered.index(label) for label in labels], dtype=np.int64)
    group = place[inverse.reshape(-1)] if rollups.n_rows else np.zeros(0, dtype=np.int64)
    merged = rollups.with_keys(group=group).merged_by(*(("bucket",) if by_time else ()), "group")
    groups = [dict(zip(group_by, label, strict=True)) for label in ordered]
    return Grouped(groups if rollups.n_rows else [], merged)


def natural_order(text: str) -> list[tuple[int, int, str]]:
    """A sort key in which 4.10.0 comes after 4.9.0."""
    parts: list[tuple[int, int, str]] = []
    for piece in text.replace("-", ".").split("."):
        parts.append((0, int(piece), "") if piece.isdecimal() else (1, 0, piece))
    return parts
