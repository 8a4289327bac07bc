"""The entry point on whole looks: lanes, pooling, missing data, degenerate fleets, replay."""

import json
from dataclasses import replace

import numpy as np
import pytest

from drift.stats.assignments import draw_assignments
from drift.stats.canonical import canonical_json
from drift.stats.contrast import stratified_contrast
from drift.stats.look import HardLimit, LookInput, LookResult, MetricInput, ShapeInput, evaluate_look
from drift.stats.sequential import sequential_test
from drift.stats.verdict import LaneResult, MetricResult
from tests.drift.stats.look.fleets import cohorts, make_look, values

TWO_LANES = {"orin": (10, 20), "hailo": (10, 20)}


def lane(result: LookResult, name: str) -> LaneResult:
    return next(row for row in result.lanes if row.hardware_target == name)


def metric(row: LaneResult, name: str) -> MetricResult:
    return next(item for item in row.metrics if item.metric == name)


def verdicts(result: LookResult) -> dict[str, str]:
    return {row.hardware_target: str(row.verdict) for row in result.lanes}


def with_values(row: MetricInput, part: str, chosen: list[int], value: float | None) -> MetricInput:
    changed = list(getattr(row, part))
    for index in chosen:
        changed[index] = value
    return replace(row, **{part: changed})


def test_a_release_without_effect_passes_after_a_full_day_and_not_before() -> None:
    given = cohorts(TWO_LANES)
    metrics = [values(given, name, seed=i) for i, name in enumerate(("latency_p95", "energy_mean"))]
    assert verdicts(evaluate_look(make_look(given, metrics))) == {"orin": "pass", "hailo": "pass"}
    early = evaluate_look(make_look(given, metrics, hours=23.0))
    assert early.verdict == "inconclusive"
    assert "23 of 24 hours" in early.reason
    assert lane(early, "orin").would_settle == "1 h more"


def test_harm_on_one_hardware_target_fails_that_target_alone() -> None:
    given = cohorts(TWO_LANES)
    for effect in (0.10, 0.80):
        result = evaluate_look(make_look(given, [values(given, "energy_mean", seed=2, effect={"orin": effect})]))
        assert verdicts(result) == {"orin": "fail", "hailo": "pass"}, effect
        assert "orin" in result.reason


def test_harm_everywhere_fails_small_targets_through_the_pooled_crossing() -> None:
    given = cohorts({"a": (4, 8), "b": (4, 8), "c": (4, 8)})
    result = evaluate_look(make_look(given, [values(given, "latency_p95", seed=3, effect=0.15)]))
    assert set(verdicts(result).values()) == {"fail"}
    assert "does not clear itself" in lane(result, "a").reason


def test_a_target_with_five_treated_devices_is_inconclusive_when_nothing_is_wrong() -> None:
    given = cohorts({"big": (12, 24), "small": (5, 24)})
    result = evaluate_look(make_look(given, [values(given, "latency_p95", seed=4)]))
    assert verdicts(result) == {"big": "pass", "small": "inconclusive"}
    assert "at least 6" in lane(result, "small").reason


def test_effects_read_in_the_metrics_own_direction_and_unit() -> None:
    given = cohorts({"orin": (15, 30)})
    drop = values(given, "confidence_mean", seed=5, effect=-0.03, noise=0.004)
    rise = values(given, "latency_p95", seed=6, effect=float(np.log(1.10)))
    row = lane(evaluate_look(make_look(given, [rise, drop])), "orin")
    confidence, latency = metric(row, "confidence_mean"), metric(row, "latency_p95")
    assert confidence.effect == pytest.approx(-0.03, abs=0.004)
    assert confidence.lower < -0.03 < confidence.upper < 0
    assert latency.effect == pytest.approx(0.10, abs=0.01)
    assert latency.lower < 0.10 < latency.upper
    assert latency.treated_level == pytest.approx(1.1 * latency.control_level, rel=0.1)
    assert (confidence.verdict, latency.verdict) == ("fail", "fail")


def test_margins_differ_by_target() -> None:
    given = cohorts(TWO_LANES)
    rise = values(given, "latency_p95", seed=7, effect=0.05, margins={"orin": 0.02, "hailo": 0.20})
    result = evaluate_look(make_look(given, [rise]))
    assert verdicts(result) == {"orin": "fail", "hailo": "pass"}
    assert "within budget" in metric(lane(result, "hailo"), "latency_p95").reason


