"""What a look reports beside the tested metrics: plain intervals, and no word in any verdict."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from drift.stats.canonical import canonical_json
from drift.stats.look import DescribedInput, LookInput, LookInputError, LookResult, evaluate_look
from tests.drift.stats.look.fleets import cohorts, make_look, values

SIZES = {"orin": (8, 12), "hailo": (7, 9)}


def described(given: dict, name: str, *, seed: int = 3, **more) -> DescribedInput:
    """Values of one metric as `fleets.values` makes them."""
    row = values(given, name, seed=seed, **more)
    return DescribedInput(name, row.pre, row.post)


def look(*rows: DescribedInput, **more) -> LookInput:
    """A look at p95, with other metrics described."""
    given = cohorts(SIZES)
    return make_look(given, [values(given, "latency_p95", seed=1)], described=list(rows), **more)


def rows_of(result: LookResult, lane: str) -> dict[str, dict]:
    """The described rows of a lane by metric."""
    found = next(row for row in result.to_dict()["lanes"] if row["hardware_target"] == lane)
    return {row["metric"]: row for row in found["described"]}


def test_the_interval_is_welchs_on_the_devices_own_changes() -> None:
    row = described(cohorts(SIZES), "power_mean", effect=0.02, noise=0.03)
    found = rows_of(evaluate_look(look(row)), "orin")["power_mean"]
    change = (np.array(row.post) - np.array(row.pre))[:20]
    reference = stats.ttest_ind(change[:8], change[8:], equal_var=False)
    interval = reference.confidence_interval(0.95)
    assert found["effect"] == pytest.approx(np.expm1(change[:8].mean() - change[8:].mean()))
    assert (found["lower"], found["upper"]) == pytest.approx((np.expm1(interval.low), np.expm1(interval.high)))
    assert (found["n_treated"], found["n_control"]) == (8, 12)


def test_no_verdict_bound_or_state_depends_on_what_is_described() -> None:
    given = cohorts(SIZES)
    harm = [described(given, name, effect=0.5) for name in ("power_mean", "memory_mean", "queue_mean")]
    plain, beside = evaluate_look(look()).to_dict(), evaluate_look(look(*harm)).to_dict()
    assert all(lane.pop("described") for lane in beside["lanes"])
    assert canonical_json(beside) == canonical_json(plain)


def test_a_share_without_any_event_has_the_width_that_counting_leaves() -> None:
    nothing = [0.0] * 36
    found = rows_of(evaluate_look(look(DescribedInput("timeout_rate", nothing, nothing), inferences=[50] * 36)), "orin")
    row = found["timeout_rate"]
    assert row["lower"] < row["effect"] == 0.0 < row["upper"]


def test_a_metric_that_five_devices_of_an_arm_have_is_left_out_there_and_not_elsewhere() -> None:
    row = described(cohorts(SIZES), "power_mean")
    fewer = replace(row, post=[None] * 3 + list(row.post[3:]))
    result = evaluate_look(look(fewer))
    assert rows_of(result, "orin") == {}
    assert set(rows_of(result, "hailo")) == {"power_mean"}


def test_frozen_input_gives_the_same_figures_again() -> None:
    given = look(described(cohorts(SIZES), "power_mean", noise=0.03), described(cohorts(SIZES), "memory_mean"))
    frozen = json.loads(canonical_json(given.to_dict()))
    assert frozen["schema"] == "ridgeline.look/2"
    again = evaluate_look(LookInput.from_dict(frozen)).to_dict()
    assert canonical_json(again) == canonical_json(evaluate_look(given).to_dict())


def test_evidence_of_the_first_schema_is_judged_as_ever_and_says_nothing_of_described_metrics() -> None:
    frozen = json.loads(canonical_json(look().to_dict())) | {"schema": "ridgeline.look/1"}
    del frozen["described"]
    again = evaluate_look(LookInput.from_dict(frozen)).to_dict()
    assert canonical_json(again) == canonical_json(evaluate_look(look()).to_dict())
    assert all("described" not in lane for lane in again["lanes"])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (DescribedInput("latency_p95", [None] * 36, [None] * 36), "'latency_p95' is judged already"),
        (DescribedInput("nonsense", [None] * 36, [None] * 36), "described: unknown name 'nonsense'"),
        (DescribedInput("power_mean", [None] * 3, [None] * 36), "power_mean.pre"),
    ],
)
def test_bad_input_is_refused_by_its_name(row: DescribedInput, words: str) -> None:
    with pytest.raises(LookInputError, match=words):
        look(row)
