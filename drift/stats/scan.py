"""Where harm is looked for: all devices, each hardware target, each stratum; since the start, and lately."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from drift.stats.assignments import Quota
from drift.stats.contrast import Contrast, Moments, group_moments, total

MINIMUM_PER_ARM = 6
"""Treated and control devices that a group needs before it is tested on its own."""

# Of a group's quota, this many devices must be expected to have a value at a look, in each arm.
MINIMUM_EXPECTED = 4.0


class Window(StrEnum):
    """The period a post value covers."""

    CUMULATIVE = "cumulative"
    RECENT = "recent"


class Scope(StrEnum):
    """What a group is a group of."""

    ALL = "all"
    LANE = "lane"
    STRATUM = "stratum"


@dataclass(frozen=True, order=True)
class Group:
    """Devices whose contrast is looked at together, as a set of strata; `lane` is empty for all devices."""

    scope: Scope
    name: str
    lane: str
    strata: tuple[str, ...]


def groups(
    strata_quotas: Sequence[Quota], lane_of: Mapping[str, str], *, minimum: int = MINIMUM_PER_ARM
) -> list[Group]:
    """Every group with at least `minimum` treated and control devices; equal sets of strata are listed once.

    The quotas alone decide, never the data or the real assignment, so that the choice is the same in every permutation.
    """
    lanes: dict[str, list[str]] = {}
    for quota in strata_quotas:
        lanes.setdefault(lane_of[quota.stratum], []).append(quota.stratum)
    by_name = {quota.stratum: quota for quota in strata_quotas}
    candidates = [Group(Scope.LANE, lane, lane, tuple(names)) for lane, names in sorted(lanes.items())]
    if len(lanes) > 1:
        candidates.insert(0, Group(Scope.ALL, "all", "", tuple(by_name)))
    for lane, names in sorted(lanes.items()):
        if len(names) > 1:
            candidates.extend(Group(Scope.STRATUM, name, lane, (name,)) for name in names)
    return [group for group in candidates if _large_enough([by_name[name] for name in group.strata], minimum)]


def _large_enough(strata_quotas: Sequence[Quota], minimum: int) -> bool:
    # A stratum with one arm only compares nothing; its devices do not count.
    both = [quota for quota in strata_quotas if quota.treated and quota.control]
    return sum(quota.treated for quota in both) >= minimum and sum(quota.control for quota in both) >= minimum


Units = Sequence[tuple[str, ...]]


def units(found: Sequence[Group], lane_of: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The strata in the largest sets that no group divides: strata tested on their own, and what is left of each lane.

    Moments are kept per unit: a group's are the sum over its units.
    """
    alone = {group.strata[0] for group in found if group.scope is Scope.STRATUM}
    rest: dict[str, list[str]] = {}
    for stratum, lane in lane_of.items():
        if stratum not in alone:
            rest.setdefault(lane, []).append(stratum)
    return [(stratum,) for stratum in lane_of if stratum in alone] + [tuple(names) for names in rest.values()]


def moments_by_unit(
    of: Units,
    assignments: Mapping[str, NDArray[np.float64]],
    devices: Mapping[str, NDArray[np.intp]],
    differences: NDArray[np.float64],
) -> dict[tuple[str, ...], Moments]:
    """Moments of each unit; `assignments[h]` has shape (B, n_h), `differences` (n, k) over all devices."""
    return {
        unit: group_moments([(assignments[name], differences[devices[name]]) for name in unit]) for unit in of
    }  # fmt: skip


def group_contrast(moments: Mapping[tuple[str, ...], Moments], group: Group) -> Contrast:
    """The contrast of a group from the moments of its units."""
    inside = set(group.strata)
    return total(found for unit, found in moments.items() if inside.issuperset(unit)).contrast()


def enough_present(group: Group, strata_quotas: Mapping[str, Quota], present: Mapping[str, int]) -> bool:
    """Whether a group has values enough at a look, by the quotas' share of the devices present (not by their arm)."""
    treated = control = 0.0
    for name in group.strata:
        quota = strata_quotas[name]
        size = quota.treated + quota.control
        if quota.treated and quota.control:
            treated += present[name] * quota.treated / size
            control += present[name] * quota.control / size
    return min(treated, control) >= MINIMUM_EXPECTED