def test_the_pooled_figures_of_a_single_target_are_its_own() -> None:
    given = cohorts({"orin": (12, 24)})
    result = evaluate_look(make_look(given, [values(given, "energy_mean", seed=2, effect=0.1)]))
    assert result.pooled is not None
    assert result.pooled.metrics == result.lanes[0].metrics
    assert (result.pooled.hardware_target, result.pooled.verdict) == ("all", "fail")


def test_a_stopped_target_is_left_out_and_does_not_change_the_assignments_of_the_rest() -> None:
    given = cohorts(TWO_LANES)
    row = values(given, "energy_mean", seed=2, effect={"orin": 0.2})
    first = evaluate_look(make_look(given, [row]))
    assert first.verdict == "fail"
    second = evaluate_look(make_look(given, [row], look=2, state=first.state, stopped_lanes=["orin"]))
    assert verdicts(second) == {"hailo": "pass"}
    nothing = evaluate_look(make_look(given, [row], look=2, state=first.state, stopped_lanes=["orin", "hailo"]))
    assert (nothing.verdict, nothing.reason, nothing.lanes) == ("inconclusive", "every lane is stopped", [])
    assert nothing.state == first.state


def test_frozen_input_replays_to_the_same_result_to_the_last_byte() -> None:
    given = cohorts(TWO_LANES)
    counts = np.random.default_rng(1).multinomial(2000, np.full(50, 0.02), size=60)
    shape = ShapeInput("confidence_shape", [str(i) for i in range(50)], counts, counts[::-1])
    first = make_look(given, [values(given, "latency_p95", seed=8, effect=0.04)], shapes=[shape])
    one = evaluate_look(first)
    second = make_look(given, [values(given, "latency_p95", seed=9, effect=0.04)], look=2, state=one.state)
    for look in (first, second):
        frozen = canonical_json(look.to_dict())
        replayed = evaluate_look(LookInput.from_dict(json.loads(frozen)))
        assert canonical_json(replayed.to_dict()) == canonical_json(evaluate_look(look).to_dict())


def test_the_order_of_devices_does_not_matter() -> None:
    given = cohorts(TWO_LANES)
    row = values(given, "latency_p95", seed=10, effect=0.03)
    order = np.random.default_rng(1).permutation(60)
    shuffled = {key: [items[i] for i in order] for key, items in given.items()}
    moved = MetricInput(row.name, [row.pre[i] for i in order], [row.post[i] for i in order])
    one, other = evaluate_look(make_look(given, [row])), evaluate_look(make_look(shuffled, [moved]))
    assert canonical_json(one.to_dict()) == canonical_json(other.to_dict())


def test_a_look_cannot_be_taken_twice() -> None:
    given = cohorts(TWO_LANES)
    row = values(given, "latency_p95", seed=11)
    state = evaluate_look(make_look(given, [row])).state
    with pytest.raises(ValueError, match="taken already"):
        evaluate_look(make_look(given, [row], state=state))
    with pytest.raises(ValueError, match="schema"):
        evaluate_look(make_look(given, [row], look=2, state={"schema": "other"}))


def test_a_regression_that_was_shown_is_remembered() -> None:
    given = cohorts({"orin": (12, 24)})
    first = evaluate_look(make_look(given, [values(given, "energy_mean", seed=12, effect=0.03)]))
    assert metric(first.lanes[0], "energy_mean").rejected
    calm = evaluate_look(
        make_look(given, [values(given, "energy_mean", seed=13, effect=0.02)], look=2, state=first.state)
    )
    assert metric(calm.lanes[0], "energy_mean").rejected
    assert "measured regression" in calm.reason


def test_treated_devices_that_fall_silent_never_look_like_good_news() -> None:
    given = cohorts({"orin": (12, 24)})
    row = with_values(values(given, "latency_p95", seed=14), "post", [0, 1, 2, 3], None)
    result = evaluate_look(make_look(given, [row]))
    assert result.verdict == "inconclusive"
    assert "8 of 12 treated devices" in result.reason
    assert not lane(result, "orin").reporting["in_order"]
    assert metric(lane(result, "orin"), "latency_p95").would_settle == "hearing from the devices that are silent"


def test_silence_of_both_arms_alike_is_no_sign_against_the_release() -> None:
    given = cohorts({"orin": (12, 24)})
    row = with_values(values(given, "latency_p95", seed=14), "post", [0, *range(12, 15)], None)
    assert evaluate_look(make_look(given, [row])).verdict == "pass"


