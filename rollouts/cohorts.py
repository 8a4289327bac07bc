"""Who is in which arm of a stage: stratified randomisation that can be drawn again from the rollout's seed."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from drift.stats.assignments import draw_assignments

# Below this many devices in an arm no lane can be decided (statistics: a lane needs 6 treated and 6 control devices).
MINIMUM_PER_ARM = 6
# More than this many control devices per treated one hardly narrows an interval: the variance is (1 + 1/k) / n.
CONTROL_PER_TREATED = 4
# Devices of one comparison that enter the statistics; the others of a large stage are treated alike but not compared.
ANALYSED_LIMIT = 2_000


class Arm(StrEnum):
    """What happens to a device in a stage."""

    TREATED = "treated"
    CONTROL = "control"
    HOLDBACK = "holdback"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A device that a stage may include, with the labels that make its stratum."""

    device_id: int
    hardware_target: str
    region: str
    power_source: str = ""

    @property
    def stratum(self) -> str:
        """Hardware target, region and power source in one name."""
        return " / ".join((self.hardware_target, self.region, self.power_source or "any power"))


@dataclass(frozen=True, slots=True)
class Member:
    """A device in its arm. `analysed` says whether it enters the comparison or is only delivered to."""

    device_id: int
    arm: Arm
    hardware_target: str
    stratum: str
    analysed: bool


@dataclass(frozen=True, slots=True)
class StratumCount:
    """How a stratum was divided; `eligible` counts all its devices that had not got the release before."""

    stratum: str
    hardware_target: str
    eligible: int
    treated: int
    control: int
    holdback: int


@dataclass(frozen=True)
class Draw:
    """The cohorts of one stage: members sorted by device id, and the counts per stratum."""

    members: tuple[Member, ...]
    strata: tuple[StratumCount, ...]
    randomised: bool = True

    def ids(self, arm: Arm) -> list[int]:
        """Devices of one arm, sorted."""
        return [member.device_id for member in self.members if member.arm == arm]


@dataclass(frozen=True)
class StageRule:
    """How much of the population a stage treats.

    `share` is of all devices of the stage, those that earlier stages treated included. `minimum_devices` lifts a small
    lane's quota, up to half of its devices, so that it can be decided. `hand_picked` treats every selected device and
    takes its comparison devices from outside the selection: it is observational.
    """

    share: float
    minimum_devices: int = 0
    hand_picked: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"share must lie in (0, 1], got {self.share}")


@dataclass(frozen=True)
class Population:
    """Whom a stage is drawn from; `treated` got the release in an earlier stage, `holdback` never gets it."""

    selected: Sequence[Candidate]
    treated: Collection[int] = frozenset()
    holdback: Collection[int] = frozenset()
    outside: Sequence[Candidate] = field(default_factory=tuple)


