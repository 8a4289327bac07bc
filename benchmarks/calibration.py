"""Calibrates the release test on simulated fleets: false alarms, detection, coverage, beside pooled and public tools.

    python -m benchmarks.calibration                      every row, 200 fleets each
    python -m benchmarks.calibration --fleets 20 --rows "no change,latency +5 %"
    python -m benchmarks.calibration --reference          the ten-canary behaviour over one day of looks
    python -m benchmarks.calibration --speed              one look of 400 devices

Fleet i of a row is drawn from numpy.random.default_rng([seed, i]) with the row's harm; the assignments of its test from
the same seed plus i. Evidently is run beside when it can be imported; it is no dependency.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import stats

from benchmarks.fleets import Fleet, Harm, History, look_input, simulate
from drift.stats.canonical import canonical_json
from drift.stats.look import LookResult, evaluate_look
from drift.stats.metrics import METRICS

FLEET = Fleet(inferences_per_hour=240, baseline_hours=72, looks=100)
REFERENCE_FLEET = replace(FLEET, devices=100, treated=10, targets=("target-a",), looks=24)

HARMS = (
    Harm("no change"),
    Harm("no change, rare events", fallback_base=0.0, error_base=0.0001),
    Harm("latency +3 %", latency=0.03),
    Harm("latency +5 %", latency=0.05),
    Harm("latency +10 %", latency=0.10),
    Harm("energy +3 %", energy=0.03),
    Harm("energy +5 %", energy=0.05),
    Harm("confidence -0.03", confidence=-0.03),
    Harm("same-mean bimodality", bimodal=0.10),
    Harm("fallback 1 to 2 %", fallback=0.01),
    Harm("one hardware target only, latency +10 %", latency=0.10, only_target="target-b"),
    Harm("late onset, latency +10 % from hour 48", latency=0.10, onset_hour=48),
    Harm("tail only, 2 % of inferences take 1.6 times", tail_share=0.02, tail_factor=1.6),
)

POOLED_LOOKS = 12
"""Looks over which the pooled test and the public tool are watched; they need no more to be wrong."""


FOLLOWED = 12
"""Looks for which a harmful release is followed after its first rejection, unless it fails before."""


@dataclass(frozen=True)
class Outcome:
    """What became of one simulated rollout."""

    detected: int | None
    """The look of the first rejection."""
    wrong_lane: bool
    """Whether a lane that the harm left alone crossed or failed."""
    verdict: str
    """At the last look taken: of a harmful release up to FOLLOWED looks after its rejection, else at the end."""
    passed_at: int | None
    missed: list[str]
    """Metrics and lanes whose interval left the truth out at some look."""
    intervals: int
    pooled_looks: int
    """Looks out of POOLED_LOOKS at which pooled ks_2samp on latency gives p < 0.05."""
    public: bool | None
    """Whether Evidently reports drift in a column within POOLED_LOOKS looks; None when not run."""


def roll_out(index: int, *, fleet: Fleet, harm: Harm, seed: int, permutations: int, public_fleets: int) -> Outcome:
    """Simulate one rollout and judge it look after look."""
    history = simulate(fleet, harm, np.random.default_rng([seed, index]), keep_raw=True)
    state, detected, passed_at, result = None, None, None, None
    missed: set[str] = set()
    for look in range(1, fleet.looks + 1):
        given = look_input(history, look, state, seed=seed + index, permutations=permutations)
        result = evaluate_look(given)
        state = result.state
        missed |= _missed(result, harm)
        if result.verdict == "pass" and passed_at is None:
            passed_at = look
        if state["crossings"]:
            detected = look if detected is None else detected
            settled = result.verdict == "fail" or look >= max(detected, harm.onset_hour) + FOLLOWED
            if harm.harmful and settled:
                break
    assert result is not None
    return Outcome(
        detected=detected,
        wrong_lane=_wrong_lane(result, harm),
        verdict=str(result.verdict),
        passed_at=passed_at,
        missed=sorted(missed),
        intervals=sum(len(lane.metrics) for lane in result.lanes),
        pooled_looks=_pooled_alarms(history),
        public=_public_alarm(history) if index < public_fleets else None,
    )


def _truth(metric: str, target: str, harm: Harm) -> float | None:
    """The true effect on a metric in a lane; None where it is not known in closed form."""
    hit = not harm.only_target or harm.only_target == target
    if target == "all" and harm.only_target:
        return None
    if harm.onset_hour and harm.harmful:
        return None
    if metric.startswith("latency"):
        return None if harm.tail_share else harm.latency * hit
    if metric.startswith("confidence"):
        return None if harm.confidence else 0.0
    effects = {"energy_mean": harm.energy, "fallback_rate": harm.fallback}
    return effects.get(metric, 0.0) * hit


def _missed(result: LookResult, harm: Harm) -> set[str]:
    found = set()
    for lane in result.lanes:
        for row in lane.metrics:
            truth = _truth(row.metric, lane.hardware_target, harm)
            if truth is None or row.lower is None or row.upper is None:
                continue
            slack = 1e-9
            if not row.lower - slack <= truth <= row.upper + slack:
                found.add(f"{row.metric} on {lane.hardware_target}")
    return found


def _wrong_lane(result: LookResult, harm: Harm) -> bool:
    if not harm.only_target:
        return False
    return any(lane.verdict == "fail" for lane in result.lanes if lane.hardware_target != harm.only_target)


def _pooled_alarms(history: History) -> int:
    assert history.raw_latency is not None
    alarms = 0
    for hour in range(history.fleet.baseline_hours, history.fleet.baseline_hours + POOLED_LOOKS):
        canary = history.raw_latency[history.treated, hour].ravel()
        control = history.raw_latency[~history.treated, hour].ravel()
        alarms += bool(stats.ks_2samp(canary, control, method="asymp").pvalue < 0.05)
    return alarms


def _public_alarm(history: History) -> bool | None:
    """Evidently's data-drift preset at its defaults: control's inferences as reference, the canary's as current."""
    if importlib.util.find_spec("evidently") is None:
        return None
    import pandas
    from evidently import Report
    from evidently.presets import DataDriftPreset

    assert history.raw_latency is not None and history.raw_confidence is not None
    for hour in range(history.fleet.baseline_hours, history.fleet.baseline_hours + POOLED_LOOKS):
        frames = [
            pandas.DataFrame(
                {
                    "latency_ms": history.raw_latency[arm, hour].ravel(),
                    "confidence": history.raw_confidence[arm, hour].ravel(),
                }
            )
            for arm in (history.treated, ~history.treated)
        ]
        report = Report([DataDriftPreset()]).run(frames[0], frames[1])
        drifted = [m["value"]["count"] for m in report.dict()["metrics"] if isinstance(m["value"], dict)]
        if drifted and drifted[0] > 0:
            return True
    return False


