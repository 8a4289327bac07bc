"""The decision: fails at once, waits for time and exposure, and never takes silence for success."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.stats.verdict import Verdict
from rollouts.policy import Decision, Exposure, LaneFacts, Recommendation, Rules, decide

RULES = Rules(minimum_soak_s=86_400, minimum_devices=6, minimum_inferences=10_000)
EXPOSURE = Exposure(treated=20, offered=20, confirmed=20, failed=0, silent=0, inferences=250_000, control=80)
LOOK = {
    "hardware_target": "orin-nx-16",
    "verdict": "pass",
    "reason": "all 5 metrics are below their margins",
    "metrics": [{"metric": "latency_p95", "verdict": "pass", "treated_level": 17.0}],
    "hard_limits": [],
}
GOOD = LaneFacts(
    hardware_target="orin-nx-16",
    stage="canary",
    randomised=True,
    rules=RULES,
    exposure=EXPOSURE,
    hours_soaked=25.0,
    look=LOOK,
    look_age_s=60.0,
)


def verdict_of(decision: Decision, name: str) -> Verdict:
    """The verdict of one check."""
    return next(check.verdict for check in decision.checks if check.name == name)


def test_everything_measured_and_in_order_is_recommended_for_promotion_with_its_numbers():
    decision = decide(GOOD)
    assert decision.recommendation is Recommendation.PROMOTE
    assert "20 of 20 devices confirmed" in decision.reason
    assert "250,000 inferences" in decision.reason
    assert "all 5 metrics" in decision.reason


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"look": None}, "no look"),
        ({"look_error": "connection refused"}, "connection refused"),
        ({"look_age_s": 4 * 3600.0}, "too old"),
        ({"look_age_s": None}, "too old"),
        ({"look": {**LOOK, "verdict": "inconclusive", "reason": "no metric has data"}}, "no metric has data"),
        ({"look": {**LOOK, "verdict": "hold", "reason": "class mix changed"}}, "class mix changed"),
        ({"exposure": replace(EXPOSURE, silent=1)}, "silent after the update"),
        ({"exposure": replace(EXPOSURE, treated=0, offered=0, confirmed=0)}, "0 devices confirmed, 1 needed"),
    ],
)
def test_what_is_not_known_holds_the_lane_and_says_so(change, missing):
    decision = decide(replace(GOOD, **change))
    assert decision.recommendation is Recommendation.HOLD
    assert missing in decision.reason


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"hours_soaked": None}, "has not begun"),
        ({"hours_soaked": 3.0}, "soaked 3.0 h of 24.0 h"),
        ({"exposure": replace(EXPOSURE, inferences=9_999)}, "9,999 inferences seen, 10,000 needed"),
        (
            {"exposure": replace(EXPOSURE, treated=8, offered=8, confirmed=5, in_flight=3)},
            "5 devices confirmed, 6 needed",
        ),
    ],
)
def test_a_stage_that_has_not_had_its_time_or_exposure_waits(change, missing):
    decision = decide(replace(GOOD, **change))
    assert decision.recommendation is Recommendation.WAIT
    assert missing in decision.reason


def test_harm_is_recommended_for_rollback_before_the_soak_is_over():
    decision = decide(replace(GOOD, hours_soaked=None, look={**LOOK, "verdict": "fail", "reason": "energy +8.1 %"}))
    assert decision.recommendation is Recommendation.ROLLBACK
    assert decision.reason == "energy +8.1 %"


def test_installation_failures_are_counted_against_devices_that_were_offered_the_release():
    early = replace(EXPOSURE, treated=1_000, offered=10, confirmed=8, failed=2, queued=990)
    decision = decide(replace(GOOD, exposure=early, hours_soaked=None))
    assert decision.recommendation is Recommendation.ROLLBACK
    assert "2 of 10 devices (20 %)" in decision.reason


def test_one_failed_device_is_not_a_failed_release():
    assert decide(replace(GOOD, exposure=replace(EXPOSURE, confirmed=19, failed=1))).recommendation == "promote"
    assert decide(replace(GOOD, exposure=replace(EXPOSURE, offered=4, failed=1))).recommendation == "promote"


def test_devices_that_fall_silent_after_the_update_fail_the_lane():
    decision = decide(replace(GOOD, exposure=replace(EXPOSURE, confirmed=17, silent=3)))
    assert decision.recommendation is Recommendation.ROLLBACK
    assert "3 of 20 devices (15 %) went silent" in decision.reason


def test_devices_that_go_quiet_later_fail_the_lane_only_when_the_control_does_not():
    quiet = replace(EXPOSURE, quiet=8, control_quiet=2)
    assert "8 of 20 devices (40 %)" in decide(replace(GOOD, exposure=quiet)).reason
    assert decide(replace(GOOD, exposure=quiet)).recommendation is Recommendation.ROLLBACK
    one = decide(replace(GOOD, exposure=replace(EXPOSURE, quiet=1, control_quiet=0, control=80)))
    assert one.recommendation is Recommendation.PROMOTE
    crowd = replace(EXPOSURE, treated=6, offered=6, confirmed=6, quiet=1, control_quiet=0, control=100_000)
    one_of_few = decide(replace(GOOD, exposure=crowd))
    assert one_of_few.recommendation is Recommendation.HOLD, "one device alone shows no harm"
    assert "1 of 20 devices (5 %) on the new release are not heard from now" in str(one.to_dict())
    only = replace(EXPOSURE, treated=1, offered=1, confirmed=1, quiet=1, control_quiet=0)
    alone = decide(replace(GOOD, exposure=only, rules=replace(RULES, minimum_devices=1)))
    assert alone.recommendation is Recommendation.HOLD, "nor is the only device that ran it good news once it is quiet"
    bad_links = replace(EXPOSURE, quiet=4, control_quiet=16)
    assert decide(replace(GOOD, exposure=bad_links)).recommendation is Recommendation.PROMOTE


def test_half_of_the_treated_devices_must_be_confirmed_however_small_the_minimum():
    few = replace(EXPOSURE, treated=100, offered=100, confirmed=40, in_flight=60)
    decision = decide(replace(GOOD, exposure=few))
    assert decision.recommendation is Recommendation.WAIT
    assert "40 devices confirmed, 50 needed" in decision.reason


def test_a_hand_picked_stage_is_judged_by_hard_limits_alone():
    observed = {**LOOK, "verdict": "inconclusive", "reason": "observational"}
    decision = decide(replace(GOOD, randomised=False, look=observed))
    assert decision.recommendation is Recommendation.PROMOTE
    assert "no statistical claim" in decision.reason
    broken = {**observed, "hard_limits": [{"breached": True, "reason": "temperature_max: 2 treated devices"}]}
    assert decide(replace(GOOD, randomised=False, look=broken)).recommendation is Recommendation.ROLLBACK


def test_a_hand_picked_stage_over_its_budget_or_unmeasured_is_held():
    facts = replace(GOOD, randomised=False, look={**LOOK, "verdict": "inconclusive"})
    assert "over the limit 16" in decide(replace(facts, limits={"latency_p95": 16.0})).reason
    unmeasured = decide(replace(facts, limits={"energy_mean": 40.0}))
    assert unmeasured.recommendation is Recommendation.HOLD
    assert "energy_mean, which nobody measured" in unmeasured.reason
    quiet = decide(replace(facts, exposure=replace(EXPOSURE, inferences=0), rules=replace(RULES, minimum_inferences=0)))
    assert quiet.recommendation is not Recommendation.PROMOTE


def test_facts_survive_being_frozen():
    assert LaneFacts.from_dict(GOOD.to_dict()) == GOOD
    with pytest.raises(ValueError, match="hours_soaked"):
        LaneFacts.from_dict({k: v for k, v in GOOD.to_dict().items() if k != "hours_soaked"})


counts = st.integers(0, 60)


@st.composite
def _exposures(draw) -> Exposure:
    """Any counts that can occur together."""
    treated, control = draw(counts), draw(counts)
    offered = draw(st.integers(0, treated))
    confirmed = draw(st.integers(0, offered))
    return Exposure(
        treated=treated,
        offered=offered,
        confirmed=confirmed,
        failed=draw(st.integers(0, offered)),
        silent=draw(st.integers(0, offered)),
        inferences=draw(st.integers(0, 10**6)),
        control=control,
        in_flight=draw(counts),
        queued=treated - offered,
        quiet=draw(st.integers(0, confirmed)),
        control_quiet=draw(st.integers(0, control)),
    )


exposures = _exposures()


@given(
    exposures,
    st.none() | st.floats(0, 100),
    st.sampled_from(["fail", "hold", "inconclusive", "pass", None]),
    st.none() | st.floats(0, 1e6),
    st.booleans(),
    st.sampled_from(["", "boom"]),
)
def test_no_lane_is_promoted_unless_every_single_check_passed(exposure, soaked, verdict, age, randomised, error):
    look = None if verdict is None else {**LOOK, "verdict": verdict}
    decision = decide(
        replace(
            GOOD,
            exposure=exposure,
            hours_soaked=soaked,
            look=look,
            look_age_s=age,
            randomised=randomised,
            look_error=error,
        )
    )
    if decision.recommendation is Recommendation.PROMOTE:
        assert {check.verdict for check in decision.checks} == {Verdict.PASS}
        assert exposure.confirmed > 0 and exposure.inferences >= 10_000 and not error
        assert soaked is not None and soaked >= 24 and age is not None and age <= RULES.stale_after_s
        assert look is not None and (verdict == "pass" or not randomised)
    if verdict_of(decision, "comparison") is Verdict.FAIL:
        assert decision.recommendation is Recommendation.ROLLBACK
