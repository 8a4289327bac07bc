"""Which steps of a series lie inside of windows that began earlier: measured, though nothing begins in them.

A window is stored whole in the minute in which it starts, so at a fine step the hour that it stands for would look like
one point and a silence after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
from django.db.models import Count, TextField, Value
from django.db.models.functions import Concat
from numpy.typing import NDArray

from telemetry.models import ReleaseSpan
from telemetry.resolution import HOUR
from telemetry.selectors.selection import Selection

# No window is longer.
LONGEST_WINDOW = HOUR


def window_reach(
    selection: Selection,
    groups: Sequence[Mapping[str, str]],
    received: NDArray[np.int64],
    covered_ms: NDArray[np.int64],
    *,
    start: datetime,
    step: timedelta,
) -> NDArray[np.int64]:
    """Over how many steps, its own included, the records of each step reach on average; 1 where no window does.

    Devices that reported nothing count as well, so a group whose devices are silent in part reaches less far.

    Args:
        received: inferences, shape (groups, steps); covered_ms: time that windows cover, of the same shape.
    """
    step_ms = step / timedelta(milliseconds=1)
    reach = np.ones(received.shape, dtype=np.int64)
    # Only a step that windows overfill and that nothing follows needs to be told how many devices it is of.
    followed = np.append(received[:, 1:] > 0, np.ones((len(received), 1), dtype=bool), axis=1)
    if not ((covered_ms > step_ms) & ~followed).any():
        return reach
    most = -(-LONGEST_WINDOW // step)
    sources = _sources(selection, groups, start, start + received.shape[1] * step)
    per_source = covered_ms / np.maximum(sources, 1)[:, None]
    return np.clip(np.ceil(per_source / step_ms), 1, most).astype(np.int64)


def spread(received: NDArray[np.int64], reach: NDArray[np.int64]) -> NDArray[np.float64]:
    """What was received, spread evenly over the steps that it reaches."""
    spread_out = np.where(reach == 1, received, 0).astype(np.float64)
    n_steps = received.shape[1]
    for group, step in zip(*np.nonzero(reach > 1), strict=True):
        steps = reach[group, step]
        spread_out[group, step : min(step + steps, n_steps)] += received[group, step] / steps
    return spread_out


def covering(received: NDArray[np.int64], reach: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each step the one whose records cover it: itself, an earlier one whose windows reach it, or -1 for none."""
    n_steps = received.shape[1]
    own = np.where(received > 0, np.arange(n_steps), -1)
    last = np.maximum.accumulate(own, axis=1)
    reached = np.take_along_axis(reach, np.maximum(last, 0), axis=1)
    return np.where((last >= 0) & (np.arange(n_steps) < last + reached), last, -1)


def _sources(
    selection: Selection, groups: Sequence[Mapping[str, str]], start: datetime, end: datetime
) -> NDArray[np.int64]:
    """How many pairs of device and workload each group has that ran in the range."""
    names = {
        "workload": "workload__slug",
        "release": "release__version",
        "hardware_target": "device__hardware_target__slug",
        "region": "device__region__slug",
        "device": "device__serial",
    }
    known = [name for name in names if any(name in group for group in groups)]
    spans = ReleaseSpan.objects.filter(selection.devices(), first_time__lt=end, last_time__gte=start - LONGEST_WINDOW)
    if selection.workload_id is not None:
        spans = spans.filter(workload=selection.workload_id)
    if selection.release_ids is not None:
        spans = spans.filter(release__in=selection.release_ids)
    if not known:
        return np.full(len(groups), spans.values("device", "workload").distinct().count())
    labels = [names[name] for name in known]
    pairs = Count(Concat("device", Value(" "), "workload", output_field=TextField()), distinct=True)
    counts = {tuple(key): n for *key, n in spans.values_list(*labels).annotate(n=pairs).order_by()}
    return np.array([counts.get(tuple(group[name] for name in known), 0) for group in groups])
