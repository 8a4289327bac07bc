"""When a lane may be decided: its looks simulated with the spending rules of the test and the noise of the fleet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drift.stats.interval import half_width
from drift.stats.sequential import SequentialState, spent_alpha, take_look

Floats = NDArray[np.float64]

# Lanes without an effect that thresholds are read from, and lanes whose course is then followed.
ASSIGNMENTS = 1_000
FOLLOWED = 200
# Looks that are simulated at most, closer together at the beginning; what is spent at each is that of its number.
LOOKS = 24
# Most of the followed lanes: the second figure beside the median.
MOST = 0.8


@dataclass(frozen=True)
class MetricNoise:
    """How a metric of single devices strays without any effect, toward harm and in the scale of device values.

    A device's change has variance lasting + passing / hours: what no further hour averages away, and what does. It has
    a value `from_hours` after the start; `owed` says whether a pass waits for that. `margin` is a positive difference.
    """

    metric: str
    lasting: float
    passing: float
    margin: float
    from_hours: float = 0.0
    owed: bool = True

    def variance(self, hours: float) -> float:
        """Of one device's change after so many hours."""
        return self.lasting + self.passing / hours


@dataclass(frozen=True)
class Design:
    """A lane and the rules of its looks.

    `alpha` is what the stage may spend on all of its `lanes` together, `not_before` the least hours to a pass.
    """

    treated: int
    control: int
    alpha: float
    looks: int
    look_hours: float
    not_before: float
    lanes: int = 1

    @property
    def grid(self) -> list[int]:
        """The numbers of the looks that are simulated."""
        first = max(math.ceil(self.not_before / self.look_hours - 1e-9), 1)
        half = LOOKS // 2
        early = np.geomspace(1, self.looks, half)
        late = first - 1 + np.geomspace(1, max(self.looks - first + 1, 1), half)
        return sorted({round(look) for look in (*early, *late)})


@dataclass(frozen=True)
class Expected:
    """Hours until half, and until most, of the simulated lanes were decided (None: fewer ever are), and their share."""

    half: float | None
    most: float | None
    share: float


@dataclass(frozen=True)
class DecisionTimes:
    """Until a pass where nothing changed, and until harm is shown where one metric is worse by exactly its margin.

    `slowest` is the metric whose harm takes longest to be shown, and `harm` the time for that one.
    """

    passing: Expected
    harm: Expected
    slowest: str
    horizon: float
    """Hours of the last look that was simulated."""


def simulate(noises: Sequence[MetricNoise], design: Design, rng: np.random.Generator) -> DecisionTimes:
    """Follow lanes of this design through their looks.

    Device changes are normal with the variance of `MetricNoise`, a Brownian part that averages out and one that stays;
    the standard error is estimated from as many devices as the lane has, so small lanes have heavy tails. Thresholds
    come from lanes without an effect by the same rules as in a look: what crossed is spent. The latest windows are
    searched as well, with noise of their own. Raises ValueError without metrics or with fewer than two devices an arm.
    """
    if not noises or min(design.treated, design.control) < 2:
        raise ValueError("a simulation needs a metric and two devices in each arm")
    shape = (ASSIGNMENTS + FOLLOWED, len(noises))
    margins = np.array([noise.margin for noise in noises])
    looks, spread = design.grid, 1 / design.treated + 1 / design.control
    lasting = rng.standard_normal(shape) * np.sqrt([noise.lasting for noise in noises])
    passing_scale = np.sqrt([noise.passing for noise in noises])
    walk = np.zeros(shape)
    misjudged = _standard_error_factor(design, shape, rng)
    family = SequentialState.start(ASSIGNMENTS)
    intervals = [SequentialState.start(ASSIGNMENTS) for _ in noises]
    upper = np.full((FOLLOWED, len(noises)), np.inf)
    passed = np.full(FOLLOWED, np.inf)
    shown = np.full((FOLLOWED, len(noises)), np.inf)
    before = 0.0
    for look in looks:
        hours = look * design.look_hours
        walk += rng.standard_normal(shape) * math.sqrt(hours - before)
        before = hours
        known = np.array([hours >= noise.from_hours for noise in noises])
        theta = (lasting + passing_scale * walk / hours) * math.sqrt(spread)
        error = np.sqrt([noise.variance(hours) * spread for noise in noises]) * misjudged
        with np.errstate(divide="ignore", invalid="ignore"):
            score = np.where(known, np.nan_to_num(theta / error, nan=0.0), -np.inf)
            harmed = np.where(known, (theta + margins) / error, -np.inf)[ASSIGNMENTS:]
        lately = np.where(known, rng.standard_normal(shape), -np.inf)
        spent = spent_alpha(design.alpha, look, design.looks)
        highest = np.maximum(score, lately)[:ASSIGNMENTS].max(axis=1)
        step = take_look(family, _of_all_lanes(highest, design.lanes), look=look, alpha_spent=spent)
        family = step.state
        if step.critical_value is not None:
            shown = np.minimum(shown, np.where(harmed >= step.critical_value, hours, np.inf))
        for at in np.flatnonzero(known):
            upper[:, at] = np.minimum(
                upper[:, at],
                theta[ASSIGNMENTS:, at]
                + _width(intervals, at, score[:ASSIGNMENTS, at], error[ASSIGNMENTS:, at], design, look, spent),
            )
        waits = np.array([noise.owed for noise in noises]) | known
        clear = (~waits | ((upper < margins) & (theta[ASSIGNMENTS:] < margins))).all(axis=1) & known.any()
        if hours >= design.not_before - 1e-9:
            passed = np.minimum(passed, np.where(clear, hours, np.inf))
    times = [_expected(shown[:, at]) for at in range(len(noises))]
    slowest = max(range(len(noises)), key=lambda at: (times[at].half or math.inf, times[at].most or math.inf))
    return DecisionTimes(_expected(passed), times[slowest], noises[slowest].metric, before)


def _of_all_lanes(highest: Floats, lanes: int) -> Floats:
    """The largest statistic of lanes alike: each of the others has the course of another simulated lane."""
    apart = max(len(highest) // lanes, 1)
    return np.max([np.roll(highest, at * apart) for at in range(min(lanes, len(highest)))], axis=0)


def _standard_error_factor(design: Design, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Estimated over true standard error: one variance per arm, each from its own devices."""
    treated, control = design.treated, design.control
    squares = rng.chisquare(treated - 1, shape) / (treated - 1) / treated
    squares += rng.chisquare(control - 1, shape) / (control - 1) / control
    return np.sqrt(squares / (1 / treated + 1 / control))


def _width(
    states: list[SequentialState],
    at: int,
    scores: Floats,
    errors: Floats,
    design: Design,
    look: int,
    spent: float,
) -> Floats:
    """Half-widths of a metric's interval at a look, which spends an alpha of its own; infinite without a threshold."""
    sizes = np.abs(scores)
    step = take_look(states[at], sizes, look=look, alpha_spent=2 * spent)
    states[at] = step.state
    if step.critical_value is None:
        return np.full(len(errors), np.inf)
    return half_width(step.critical_value, 1.0, design.treated) * errors


def _expected(hours: Floats) -> Expected:
    found = [float(np.quantile(hours, share, method="higher")) for share in (0.5, MOST)]
    half, most = (value if math.isfinite(value) else None for value in found)
    return Expected(half, most, float(np.isfinite(hours).mean()))