def test_one_metric_that_only_the_treated_stopped_sending_holds_up_the_pass() -> None:
    given = cohorts({"orin": (12, 24)})
    energy = with_values(values(given, "energy_mean", seed=15), "post", list(range(12)), None)
    result = evaluate_look(make_look(given, [values(given, "latency_p95", seed=16), energy]))
    assert result.verdict == "inconclusive"
    assert metric(lane(result, "orin"), "energy_mean").verdict == "inconclusive"
    assert metric(lane(result, "orin"), "latency_p95").verdict == "pass"


def test_what_was_never_measured_is_set_aside_unless_the_budget_names_it() -> None:
    given = cohorts({"orin": (12, 24)})
    latency, nothing = values(given, "latency_p95", seed=17), [None] * 36
    aside = evaluate_look(make_look(given, [latency, MetricInput("energy_mean", nothing, nothing)]))
    assert aside.verdict == "pass"
    assert [item["metric"] for item in lane(aside, "orin").exclusions] == ["energy_mean"]
    named = MetricInput("energy_mean", nothing, nothing, required=True)
    assert evaluate_look(make_look(given, [latency, named])).verdict == "inconclusive"


def test_too_little_traffic_for_the_tail_does_not_hold_up_unless_the_budget_names_it() -> None:
    given = cohorts({"orin": (12, 24)})
    tail = with_values(values(given, "latency_p99", seed=18), "post", list(range(36)), None)
    latency = values(given, "latency_p95", seed=17)
    thin = evaluate_look(make_look(given, [latency, tail]))
    assert thin.verdict == "pass"
    assert "2000 inferences" in lane(thin, "orin").exclusions[0]["reason"]
    assert evaluate_look(make_look(given, [latency, replace(tail, required=True)])).verdict == "inconclusive"


def test_no_data_at_all_is_inconclusive() -> None:
    given = cohorts({"orin": (12, 24)})
    nothing = [None] * 36
    for metrics in ([], [MetricInput("latency_p95", nothing, nothing)]):
        result = evaluate_look(make_look(given, metrics))
        assert result.verdict == "inconclusive"
        assert canonical_json(result.to_dict())


def test_a_fleet_without_a_baseline_is_inconclusive_and_says_why() -> None:
    given = cohorts({"orin": (12, 24)})
    result = evaluate_look(make_look(given, [MetricInput("latency_p95", [None] * 36, [3.0] * 36)]))
    assert result.verdict == "inconclusive"
    assert "before the release" in result.reason


def test_one_metric_in_one_group_is_the_plain_sequential_test() -> None:
    given = cohorts({"orin": (12, 24)})
    treated = np.array(given["treated"], dtype=bool)
    assignments = draw_assignments(treated, np.array(given["strata"]), count=2000, seed=5)
    for seed in range(6):
        looks = [values(given, "latency_p95", seed=100 * seed + t, effect=0.004 * seed) for t in range(8)]
        statistics = [
            stratified_contrast(
                assignments, np.zeros(36, dtype=int), (np.array(row.post) - np.array(row.pre))[:, None]
            ).statistic[:, 0]
            for row in looks
        ]
        expected = [step.rejects for step in sequential_test(statistics, 0.05)]
        state, found = None, []
        for number, row in enumerate(looks[: len(expected)], start=1):
            result = evaluate_look(make_look(given, [row], look=number, planned_looks=8, state=state))
            state = result.state
            found.append(result.lanes[0].metrics[0].rejected)
        assert found == expected


def test_one_device_is_inconclusive_and_gets_no_interval() -> None:
    given = {"devices": ["only"], "treated": [1], "strata": ["orin|n"], "lanes": ["orin"]}
    result = evaluate_look(make_look(given, [MetricInput("latency_p95", [3.0], [3.5])]))
    assert result.verdict == "inconclusive"
    row = result.lanes[0].metrics[0]
    assert (row.effect, row.lower, row.upper) == (None, None, None)


def test_a_stratum_without_control_lends_no_device() -> None:
    given = cohorts({"orin": (10, 20)})
    given["strata"] = ["orin|lonely" if i < 3 else "orin|north" for i in range(30)]
    row = with_values(values(given, "latency_p95", seed=19), "post", [0, 1, 2], 99.0)
    result = evaluate_look(make_look(given, [row]))
    latency = metric(lane(result, "orin"), "latency_p95")
    assert latency.n_treated == 7
    assert abs(latency.effect) < 0.02


