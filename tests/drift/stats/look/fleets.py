"""Small looks made by hand for the tests of the entry point."""

from typing import Any

import numpy as np

from drift.stats.look import LookInput, MetricInput


def cohorts(lanes: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """Devices, treated, strata and lanes for `{lane: (treated, control)}`, one stratum per lane."""
    devices, treated, strata, names = [], [], [], []
    for lane, (canary, control) in lanes.items():
        for i in range(canary + control):
            devices.append(f"{lane}-{i:03d}")
            treated.append(int(i < canary))
            strata.append(f"{lane}|north")
            names.append(lane)
    return {"devices": devices, "treated": treated, "strata": strata, "lanes": names}


def values(
    given: dict[str, Any],
    name: str,
    *,
    seed: int,
    effect: dict[str, float] | float = 0.0,
    noise: float = 0.01,
    **more: Any,
) -> MetricInput:
    """One metric: a level per device, noise in its change, and an effect on the treated of all or some lanes."""
    rng = np.random.default_rng(seed)
    pre = rng.normal(3.0, 0.1, len(given["devices"]))
    shift = [
        z * (effect if isinstance(effect, float) else effect.get(lane, 0.0))
        for z, lane in zip(given["treated"], given["lanes"], strict=True)
    ]
    post = pre + rng.normal(0.0, noise, len(pre)) + np.array(shift)
    return MetricInput(name, pre.tolist(), post.tolist(), **more)


def make_look(given: dict[str, Any], metrics: list[MetricInput], **more: Any) -> LookInput:
    """A look after a full day, with few permutations."""
    values: dict[str, Any] = {"look": 1, "planned_looks": 24, "hours": 30.0, "seed": 5, "permutations": 2000}
    return LookInput(**given, metrics=metrics, **(values | more))
