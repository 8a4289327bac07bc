"""Assignments of devices to treatment: drawn inside strata with fixed quotas, recomputed from a seed, never stored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Quota:
    """How many devices of a stratum are treated and how many are control."""

    stratum: str
    treated: int
    control: int

    @property
    def arrangements(self) -> int:
        """Ways to choose the treated devices of this stratum."""
        return math.comb(self.treated + self.control, self.treated)


def quotas(treated: NDArray[np.bool_], strata: NDArray[np.str_]) -> list[Quota]:
    """The quotas of an assignment, by stratum name."""
    found = []
    for stratum in sorted(set(strata.tolist())):
        inside = strata == stratum
        count = int(treated[inside].sum())
        found.append(Quota(stratum, count, int(inside.sum()) - count))
    return found


def distinct_assignments(strata_quotas: list[Quota]) -> int:
    """How many different assignments the draw could have given: the product over strata."""
    return math.prod(quota.arrangements for quota in strata_quotas)


def draw_assignments(
    treated: NDArray[np.bool_], strata: NDArray[np.str_], *, count: int, seed: int
) -> NDArray[np.float64]:
    """`count` assignments with the same strata and quotas, shape (count, n) of 0.0 and 1.0; row 0 is the real one.

    Devices must come in a fixed order (sorted by id). Only the raw 64-bit stream of PCG64 is used, which NumPy promises
    never to change: in each stratum the devices with the smallest draws are treated.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    drawn = np.zeros((count, len(treated)))
    drawn[0] = treated
    if count == 1:
        return drawn
    bits = np.random.PCG64(seed)
    for quota in quotas(treated, strata):
        devices = np.flatnonzero(strata == quota.stratum)
        if quota.treated == 0 or quota.control == 0:
            drawn[1:, devices] = 1.0 if quota.control == 0 else 0.0
            continue
        keys = bits.random_raw((count - 1) * len(devices)).reshape(count - 1, len(devices))
        chosen = np.argpartition(keys, quota.treated - 1, axis=1)[:, : quota.treated]
        rows = np.arange(1, count)[:, None]
        drawn[rows, devices[chosen]] = 1.0
    return drawn
