"""The device-CI gate: budget, last release, creep, operators, waivers; nothing measured is never a pass."""

from dataclasses import replace

from rollouts.gate import GateVerdict, Run, decide_gate

GOOD = Run(
    "nominal",
    measurements={"latency_p95_ms": 17.0, "energy_mj": 40.0},
    checks={"boot": True, "rollback": True, "telemetry": True},
)
LIMITS = {"latency_p95_ms": 20.0, "energy_mj": 45.0}


def gate(*runs: Run, **options):
    """The gate of orin-nx-16 under the limits."""
    return decide_gate("orin-nx-16", runs, **{"limits": LIMITS, **options})


def test_a_run_within_every_limit_passes():
    result = gate(GOOD)
    assert result.verdict is GateVerdict.PASS
    assert result.reasons == ["5 checks passed"]


def test_no_qualification_is_missing_and_says_which_mode():
    assert gate().verdict is GateVerdict.MISSING
    assert gate(replace(GOOD, mode="stress")).verdict is GateVerdict.MISSING
    assert "nominal" in gate().reasons[0]


def test_over_the_budget_fails_with_both_numbers():
    result = gate(replace(GOOD, measurements={"latency_p95_ms": 22.5, "energy_mj": 40.0}))
    assert result.verdict is GateVerdict.FAIL
    assert result.reasons == ["nominal: latency_p95_ms 22.5 ms is over the budget of 20 ms"]


def test_a_limit_that_nobody_measured_is_missing():
    result = gate(replace(GOOD, measurements={"latency_p95_ms": 17.0}))
    assert result.verdict is GateVerdict.MISSING
    assert "energy_mj" in result.reasons[0]


def test_a_check_that_was_not_run_is_missing_and_one_that_failed_fails():
    assert gate(replace(GOOD, checks={"boot": True, "rollback": True})).verdict is GateVerdict.MISSING
    failed = gate(replace(GOOD, checks={**GOOD.checks, "rollback": False}))
    assert failed.verdict is GateVerdict.FAIL
    assert "“rollback” failed" in failed.reasons[0]


def test_an_unsupported_operator_is_refused_by_name():
    result = gate(replace(GOOD, unsupported_operators=("GridSample",)))
    assert result.verdict is GateVerdict.FAIL
    assert "GridSample" in result.reasons[0]


def test_a_regression_against_the_last_release_fails_within_the_budget():
    before = replace(GOOD, measurements={"latency_p95_ms": 15.0, "energy_mj": 40.0})
    result = gate(GOOD, previous=[before], previous_version="4.1.0")
    assert result.verdict is GateVerdict.FAIL
    assert "+13.3 % against last release 4.1.0" in result.reasons[0]


def test_steps_that_are_each_small_fail_once_they_have_crept_away_from_the_anchor():
    last = replace(GOOD, measurements={"latency_p95_ms": 16.5, "energy_mj": 40.0})
    anchor = replace(GOOD, measurements={"latency_p95_ms": 15.0, "energy_mj": 40.0})
    result = gate(GOOD, previous=[last], previous_version="4.1.0", anchor=[anchor], anchor_version="3.0.0")
    assert result.verdict is GateVerdict.FAIL
    assert [reason for reason in result.reasons if "anchor release 3.0.0" in reason]
    assert not [reason for reason in result.reasons if "last release" in reason]


def test_runs_are_compared_in_the_same_mode_and_on_the_same_board():
    soak = Run("thermal_soak", board="revB", measurements={"energy_mj": 44.0})
    other = Run("thermal_soak", board="revA", measurements={"energy_mj": 30.0})
    assert gate(GOOD, soak, previous=[other], previous_version="4.1.0").verdict is GateVerdict.PASS
    same = replace(other, board="revB")
    assert gate(GOOD, soak, previous=[same], previous_version="4.1.0").verdict is GateVerdict.FAIL


def test_a_waiver_lifts_its_limit_and_nothing_else():
    over = replace(GOOD, measurements={"latency_p95_ms": 22.5, "energy_mj": 50.0})
    assert gate(over, waived=["latency_p95_ms"]).verdict is GateVerdict.FAIL
    both = gate(over, waived=["latency_p95_ms", "energy_mj"])
    assert both.verdict is GateVerdict.PASS
    assert len([reason for reason in both.reasons if reason.startswith("waived: ")]) == 2


def test_a_waiver_of_the_qualification_opens_a_missing_gate():
    assert gate(waived=["qualification"]).verdict is GateVerdict.PASS
    assert gate(waived=["energy_mj"]).verdict is GateVerdict.MISSING


def test_rates_are_compared_by_difference():
    before = replace(GOOD, measurements={**GOOD.measurements, "error_rate": 0.001})
    near = replace(GOOD, measurements={**GOOD.measurements, "error_rate": 0.005})
    far = replace(GOOD, measurements={**GOOD.measurements, "error_rate": 0.009})
    assert gate(near, previous=[before], previous_version="4.1.0").verdict is GateVerdict.PASS
    assert gate(far, previous=[before], previous_version="4.1.0").verdict is GateVerdict.FAIL