def _share(count: float, total: int) -> str:
    return f"{100 * count / total:5.1f} %" if total else "    - "


def summary(harm: Harm, outcomes: Sequence[Outcome]) -> dict[str, object]:
    """The figures of a row."""
    n = len(outcomes)
    looks = sorted(math.inf if o.detected is None else o.detected for o in outcomes)
    median = looks[n // 2]
    public = [o.public for o in outcomes if o.public is not None]
    per_interval = sum(len(o.missed) for o in outcomes) / max(sum(o.intervals for o in outcomes), 1)
    by_name = Counter(name for o in outcomes for name in o.missed)
    return {
        "row": harm.name,
        "fleets": n,
        "rejected": sum(o.detected is not None for o in outcomes) / n,
        "median_look": None if math.isinf(median) else median,
        "verdicts": dict(Counter(o.verdict for o in outcomes)),
        "passed": sum(o.passed_at is not None for o in outcomes) / n,
        "wrong_lane": sum(o.wrong_lane for o in outcomes) / n,
        "interval_missed": per_interval,
        "worst_interval": by_name.most_common(1)[0] if by_name else None,
        "pooled_looks": sum(o.pooled_looks for o in outcomes) / (n * POOLED_LOOKS),
        "pooled_rollouts": sum(o.pooled_looks > 0 for o in outcomes) / n,
        "public_rollouts": sum(public) / len(public) if public else None,
        "public_fleets": len(public),
    }


def print_row(row: dict[str, object]) -> None:
    """One line of the table."""
    verdicts = ", ".join(f"{name} {count}" for name, count in sorted(row["verdicts"].items()))  # type: ignore[union-attr]
    public = "     -" if row["public_rollouts"] is None else _share(row["public_rollouts"], 1)  # type: ignore[arg-type]
    print(
        f"{row['row']:<44} {row['fleets']:>4}  {_share(row['rejected'], 1)}  {row['median_look'] or '-':>5}  "  # type: ignore[arg-type]
        f"{_share(row['interval_missed'], 1)}  {_share(row['wrong_lane'], 1)}  "  # type: ignore[arg-type]
        f"{_share(row['pooled_looks'], 1)} {_share(row['pooled_rollouts'], 1)}  {public}  {verdicts}",  # type: ignore[arg-type]
        flush=True,
    )


def calibrate(arguments: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
    """The table: one row per harm."""
    wanted = [name.strip() for name in arguments.rows.split(",")] if arguments.rows else []
    print(
        f"{FLEET.devices} devices, {FLEET.treated} treated, {len(FLEET.targets)} hardware targets, "
        f"{FLEET.looks} hourly looks, {arguments.permutations} permutations, seed {arguments.seed}"
    )
    print(
        f"{'release':<44} {'n':>4}  {'rejected':>7}  {'look':>5}  {'missed':>7}  {'wrong':>7}  "
        f"{'KS/look':>7} {'KS/roll':>7}  {'public':>7}  verdicts at the end"
    )
    for harm in HARMS:
        if wanted and not any(harm.name.startswith(name) for name in wanted):
            continue
        run = partial(
            roll_out,
            fleet=FLEET,
            harm=harm,
            seed=arguments.seed,
            permutations=arguments.permutations,
            public_fleets=arguments.public_fleets,
        )
        row = summary(harm, list(pool.map(run, range(arguments.fleets))))
        print(canonical_json(row)) if arguments.json else print_row(row)
    print(
        "rejected: the test crossed for any metric or shape; look: median of the first crossing; missed: intervals "
        "(metric and lane) that left the truth out at any look;\nwrong: a hardware target without harm failed; KS: "
        f"pooled ks_2samp on latency, p < 0.05, per look and per rollout of {POOLED_LOOKS} looks; public: Evidently's "
        "drift preset alarmed."
    )


def one_day(index: int, *, effect: float, seed: int, permutations: int, single: bool) -> str:
    """The verdict of one ten-canary rollout after a day of looks; a failure ends it."""
    harm = Harm(f"latency {effect:+.0%}", latency=effect)
    history = simulate(REFERENCE_FLEET, harm, np.random.default_rng([seed, index]))
    state, verdict = None, "inconclusive"
    chosen = {"metrics": ("latency_p95",), "shapes": ()} if single else {}
    for look in range(1, REFERENCE_FLEET.looks + 1):
        given = look_input(history, look, state, seed=seed + index, permutations=permutations, **chosen)  # type: ignore[arg-type]
        result = evaluate_look(given)
        state, verdict = result.state, str(result.verdict)
        if verdict == "fail":
            break
    return verdict


def reference(arguments: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
    """Budget 5 %, ten canaries, 24 looks: fail, pass, hold, inconclusive."""
    print(f"10 of {REFERENCE_FLEET.devices} devices, budget 5 %, 24 looks: fail / pass / hold / inconclusive")
    for single in (True, False):
        print("latency p95 alone" if single else "all guardrails")
        for effect in (0.0, 0.03, 0.05, 0.07):
            run = partial(
                one_day, effect=effect, seed=arguments.seed, permutations=arguments.permutations, single=single
            )
            counts = Counter(pool.map(run, range(arguments.fleets)))
            shares = " / ".join(
                f"{100 * counts[name] / arguments.fleets:.0f}" for name in ("fail", "pass", "hold", "inconclusive")
            )
            print(f"  latency {effect:+.0%}: {shares} %", flush=True)


def speed(permutations: int = 10_000) -> None:
    """Seconds for one look of 400 devices, 5 metrics, 4 strata."""
    fleet = replace(FLEET, devices=400, treated=200, targets=("target-a", "target-b"), looks=30, inferences_per_hour=60)
    history = simulate(fleet, Harm(), np.random.default_rng(1))
    names = tuple(name for name in METRICS if METRICS[name].guardrail and name not in ("latency_p50", "latency_p99"))
    for label, shapes in (("5 metrics", ()), ("5 metrics and 2 shapes", ("confidence_shape", "class_mix"))):
        given = look_input(history, 30, None, seed=1, permutations=permutations, metrics=names, shapes=shapes)
        seconds = []
        for _ in range(2):
            clock, processor = time.perf_counter(), time.process_time()
            evaluate_look(replace(given, seed=2 + len(shapes)))
            seconds.append((time.perf_counter() - clock, time.process_time() - processor))
        print(
            f"{label}: {seconds[0][0]:.2f} s ({seconds[0][1]:.2f} s of processor time), then {seconds[1][0]:.2f} s "
            f"({seconds[1][1]:.2f} s) with the assignments at hand; 400 devices, 4 strata, 2 windows, "
            f"B = {permutations}"
        )


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fleets", type=int, default=200)
    parser.add_argument("--rows", default="", help="comma-separated beginnings of row names")
    parser.add_argument("--permutations", type=int, default=2_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=20_261)
    parser.add_argument("--public-fleets", type=int, default=10, help="fleets per row that Evidently is run on")
    parser.add_argument("--json", action="store_true", help="one JSON object per row, with all figures")
    parser.add_argument("--reference", action="store_true")
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    if arguments.speed:
        speed()
        return
    with ProcessPoolExecutor(arguments.processes) as pool:
        (reference if arguments.reference else calibrate)(arguments, pool)


if __name__ == "__main__":
    main()
