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


def draw_blocks(
    treated: NDArray[np.bool_], strata: NDArray[np.str_], *, count: int, seed: int
) -> dict[str, NDArray[np.int8]]:
    """`count` assignments with the same strata and quotas, by stratum: shape (count, devices of it), 1 for treated.

    Row 0 is the real one. Devices must come in a fixed order (sorted by id). Only the raw 64-bit stream of PCG64 is
    used, which NumPy promises never to change: in each stratum the devices with the smallest draws are treated.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    bits = np.random.PCG64(seed)
    blocks = {}
    for quota in quotas(treated, strata):
        real = treated[strata == quota.stratum]
        block = np.zeros((count, len(real)), dtype=np.int8)
        block[0] = real
        if quota.control == 0:
            block[:] = 1
        elif quota.treated and count > 1:
            keys = bits.random_raw((count - 1) * len(real)).reshape(count - 1, len(real))
            chosen = np.argpartition(keys, quota.treated - 1, axis=1)[:, : quota.treated]
            block[np.arange(1, count)[:, None], chosen] = 1
        blocks[quota.stratum] = block
    return blocks


def draw_assignments(
    treated: NDArray[np.bool_], strata: NDArray[np.str_], *, count: int, seed: int
) -> NDArray[np.float64]:
    """The same assignments over all devices, shape (count, n) of 0.0 and 1.0, columns in the order given."""
    drawn = np.zeros((count, len(treated)))
    for stratum, block in draw_blocks(treated, strata, count=count, seed=seed).items():
        drawn[:, strata == stratum] = block
    return drawn