def test_a_fleet_without_any_fallback_passes_within_what_counting_allows() -> None:
    given = cohorts({"orin": (12, 24)})
    zeros = MetricInput("fallback_rate", [0.0] * 36, [0.0] * 36)
    plenty = evaluate_look(make_look(given, [zeros], inferences=[1500] * 36))
    row = plenty.lanes[0].metrics[0]
    assert plenty.verdict == "pass"
    assert 0.0 < row.upper < 0.001
    scarce = evaluate_look(make_look(given, [zeros], inferences=[20] * 36))
    assert scarce.verdict == "inconclusive"
    assert scarce.lanes[0].metrics[0].upper > 0.005


def test_a_fallback_in_every_treated_device_and_nowhere_else_fails() -> None:
    given = cohorts({"orin": (12, 24)})
    row = MetricInput("fallback_rate", [0.0] * 36, [0.01] * 12 + [0.0] * 24)
    assert evaluate_look(make_look(given, [row])).verdict == "fail"


def test_a_constant_fleet_has_no_effect_and_no_width() -> None:
    given = cohorts({"orin": (12, 24)})
    row = evaluate_look(make_look(given, [MetricInput("latency_p95", [3.0] * 36, [3.0] * 36)])).lanes[0].metrics[0]
    assert (row.effect, row.standard_error, row.rejected) == (0.0, 0.0, False)


def test_too_few_possible_assignments_are_inconclusive_and_say_what_would_help() -> None:
    given = cohorts({"orin": (6, 6)})
    given["strata"] = [f"orin|{i % 6}" for i in range(12)]
    result = evaluate_look(make_look(given, [values(given, "latency_p95", seed=20, effect=0.5)]))
    assert result.distinct_assignments == 64
    assert result.verdict == "inconclusive"
    assert "64 distinct assignments" in result.reason
    assert "more devices per stratum" in result.reason


def test_an_observational_canary_gets_figures_and_fails_by_hard_limits_alone() -> None:
    given = cohorts({"orin": (12, 24)})
    harmful = values(given, "latency_p95", seed=21, effect=0.5)
    result = evaluate_look(make_look(given, [harmful], randomised=False))
    row = result.lanes[0].metrics[0]
    assert result.verdict == "inconclusive"
    assert "observational" in result.reason
    assert row.lower > 0.3
    crashing = HardLimit("crash_rate", 0.05, [0.4, 0.3] + [0.0] * 34)
    broken = evaluate_look(make_look(given, [harmful], randomised=False, hard_limits=[crashing]))
    assert broken.verdict == "fail"
    assert "crash_rate" in broken.reason


def test_a_hard_limit_acts_at_once_on_two_treated_devices_and_not_on_one() -> None:
    given = cohorts({"orin": (12, 24)})
    metrics = [values(given, "latency_p95", seed=22)]

    def verdict(broken: list[float]) -> str:
        limit = HardLimit("error_rate", 0.05, [*broken, *[0.0] * (36 - len(broken))])
        return str(evaluate_look(make_look(given, metrics, hours=1.0, hard_limits=[limit])).verdict)

    assert verdict([0.2, 0.2]) == "fail"
    assert verdict([0.2]) == "inconclusive"
    given["treated"] = [0] * 12 + [1] * 12 + [0] * 12
    assert verdict([0.2, 0.2]) == "inconclusive", "control devices do not speak against the release"


def test_a_hard_limit_of_one_target_is_not_asked_of_another_and_says_how_many_reported_it() -> None:
    given = cohorts(TWO_LANES)
    limit = HardLimit("temperature_max", 80.0, [90.0, 91.0, *[None] * 28, *[90.0] * 30], lane="orin", unit="°C")
    result = evaluate_look(make_look(given, [values(given, "latency_p95", seed=22)], hard_limits=[limit]))
    assert verdicts(result) == {"orin": "fail", "hailo": "pass"}
    assert "2 treated devices above 80 °C of 2 that reported it" in lane(result, "orin").reason
    assert lane(result, "hailo").hard_limits == []


def test_an_absolute_limit_of_the_budget_is_checked_on_the_level() -> None:
    given = cohorts({"orin": (12, 24)})
    row = values(given, "latency_p95", seed=23)
    level = float(np.exp(3.0))
    over = evaluate_look(make_look(given, [replace(row, limits={"orin": 0.8 * level})]))
    assert over.verdict == "hold"
    assert "and so is the control" in over.reason
    slower = values(given, "latency_p95", seed=23, effect=0.6, limits={"orin": 1.4 * level}, margins={"*": 2.0})
    assert evaluate_look(make_look(given, [slower])).verdict == "fail"


