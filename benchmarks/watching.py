"""How well slow drift and creep keep their word: false alarms of the daily CUSUM, coverage of the summed steps.

    python -m benchmarks.watching                    every row, 2,000 series or chains each, about three minutes
    python -m benchmarks.watching --runs 200 --only creep

Nothing is read and no database is needed: device values are drawn as the evaluations would find them, with the truth
known. Run i of a row is drawn from numpy.random.default_rng([seed, i]).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from drift.stats.creep import creep, measure_step
from drift.stats.cusum import autoregression, run_cusum, shift

Floats = NDArray[np.float64]

BASELINE_DAYS, HORIZON_DAYS, RECENT_DAYS = 14, 90, 7
METRICS = 7
"""Metrics that share a cell's alpha of 5 %."""
ALPHA = 0.05 / METRICS
DEVICES = 20
WEATHER = 0.01
"""Standard deviation from day to day of what all devices have in common."""


@dataclass(frozen=True)
class Days:
    """What a fleet's days have in common: correlation of one day with the next, a week's rhythm, heavy tails; and a
    drift from the first watched day on, in standard deviations of a day."""

    name: str
    correlation: float = 0.0
    week: float = 0.0
    tails: int = 0
    drift: float = 0.0

    def draw(self, rng: np.random.Generator) -> Floats:
        """Device values, shape (DEVICES, days)."""
        days = BASELINE_DAYS + HORIZON_DAYS
        common = autoregression(rng, 1, days, self.correlation)[0]
        if self.tails:
            common = rng.standard_t(self.tails, days) / math.sqrt(self.tails / (self.tails - 2.0))
        common = common + self.week * np.sin(2.0 * math.pi * np.arange(days) / 7.0)
        common = common + self.drift * np.clip(np.arange(days) - BASELINE_DAYS + 1, 0, None)
        own = rng.normal(3.0, 0.1, (DEVICES, 1))
        return own + WEATHER * common + rng.normal(0.0, 2.0 * WEATHER, (DEVICES, days))


DAYS = (
    Days("independent days"),
    Days("correlation 0.3", correlation=0.3),
    Days("correlation 0.6", correlation=0.6),
    Days("correlation 0.8", correlation=0.8),
    Days("weekly rhythm", week=1.0),
    Days("heavy tails (t with 3 degrees)", tails=3),
    Days("drift of 0.2 deviations a day, correlation 0.3", correlation=0.3, drift=0.2),
)


def watch(index: int, *, days: Days, seed: int) -> tuple[int | None, bool | None]:
    """The day of the alarm, None without; and whether the interval of the last week holds the truth (no drift)."""
    rng = np.random.default_rng([seed, index])
    run = run_cusum(days.draw(rng), baseline_days=BASELINE_DAYS, harm=1, alpha=ALPHA, rng=rng, horizon=HORIZON_DAYS)
    week = shift(run, BASELINE_DAYS, RECENT_DAYS)
    return run.alarm_day, None if days.drift else bool(week.lower <= 0.0 <= week.upper)


@dataclass(frozen=True)
class Chain:
    """Eight releases after an anchor, none of which changes anything on average.

    `own` is the standard deviation over devices of what every update does to a device, again and again; `each` that of
    what one update does. Devices take part in a step with probability `share`; a release runs for `weeks`.
    """

    name: str
    devices: int = 20
    own: float = 0.0
    each: float = 0.01
    share: float = 1.0
    weeks: int = 4
    releases: int = 8
    noise: float = 0.02
    correlation: float = 0.8


CHAINS = (
    Chain("steps independent"),
    Chain("devices take updates alike", own=0.01),
    Chain("the same, two thirds of devices at each step", own=0.01, share=2 / 3, devices=30),
    Chain("a release a week: the week after is the week before", each=0.0, weeks=1),
    Chain("six devices", devices=6),
)


def sum_up(index: int, *, chain: Chain, seed: int) -> tuple[bool, bool, float] | None:
    """Whether the truth (nothing) lies inside the sum's interval, inside that of steps taken for independent, and the
    ratio of the two widths; None where a step had too few devices."""
    rng = np.random.default_rng([seed, index])
    week = 7 * chain.weeks
    daily = chain.noise * autoregression(rng, chain.devices, week * (chain.releases + 1), chain.correlation)
    own = rng.normal(0.0, chain.own, chain.devices)
    steps = []
    for number in range(1, chain.releases + 1):
        day = number * week
        change = daily[:, day : day + 7].mean(axis=1) - daily[:, day - 7 : day].mean(axis=1)
        change = change + own + rng.normal(0.0, chain.each, chain.devices)
        moved = np.flatnonzero(rng.random(chain.devices) < chain.share)
        step = measure_step(str(number), dict(zip(moved.tolist(), change[moved].tolist(), strict=True)), harm=1)
        if step is None:
            return None
        steps.append(step)
    summed = creep(steps)
    assert summed is not None
    half = 1.959964 * math.sqrt(sum(step.standard_error**2 for step in steps))
    return summed.lower <= 0.0 <= summed.upper, abs(summed.theta) <= half, (summed.upper - summed.theta) / half


def print_days(days: Days, found: list[tuple[int | None, bool | None]]) -> None:
    """One line of the CUSUM's table."""
    alarms = sorted(day for day, _ in found if day is not None)
    share, error = _share(len(alarms), len(found))
    text = f"{days.name:<52} {share:6.2f} % ± {error:.2f}"
    if days.drift:
        median = alarms[(len(found) - 1) // 2] + 1 if 2 * len(alarms) > len(found) else None
        print(f"{text}   median day {median}", flush=True)
        return
    print(f"{text}   last week's interval covers {100 * sum(bool(inside) for _, inside in found) / len(found):.1f} %")


def print_chain(chain: Chain, found: list[tuple[bool, bool, float] | None]) -> None:
    """One line of the creep's table."""
    known = [row for row in found if row is not None]
    by_device, error = _share(sum(row[0] for row in known), len(known))
    alone, _ = _share(sum(row[1] for row in known), len(known))
    width = float(np.median([row[2] for row in known]))
    print(f"{chain.name:<52} {by_device:6.1f} % ± {error:.1f}   {alone:6.1f} %   {width:.2f}", flush=True)


def _share(count: int, total: int) -> tuple[float, float]:
    """A share with its standard error, in per cent."""
    share = count / total
    return 100.0 * share, 100.0 * math.sqrt(share * (1.0 - share) / total)


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--only", choices=("cusum", "creep"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=20_262)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.processes) as pool:

        def rows(function: Callable, **what: object) -> list:
            return list(pool.map(partial(function, seed=arguments.seed, **what), range(arguments.runs), chunksize=20))

        if arguments.only != "creep":
            print(
                f"Daily CUSUM, {BASELINE_DAYS} baseline and {HORIZON_DAYS} watched days, {DEVICES} devices, "
                f"alpha {100 * ALPHA:.2f} % a metric, {arguments.runs} series a row: alarms"
            )
            for days in DAYS:
                print_days(days, rows(watch, days=days))
        if arguments.only != "cusum":
            print(
                f"Creep over {CHAINS[0].releases} releases, {arguments.runs} chains a row: how often the 95 % interval "
                "holds the truth, by device and with steps taken for independent; median width of the one to the other"
            )
            for chain in CHAINS:
                print_chain(chain, rows(sum_up, chain=chain))


if __name__ == "__main__":
    main()
