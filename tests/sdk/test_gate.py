"""`ridgeline gate` against the running product: what a CI job sees."""

import json

import pytest
from django.utils import timezone
from ridgeline_sdk.cli import main

from fleet.actors import Actor
from fleet.services import tokens

pytestmark = pytest.mark.django_db(transaction=True)

CHECKS = {"boot": True, "rollback": True, "telemetry": True}
MEASURED = {"latency_p95_ms": 17.4, "latency_p99_ms": 19.1, "energy_mj": 129.0}


@pytest.fixture
def gate(live_server, cast, tmp_path):
    """Runs `ridgeline gate` for the candidate on orin-nx-16 with some results; returns the exit code."""
    token = tokens.issue_api_token(cast.manager, "ci", ("*",), actor=Actor.of_user(cast.manager), now=timezone.now())

    def run(*results, version="4.2.0"):
        arguments = ["--server", live_server.url, "gate", "--token", token, "--hardware-target", "orin-nx-16"]
        arguments += ["--workload", "lane-assist", "--version", version]
        for number, content in enumerate(results):
            file = tmp_path / f"{number}.json"
            file.write_text(json.dumps(content))
            arguments += ["--results", str(file)]
        return main(arguments)

    return run


def qualification(**changes):
    return {"hardware_target": "orin-nx-16", "mode": "nominal", "measurements": MEASURED, "checks": CHECKS, **changes}


def test_good_results_pass_with_zero(gate, capsys):
    assert gate(qualification()) == 0
    assert capsys.readouterr().out.startswith("gate: pass")


def test_without_results_there_is_no_verdict(gate, capsys):
    assert gate() == 2
    assert "gate: missing" in capsys.readouterr().out


def test_a_regression_against_the_last_release_fails_with_one_and_says_so(gate, capsys):
    assert gate(qualification(), version="4.1.0") == 0
    capsys.readouterr()
    worse = {**MEASURED, "energy_mj": 180.0}
    assert gate([qualification(measurements=worse)]) == 1
    out = capsys.readouterr().out
    assert "gate: fail" in out
    assert "energy" in out


def test_a_failed_check_fails(gate):
    assert gate(qualification(checks={**CHECKS, "rollback": False})) == 1


def test_results_that_are_not_taken_are_no_verdict_and_name_the_field(gate, capsys):
    assert gate([qualification(), qualification(mode="tropical")]) == 2
    assert "mode" in capsys.readouterr().out
    assert gate() == 2


def test_a_release_that_does_not_exist_is_no_verdict(gate, capsys):
    assert gate(version="9.9.9") == 2
    assert "0 releases are lane-assist 9.9.9" in capsys.readouterr().err
