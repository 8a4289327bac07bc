"""Verdict rules, one by one, on figures chosen by hand."""

import math

import pytest

from drift.stats.metrics import METRICS
from drift.stats.scan import Group, Scope, Window
from drift.stats.verdict import (
    Crossing,
    Estimate,
    MetricResult,
    ShapeEstimate,
    Verdict,
    decide_lane,
    decide_metric,
    decide_shape,
    percent,
    worst,
)

LANE = Group(Scope.LANE, "orin", "orin", ("orin|n",))
WHOLE = Group(Scope.ALL, "all", "", ("orin|n", "hailo|n"))


def crossing(theta: float, group: Group = LANE, window: Window = Window.CUMULATIVE) -> Crossing:
    return Crossing(group, window, 3, theta)


def estimate(**more: object) -> Estimate:
    values: dict[str, object] = {
        "metric": METRICS["latency_p95"], "delta": 0.05, "theta": 0.0, "standard_error": 0.01, "lower": -0.03,
        "upper": 0.03, "recent_theta": math.nan, "n_treated": 10, "n_control": 20, "owed_treated": 10,
        "owed_control": 20,
    }  # fmt: skip
    return Estimate(**(values | more))  # type: ignore[arg-type]


def verdict(**more: object) -> Verdict:
    return decide_metric(estimate(**more)).verdict


def test_a_bound_below_the_margin_passes() -> None:
    decision = decide_metric(estimate())
    assert decision.verdict is Verdict.PASS
    assert "+5.1 %" in decision.reason, "the margin is in the sentence"


def test_a_rejection_at_or_above_the_margin_fails() -> None:
    decision = decide_metric(estimate(theta=0.07, lower=0.03, upper=0.11, own=[crossing(0.07)]))
    assert decision.verdict is Verdict.FAIL
    assert "+7.3 %" in decision.reason
    assert "look 3" in decision.reason


def test_a_rejection_below_the_margin_holds_until_the_bound_clears_it() -> None:
    assert verdict(theta=0.03, upper=0.06, own=[crossing(0.03)]) is Verdict.HOLD
    cleared = decide_metric(estimate(theta=0.02, lower=0.01, upper=0.03, own=[crossing(0.02)]))
    assert cleared.verdict is Verdict.PASS
    assert "measured regression" in cleared.reason


def test_no_rejection_and_no_clearance_is_inconclusive() -> None:
    assert verdict(upper=0.06) is Verdict.INCONCLUSIVE
    assert verdict(upper=math.inf, lower=-math.inf) is Verdict.INCONCLUSIVE


def test_a_harm_in_the_latest_windows_fails_although_the_whole_period_is_clear() -> None:
    assert verdict(theta=0.01, own=[crossing(0.09, window=Window.RECENT)]) is Verdict.FAIL


def test_latest_windows_above_the_margin_take_a_pass_back() -> None:
    assert verdict(recent_theta=0.06) is Verdict.INCONCLUSIVE
    assert verdict(recent_theta=0.04) is Verdict.PASS


def test_a_pooled_crossing_fails_a_lane_that_does_not_clear_itself_and_only_such_a_lane() -> None:
    assert verdict(theta=0.04, upper=0.09, pooled=[crossing(0.07, WHOLE)]) is Verdict.FAIL
    assert verdict(theta=0.01, upper=0.04, pooled=[crossing(0.07, WHOLE)]) is Verdict.PASS
    assert verdict(theta=0.02, upper=0.09, pooled=[crossing(0.03, WHOLE)]) is Verdict.HOLD


def test_a_bound_of_earlier_looks_does_not_clear_a_pooled_crossing_of_the_latest_windows() -> None:
    late = crossing(0.08, WHOLE, Window.RECENT)
    assert verdict(upper=0.03, pooled=[late]) is Verdict.FAIL
    assert verdict(upper=0.03, pooled=[late], recent_upper=0.04) is Verdict.PASS


@pytest.mark.parametrize("count", [{"n_treated": 5}, {"n_control": 5}, {"n_treated": 0, "n_control": 0}])
def test_fewer_than_six_devices_of_an_arm_are_inconclusive(count: dict) -> None:
    assert verdict(**count) is Verdict.INCONCLUSIVE


def test_a_lane_too_small_to_speak_for_itself_shares_a_pooled_failure() -> None:
    small = {"n_treated": 3, "lower": -math.inf, "upper": math.inf}
    decision = decide_metric(estimate(**small, pooled=[crossing(0.08, WHOLE)]))
    assert decision.verdict is Verdict.FAIL
    assert "without a bound of its own" in decision.reason