def test_a_changed_shape_with_the_same_mean_holds() -> None:
    given = cohorts({"orin": (12, 24)})
    rng = np.random.default_rng(24)
    plain = rng.multinomial(3000, np.r_[np.full(20, 0.01), np.full(10, 0.06), np.full(20, 0.01)], size=36)
    split = rng.multinomial(3000, np.r_[np.full(20, 0.03), np.full(10, 0.004), np.full(20, 0.018)], size=12)
    labels = [str(i) for i in range(50)]
    shape = ShapeInput("confidence_shape", labels, plain, np.concatenate([split, plain[12:]]))
    result = evaluate_look(make_look(given, [values(given, "latency_p95", seed=25)], shapes=[shape]))
    row = result.lanes[0].shape[0]
    assert result.verdict == "hold"
    assert row.ks > 0.05
    assert sum(row.difference) == pytest.approx(0.0, abs=1e-9)
    unchanged = ShapeInput("confidence_shape", labels, plain, plain)
    assert (
        evaluate_look(make_look(given, [values(given, "latency_p95", seed=25)], shapes=[unchanged])).verdict == "pass"
    )


def test_class_labels_that_do_not_fit_their_counts_are_refused() -> None:
    given = cohorts({"orin": (6, 6)})
    shape = ShapeInput("class_mix", ["cat"], [[1, 2]] * 12, [[1, 2]] * 12)
    with pytest.raises(ValueError, match="class_mix"):
        evaluate_look(make_look(given, [], shapes=[shape]))
    negative = ShapeInput("class_mix", ["cat", "dog"], [[1, -2]] * 12, [[1, 2]] * 12)
    with pytest.raises(ValueError, match="negative"):
        evaluate_look(make_look(given, [], shapes=[negative]))


def test_a_harm_that_begins_late_is_seen_in_the_latest_windows() -> None:
    given = cohorts({"orin": (12, 24)})
    row = values(given, "latency_p95", seed=26, effect=0.005, noise=0.01)
    late = [p + 0.12 * z for p, z in zip(row.post, given["treated"], strict=True)]
    result = evaluate_look(make_look(given, [replace(row, recent=late)]))
    assert result.verdict == "fail"
    assert "latest windows" in result.reason


def test_more_stages_share_the_alpha() -> None:
    given = cohorts({"orin": (12, 24)})
    row = values(given, "latency_p95", seed=27)
    whole, fourth = (evaluate_look(make_look(given, [row], stages=stages)) for stages in (1, 4))
    assert fourth.alpha == pytest.approx(whole.alpha / 4)
    assert fourth.alpha_spent < whole.alpha_spent
    assert fourth.lanes[0].metrics[0].upper > whole.lanes[0].metrics[0].upper


def test_after_the_planned_looks_nothing_more_can_be_rejected() -> None:
    given = cohorts({"orin": (12, 24)})
    state = None
    for look in (1, 2):
        state = evaluate_look(
            make_look(given, [values(given, "latency_p95", seed=28)], look=look, planned_looks=2, state=state)
        ).state
    after = evaluate_look(
        make_look(given, [values(given, "latency_p95", seed=28, effect=0.5)], look=3, planned_looks=2, state=state)
    )
    assert after.critical_value is None
    assert not after.lanes[0].metrics[0].rejected
    assert after.verdict != "pass"


def test_the_report_says_what_would_settle_an_open_question() -> None:
    given = cohorts({"orin": (7, 14)})
    result = evaluate_look(make_look(given, [values(given, "latency_p95", seed=29, noise=0.03)]))
    row = result.lanes[0].metrics[0]
    assert result.verdict == "inconclusive"
    assert "treated devices instead of 7" in row.would_settle
    assert row.minimum_detectable_effect > 0.03
    assert "latency_p95" in result.lanes[0].would_settle


def test_looks_are_counted_even_where_there_is_no_test() -> None:
    given = cohorts({"orin": (12, 24)})
    row = values(given, "latency_p95", seed=30)
    first = evaluate_look(make_look(given, [row], randomised=False))
    assert first.state["look"] == 1
    second = evaluate_look(make_look(given, [row], randomised=False, look=2, state=first.state))
    assert second.state["look"] == 2
    with pytest.raises(ValueError, match="taken already"):
        evaluate_look(make_look(given, [row], randomised=False, look=2, state=second.state))
