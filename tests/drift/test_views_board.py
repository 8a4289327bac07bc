"""The drift board as people read it: effects, verdicts, progress and failures of a run."""

import re
from datetime import timedelta

import pytest

from drift.models import Evaluation, EvaluationCell, Finding
from drift.models.evaluations import Progress

pytestmark = pytest.mark.django_db

PEOPLE = ["visitor", "engineer", "manager", "administrator", "qa"]


@pytest.fixture
def run(cast, now):
    """Write down a run: one cell that drifted, one that could not be computed."""

    def make(status: str = Progress.DONE, as_of=now, **fields) -> Evaluation:
        board = Evaluation.objects.create(
            kind=Evaluation.Kind.BOARD,
            status=status,
            as_of=as_of,
            parameters={
                "metrics": ["latency_p95", "energy_mean"],
                "false_discovery_rate": 0.05,
                "minimum_devices": 6,
                "recent": [(as_of - timedelta(days=1)).isoformat(), as_of.isoformat()],
                "baseline": [(as_of - timedelta(days=8)).isoformat(), (as_of - timedelta(days=1)).isoformat()],
            },
            code_version="1.0",
            started_at=as_of,
            **fields,
        )
        cell = {"evaluation": board, "workload": cast.workload, "release": cast.release}
        EvaluationCell.objects.create(**cell, hardware_target=cast.orin, status=Progress.DONE, devices=24)
        EvaluationCell.objects.create(**cell, hardware_target=cast.hailo, status=Progress.FAILED, error="No memory")
        found = {"n_treated": 24, "hardware_target": cast.orin, **cell}
        Finding.objects.create(
            **found,
            metric="energy_mean",
            verdict="fail",
            effect=0.083,
            lower=0.06,
            upper=0.1,
            p_value=1e-6,
            q_value=2e-6,
            detail={"margin": 0.04, "margin_budget": 2},
        )
        Finding.objects.create(
            **found,
            metric="latency_p95",
            verdict="pass",
            effect=0.01,
            lower=-0.01,
            upper=0.03,
            p_value=0.4,
            q_value=0.4,
            detail={"margin": 0.05, "margin_budget": None},
        )
        return board

    return make


@pytest.mark.parametrize("name", PEOPLE)
def test_everyone_reads_effect_verdict_and_q_of_each_metric(name, run, cast, browser_client) -> None:
    run()
    text = browser_client(getattr(cast, name)).get("/drift/").content.decode()
    assert "1 finding of drift" in text
    assert "+8.3 %" in text and "+6.0 % to +10.0 %" in text and "Drift</span>" in text
    assert "No change shown</span>" in text and "q 0.400" in text and "q &lt; 0.001" in text


def test_each_cell_says_by_which_margin_it_was_judged_and_where_that_comes_from(run, cast, browser_client) -> None:
    run()
    text = browser_client(cast.engineer).get("/drift/").content.decode()
    assert "margin +4.0 %, budget version 2" in text
    assert "margin +5.0 %, default" in text
    found = browser_client(cast.engineer).get("/api/v1/findings?metric=energy_mean").json()["results"]
    assert [(row["margin"], row["margin_budget"]) for row in found] == [(0.04, 2)]


def test_a_cell_that_failed_shows_its_error_and_no_verdict(run, cast, browser_client) -> None:
    run()
    text = browser_client(cast.engineer).get("/drift/").content.decode()
    assert "1 cell could not be computed" in text
    assert 'Not computed</span> <span class="small">No memory' in text


def test_filters_leave_the_cells_that_match_and_say_so_when_none_does(run, cast, browser_client) -> None:
    run()
    client = browser_client(cast.engineer)
    cells = client.get("/drift/", {"verdict": "fail"}).context["rows"]
    assert [row["cell"].hardware_target for row in cells] == [cast.orin]
    assert len(client.get("/drift/", {"workload": cast.workload.slug}).context["rows"]) == 2
    for nothing in ({"verdict": "inconclusive"}, {"workload": "other"}):
        assert "The filters leave no cell" in client.get("/drift/", nothing).content.decode()


def test_a_run_that_is_computed_settles_nothing_and_leads_to_the_last_finished_one(
    run, cast, now, browser_client
) -> None:
    before, _ = run(), run(Progress.RUNNING, now + timedelta(hours=1))
    client = browser_client(cast.engineer)
    text = client.get("/drift/").content.decode()
    assert "This run is being computed" in text and f"?evaluation={before.pk}" in text
    assert client.get("/drift/", {"evaluation": before.pk}).context["board"] == before


def test_the_newest_run_is_shown_with_a_link_to_its_findings_as_csv(run, cast, now, browser_client) -> None:
    run()
    newest = run(as_of=now + timedelta(hours=1))
    client = browser_client(cast.engineer)
    link = re.search(r'href="([^"]+)" download', client.get("/drift/").content.decode())[1].replace("&amp;", "&")
    header, *lines = b"".join(client.get(link).streaming_content).decode().splitlines()
    column = header.split(",").index("evaluation")
    assert [line.split(",")[column] for line in lines] == [str(newest.pk)] * 2


def test_an_empty_board_says_why(cast, now, browser_client) -> None:
    client = browser_client(cast.engineer)
    assert "The board was never computed" in client.get("/drift/").content.decode()
    Evaluation.objects.create(
        kind=Evaluation.Kind.BOARD, status=Progress.DONE, as_of=now, code_version="1.0", started_at=now
    )
    assert "No device sent data in the newest day" in client.get("/drift/").content.decode()


@pytest.mark.parametrize("number", ["x", "0", "99999999999999999999", "²"])
def test_a_run_that_does_not_exist_is_not_found(number, cast, browser_client) -> None:
    assert browser_client(cast.engineer).get("/drift/", {"evaluation": number}).status_code == 404
