"""The method on small simulated fleets: false alarms, detection, lanes, late delivery."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import stats

from benchmarks.fleets import Fleet, Harm, History, look_input, simulate
from drift.stats.canonical import canonical_json
from drift.stats.look import LookResult, evaluate_look
from drift.stats.summaries import metric_values

FLEET = Fleet(
    devices=60, treated=15, targets=("target-a", "target-b"), regions=("north",), baseline_hours=24, looks=10,
    inferences_per_hour=120,
)  # fmt: skip
FLEETS = 24


def roll_out(history: History, seed: int, *, stop: bool = False) -> list[LookResult]:
    """Every look of one fleet, until a failure if asked to stop there."""
    results: list[LookResult] = []
    state = None
    for look in range(1, history.fleet.looks + 1):
        results.append(evaluate_look(look_input(history, look, state, seed=seed, permutations=600)))
        state = results[-1].state
        if stop and results[-1].verdict == "fail":
            break
    return results


@cache
def quiet() -> list[tuple[History, list[LookResult]]]:
    """Fleets without any change, judged at every look."""
    found = []
    for seed in range(FLEETS):
        history = simulate(FLEET, Harm(), np.random.default_rng([1, seed]), keep_raw=True)
        found.append((history, roll_out(history, seed)))
    return found


def test_without_a_change_rollouts_are_rejected_in_at_most_alpha() -> None:
    rejected = sum(bool(results[-1].state["crossings"]) for _, results in quiet())
    assert rejected / FLEETS <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / FLEETS)


def test_without_a_change_nothing_fails_and_intervals_hold() -> None:
    assert not any(result.verdict == "fail" for _, results in quiet() for result in results)
    intervals, missed = 0, set()
    for fleet, (_, results) in enumerate(quiet()):
        for lane in results[-1].lanes:
            intervals += len(lane.metrics)
        for result in results:
            for lane in result.lanes:
                for row in lane.metrics:
                    if row.lower is not None and not row.lower - 1e-9 <= 0.0 <= row.upper + 1e-9:
                        missed.add((fleet, lane.hardware_target, row.metric))
    assert len(missed) / intervals <= 0.10


def test_pooling_inferences_on_the_same_fleets_alarms_in_most_looks() -> None:
    alarms = looks = 0
    for history, _ in quiet():
        assert history.raw_latency is not None
        for hour in range(FLEET.baseline_hours, FLEET.baseline_hours + FLEET.looks):
            canary, control = (history.raw_latency[arm, hour].ravel() for arm in (history.treated, ~history.treated))
            alarms += bool(stats.ks_2samp(canary, control, method="asymp").pvalue < 0.05)
            looks += 1
    assert alarms / looks > 0.4


@pytest.mark.parametrize(
    "harm",
    [
        Harm("latency", latency=0.10),
        Harm("energy", energy=0.10),
        Harm("confidence", confidence=-0.05),
        Harm("fallback", fallback=0.02),
    ],
    ids=lambda harm: harm.name,
)
def test_a_harm_of_twice_its_margin_fails_within_a_few_looks(harm: Harm) -> None:
    for seed in range(4):
        results = roll_out(simulate(FLEET, harm, np.random.default_rng([2, seed])), seed, stop=True)
        assert results[-1].verdict == "fail"
        assert harm.name in results[-1].reason.lower()


def test_a_bimodal_confidence_with_the_same_mean_holds() -> None:
    for seed in range(3):
        results = roll_out(simulate(FLEET, Harm(bimodal=0.10), np.random.default_rng([3, seed])), seed)
        assert any(lane.shape[0].verdict == "hold" for lane in results[-1].lanes)


def test_harm_on_one_target_fails_that_target_and_leaves_the_other() -> None:
    for seed in range(4):
        harm = Harm(energy=0.15, only_target="target-b")
        results = roll_out(simulate(FLEET, harm, np.random.default_rng([4, seed])), seed)
        verdicts = {lane.hardware_target: str(lane.verdict) for lane in results[-1].lanes}
        assert verdicts["target-b"] == "fail"
        assert verdicts["target-a"] != "fail"


def test_late_and_unordered_delivery_of_the_same_hours_gives_the_same_numbers() -> None:
    history = simulate(FLEET, Harm(latency=0.05), np.random.default_rng([5, 0]))
    start = FLEET.baseline_hours
    whole = history.period(start, start + 10)
    # The same records summed hour by hour in another order, as late batches arrive.
    hours = [history.period(start + hour, start + hour + 1) for hour in (7, 0, 9, 3, 1, 8, 2, 6, 5, 4)]
    energy = np.sum([hour.measure_sum["energy"] for hour in hours], axis=0)
    late = replace(whole, measure_sum={**whole.measure_sum, "energy": energy})
    first, second = metric_values(whole, "energy_mean"), metric_values(late, "energy_mean")
    assert first == pytest.approx(second, abs=1e-12)
    plain = look_input(history, 10, None, seed=1, permutations=600)
    moved = replace(
        plain,
        metrics=[replace(row, post=second.tolist()) if row.name == "energy_mean" else row for row in plain.metrics],
    )
    one, other = evaluate_look(plain), evaluate_look(moved)
    assert one.verdict == other.verdict
    for left, right in zip(one.lanes, other.lanes, strict=True):
        for a, b in zip(left.metrics, right.metrics, strict=True):
            assert (a.effect, a.lower, a.upper) == pytest.approx((b.effect, b.lower, b.upper), abs=1e-9)


def test_the_same_seed_gives_the_same_verdict_and_numbers() -> None:
    history = simulate(FLEET, Harm(latency=0.04), np.random.default_rng([6, 0]))
    one, other = (canonical_json([r.to_dict() for r in roll_out(history, 3)]) for _ in range(2))
    assert one == other