def priority(seed: int, device_id: int) -> int:
    """A device's place in its stratum's queue: a 64-bit hash of seed and id.

    Uniform over seeds, the same for a device whoever else is there: a device that joins or leaves between preview and
    start moves nobody else.
    """
    digest = hashlib.blake2b(f"{seed}:{device_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def by_stratum(seed: int, candidates: Iterable[Candidate]) -> dict[str, list[Candidate]]:
    """Candidates by stratum in the order of the draw, strata by name."""
    grouped: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        grouped[candidate.stratum].append(candidate)
    return {
        name: sorted(grouped[name], key=lambda c: (priority(seed, c.device_id), c.device_id))
        for name in sorted(grouped)
    }


def allocate(total: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """Divide `total` over strata in proportion to their sizes by largest remainders; never more than a stratum has."""
    everything = sum(sizes.values())
    total = min(total, everything)
    if everything == 0:
        return dict.fromkeys(sizes, 0)
    exact = {name: total * size / everything for name, size in sizes.items()}
    given = {name: math.floor(value + 1e-9) for name, value in exact.items()}
    left = total - sum(given.values())
    for name in sorted(sizes, key=lambda name: (given[name] - exact[name], -sizes[name], name)):
        if left == 0:
            break
        if given[name] < sizes[name]:
            given[name] += 1
            left -= 1
    return given


def draw_holdback(candidates: Sequence[Candidate], *, seed: int, share: float) -> list[int]:
    """The devices that stay behind until the watch period is over, sorted; the last ones of each stratum's queue.

    Per hardware target at least `share` of the devices, and at least as many as a comparison needs where that leaves
    four fifths of the target to the release.
    """
    if share <= 0.0:
        return []
    chosen: list[int] = []
    for lane in sorted({candidate.hardware_target for candidate in candidates}):
        queues = by_stratum(seed, (c for c in candidates if c.hardware_target == lane))
        sizes = {name: len(queue) for name, queue in queues.items()}
        devices = sum(sizes.values())
        total = max(math.ceil(share * devices - 1e-9), min(MINIMUM_PER_ARM, devices // 5))
        for name, count in allocate(min(total, devices // 2), sizes).items():
            chosen += [c.device_id for c in queues[name][len(queues[name]) - count :]]
    return sorted(chosen)


def draw(population: Population, rule: StageRule, *, seed: int, analysed_limit: int = ANALYSED_LIMIT) -> Draw:
    """Draw the arms of one stage, lane by lane.

    In each stratum the devices stand in one random queue; the first of those that have not got the release yet are
    treated, the last ones are control, hold-backs first among them. Quotas are proportional to stratum size.
    """
    members: list[Member] = []
    strata: list[StratumCount] = []
    lanes = sorted({candidate.hardware_target for candidate in population.selected})
    for lane in lanes:
        selected = [c for c in population.selected if c.hardware_target == lane]
        outside = [c for c in population.outside if c.hardware_target == lane]
        lane_members, lane_strata = (
            _draw_hand_picked(selected, outside, population, seed)
            if rule.hand_picked
            else _draw_randomised(selected, population, rule, seed)
        )
        members += lane_members
        strata += lane_strata
    members, strata = _without_idle_control(_limit_analysis(members, seed, analysed_limit), strata)
    members.sort(key=lambda member: member.device_id)
    return Draw(tuple(members), tuple(strata), randomised=not rule.hand_picked)


def target_count(devices: int, already: int, rule: StageRule, open_devices: int) -> int:
    """How many more devices of a lane a stage treats.

    ceil(share x devices) less those already treated, lifted to the stage's minimum as long as half of the open devices
    stay for comparison.
    """
    wanted = math.ceil(rule.share * devices - 1e-9) - already
    floor = min(rule.minimum_devices, open_devices // 2)
    return max(min(max(wanted, floor), open_devices), 0)


def _draw_randomised(
    selected: list[Candidate], population: Population, rule: StageRule, seed: int
) -> tuple[list[Member], list[StratumCount]]:
    queues = by_stratum(seed, selected)
    free = {
        name: [c for c in queue if c.device_id not in population.treated and c.device_id not in population.holdback]
        for name, queue in queues.items()
    }
    kept = {name: [c for c in queue if c.device_id in population.holdback] for name, queue in queues.items()}
    already = sum(1 for c in selected if c.device_id in population.treated)
    wanted = target_count(len(selected), already, rule, sum(map(len, free.values())))
    quotas = allocate(wanted, {name: len(queue) for name, queue in free.items()})
    members, strata = [], []
    for name, queue in free.items():
        treated, rest = queue[: quotas[name]], queue[quotas[name] :]
        spare = max(CONTROL_PER_TREATED * len(treated) - len(kept[name]), 0)
        control = rest[len(rest) - min(spare, len(rest)) :]
        held = kept[name] if treated else []
        for arm, devices in ((Arm.TREATED, treated), (Arm.CONTROL, control), (Arm.HOLDBACK, held)):
            members += [Member(c.device_id, arm, c.hardware_target, name, analysed=True) for c in devices]
        strata.append(
            StratumCount(
                name,
                queues[name][0].hardware_target,
                eligible=len(queue) + len(kept[name]),
                treated=len(treated),
                control=len(control),
                holdback=len(held),
            )
        )
    return members, strata


def _draw_hand_picked(
    selected: list[Candidate], outside: list[Candidate], population: Population, seed: int
) -> tuple[list[Member], list[StratumCount]]:
    queues, neighbours = by_stratum(seed, selected), by_stratum(seed, outside)
    members, strata = [], []
    for name, queue in queues.items():
        treated = [c for c in queue if c.device_id not in population.treated]
        pool = [c for c in neighbours.get(name, []) if c.device_id not in population.treated]
        control = pool[max(len(pool) - CONTROL_PER_TREATED * len(treated), 0) :]
        members += [Member(c.device_id, Arm.TREATED, c.hardware_target, name, analysed=True) for c in treated]
        for c in control:
            arm = Arm.HOLDBACK if c.device_id in population.holdback else Arm.CONTROL
            members.append(Member(c.device_id, arm, c.hardware_target, name, analysed=True))
        held = sum(1 for c in control if c.device_id in population.holdback)
        strata.append(
            StratumCount(name, queue[0].hardware_target, len(treated), len(treated), len(control) - held, held)
        )
    return members, strata


def _limit_analysis(members: list[Member], seed: int, limit: int) -> list[Member]:
    """Keep a random part of each arm and stratum in the comparison where a stage is larger than the limit.

    Taken from the same queue, so given who is compared, every division of them was equally likely.
    """
    if len(members) <= limit:
        return members
    cells: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        cells[f"{member.stratum}|{member.arm is Arm.TREATED}"].append(member)
    smaller = sum(1 for m in members if m.arm is Arm.TREATED)
    arms = {True: smaller, False: len(members) - smaller}
    # Both arms get up to half; what a small arm leaves over goes to the other.
    room = {side: min(count, max(limit // 2, limit - arms[not side])) for side, count in arms.items()}
    kept: set[int] = set()
    for side, total in room.items():
        sizes = {key: len(cell) for key, cell in cells.items() if key.endswith(f"|{side}")}
        for key, count in allocate(total, sizes).items():
            cell = sorted(cells[key], key=lambda m: priority(seed, m.device_id), reverse=not side)
            kept |= {m.device_id for m in cell[:count]}
    return [Member(m.device_id, m.arm, m.hardware_target, m.stratum, analysed=m.device_id in kept) for m in members]


def _without_idle_control(members: list[Member], strata: list[StratumCount]) -> tuple[list[Member], list[StratumCount]]:
    """Leave out control devices that are not compared: they would only be kept from other rollouts, for nothing."""
    kept = [member for member in members if member.analysed or member.arm is not Arm.CONTROL]
    if len(kept) == len(members):
        return members, strata
    counts = Counter(member.stratum for member in kept if member.arm is Arm.CONTROL)
    return kept, [replace(row, control=counts[row.stratum]) for row in strata]


def redraw(draw: Draw, *, seed: int, count: int) -> NDArray[np.float64]:
    """`count` assignments of the analysed devices (sorted by id), strata and quotas kept; row 0 is the real one."""
    analysed = [member for member in draw.members if member.analysed]
    treated = np.array([member.arm is Arm.TREATED for member in analysed], dtype=bool)
    strata = np.array([member.stratum for member in analysed], dtype=str)
    return draw_assignments(treated, strata, count=count, seed=seed)
