"""The frame of a look: devices in order, strata, groups and the recomputed assignments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from drift.stats.assignments import Quota, distinct_assignments, draw_blocks, quotas
from drift.stats.look.inputs import LookInput
from drift.stats.scan import Group, Scope, groups, units

# An assignment can reject only if it is rare enough among all: this many over alpha must have been possible.
MINIMUM_ARRANGEMENTS = 5.0


@dataclass(frozen=True)
class Frame:
    """Who is compared with whom; stopped lanes are left out of everything but the draw, which must not shift."""

    order: NDArray[np.intp]
    """Input positions of the devices still looked at, sorted by device id."""
    treated: NDArray[np.bool_]
    lanes: list[str]
    lane_of: dict[str, str]
    """Lane of each stratum."""
    devices: dict[str, NDArray[np.intp]]
    """Positions of each stratum's devices in `order`."""
    quotas: dict[str, Quota]
    groups: list[Group]
    units: list[tuple[str, ...]]
    """The strata still looked at, in the sets that moments are kept for."""
    assignments: Mapping[str, NDArray[np.float64]]
    """Per stratum, shape (B, devices of the stratum), 1.0 for treated; row 0 is the real one."""
    stopped: tuple[str, ...]
    alpha: float
    """What this stage may spend."""

    @property
    def distinct(self) -> int:
        """How many assignments the draw could have given among the devices still looked at."""
        return distinct_assignments(list(self.quotas.values()))

    @property
    def too_few_assignments(self) -> bool:
        """Whether the randomisation leaves too little room for any rejection."""
        return self.distinct < MINIMUM_ARRANGEMENTS / self.alpha

    def lane_strata(self, lane: str) -> tuple[str, ...]:
        """The strata of a lane, or all of them for "all"."""
        return tuple(name for name in self.quotas if lane == "all" or self.lane_of[name] == lane)

    def lane_devices(self, lane: str) -> NDArray[np.intp]:
        """Positions of a lane's devices."""
        return np.sort(np.concatenate([self.devices[name] for name in self.lane_strata(lane)]))

    def rest(self, excluded: set[str]) -> Group | None:
        """All devices but those of some lanes, as a group; None when too few devices remain."""
        kept = {name: lane for name, lane in self.lane_of.items() if lane not in excluded and name in self.quotas}
        if len(set(kept.values())) == 0:
            return None
        name = all_name({*self.stopped, *excluded})
        whole = Group(Scope.ALL, name, "", tuple(kept))
        # Judged as one lane, the group must be as large as any other that is tested on its own.
        merged = groups([self.quotas[stratum] for stratum in kept], dict.fromkeys(kept, name))
        return whole if merged and merged[0].scope is Scope.LANE else None


def all_name(excluded: set[str]) -> str:
    """The name of the group of all devices, or of all but some lanes: crossings of one are not those of the other."""
    return "all but " + ", ".join(sorted(excluded)) if excluded else "all"


def frame_of(look: LookInput) -> Frame:
    """The frame of a look; the same cohorts, seed and stopped lanes give the same frame whatever the device order."""
    ids = np.array(look.devices, dtype=object)
    order = np.argsort(ids, kind="stable")
    treated = np.array(look.treated, dtype=bool)[order]
    strata = [look.strata[i] for i in order]
    lane_of = {look.strata[i]: look.lanes[i] for i in order}
    stopped = tuple(sorted(set(look.stopped_lanes) & set(lane_of.values())))
    blocks = _blocks(tuple(strata), treated.tobytes(), look.permutations if look.randomised else 1, look.seed)
    names = np.array(strata)
    kept = np.array([lane_of[name] not in stopped for name in strata])
    position = np.cumsum(kept) - 1
    live = {
        quota.stratum: quota for quota in quotas(treated, names) if lane_of[quota.stratum] not in stopped
    }  # fmt: skip
    found = groups(list(live.values()), {name: lane_of[name] for name in live})
    if stopped:
        found = [
            Group(group.scope, all_name(set(stopped)), "", group.strata) if group.scope is Scope.ALL else group
            for group in found
        ]
    return Frame(
        order=order[kept],
        treated=treated[kept],
        lanes=sorted({lane_of[name] for name in live}),
        lane_of=lane_of,
        devices={name: position[np.flatnonzero(names == name)] for name in live},
        quotas=live,
        groups=found,
        units=units(found, {name: lane_of[name] for name in live}),
        assignments={name: blocks[name].astype(np.float64) for name in live},
        stopped=stopped,
        alpha=look.alpha / look.stages,
    )


@lru_cache(maxsize=2)
def _blocks(strata: tuple[str, ...], treated: bytes, count: int, seed: int) -> dict[str, NDArray[np.int8]]:
    # Looks of one stage come one after the other with the same cohorts; drawing anew would be most of a look's work.
    # Kept as bytes: 10,000 assignments of 2,000 devices are 20 MB.
    blocks = draw_blocks(np.frombuffer(treated, dtype=bool), np.array(strata), count=count, seed=seed)
    for block in blocks.values():
        block.flags.writeable = False
    return blocks