def test_missing_devices_hold_up_a_pass_but_never_a_failure() -> None:
    assert verdict(missing="3 of 10 have a value") is Verdict.INCONCLUSIVE
    assert verdict(missing="3 of 10 have a value", own=[crossing(0.07)]) is Verdict.FAIL


def test_an_absolute_limit_holds_and_far_beyond_noise_it_fails() -> None:
    assert verdict(over_limit="61 ms is over the limit 60 ms") is Verdict.HOLD
    assert verdict(over_limit="90 ms is over the limit 60 ms", far_over_limit=True) is Verdict.FAIL


def test_a_confidence_drop_reads_as_a_drop() -> None:
    decision = decide_metric(
        estimate(
            metric=METRICS["confidence_mean"], delta=0.02, theta=0.03, lower=0.02, upper=0.04, own=[crossing(0.03)]
        )
    )
    assert "-0.030" in decision.reason
    assert percent(METRICS["fallback_rate"], 0.011) == "+1.10 points"
    assert percent(METRICS["temperature_mean"], 3.25) == "+3.25 °C"


def test_the_order_of_verdicts_is_fail_hold_inconclusive_pass_and_nothing_is_inconclusive() -> None:
    assert worst([Verdict.PASS, Verdict.INCONCLUSIVE]) is Verdict.INCONCLUSIVE
    assert worst([Verdict.INCONCLUSIVE, Verdict.HOLD]) is Verdict.HOLD
    assert worst([Verdict.HOLD, Verdict.FAIL, Verdict.PASS]) is Verdict.FAIL
    assert worst([]) is Verdict.INCONCLUSIVE


def shape(**more: object) -> Verdict:
    values: dict[str, object] = {
        "title": "Confidence distribution", "size": 0.01, "size_name": "KS distance", "margin": 0.02,
        "n_treated": 10, "n_control": 20,
    }  # fmt: skip
    return decide_shape(ShapeEstimate(**(values | more))).verdict  # type: ignore[arg-type]


def test_a_shape_alarm_holds_when_it_is_large_enough_to_matter() -> None:
    assert shape(own=[crossing(0.05)]) is Verdict.HOLD
    assert shape(own=[crossing(0.01)]) is Verdict.PASS
    assert shape(pooled=[crossing(0.05, WHOLE)]) is Verdict.HOLD
    assert shape() is Verdict.PASS
    assert shape(n_treated=4) is Verdict.INCONCLUSIVE
    assert shape(missing="half are silent") is Verdict.INCONCLUSIVE


def row(verdict: Verdict, reason: str = "because") -> MetricResult:
    return MetricResult(
        "latency_p95", "ms", verdict, 0.0, None, None, None, 10, 20, 0.0, None, 0.05, False, reason, "", None, None
    )


def test_a_lane_is_as_bad_as_its_worst_metric() -> None:
    rows = [row(Verdict.PASS), row(Verdict.HOLD, "a small regression"), row(Verdict.INCONCLUSIVE)]
    decision = decide_lane(metrics=rows, shapes=[], hard_limits=[], obstacles=[])
    assert (decision.verdict, decision.reason) == (Verdict.HOLD, "a small regression")


def test_an_obstacle_holds_up_a_pass_and_nothing_else() -> None:
    passing, failing = [row(Verdict.PASS)], [row(Verdict.FAIL)]
    obstacles = ["3 of 24 hours observed"]
    assert decide_lane(metrics=passing, shapes=[], hard_limits=[], obstacles=[]).verdict is Verdict.PASS
    held_up = decide_lane(metrics=passing, shapes=[], hard_limits=[], obstacles=obstacles)
    assert (held_up.verdict, held_up.reason) == (Verdict.INCONCLUSIVE, obstacles[0])
    assert decide_lane(metrics=failing, shapes=[], hard_limits=[], obstacles=obstacles).verdict is Verdict.FAIL


def test_a_hard_limit_fails_whatever_the_statistics_say() -> None:
    decision = decide_lane(metrics=[row(Verdict.PASS)], shapes=[], hard_limits=["crash rate"], obstacles=["early"])
    assert (decision.verdict, decision.reason) == (Verdict.FAIL, "crash rate")


def test_a_lane_without_any_metric_is_inconclusive() -> None:
    assert decide_lane(metrics=[], shapes=[], hard_limits=[], obstacles=[]).verdict is Verdict.INCONCLUSIVE
