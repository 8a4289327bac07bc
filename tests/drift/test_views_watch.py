"""Slow drift and creep as people read them: the series, what it cannot say, computing now, and the anchor."""

from datetime import timedelta

import pytest
from django.utils import timezone

from drift.models import CreepAnchor, Evaluation, EvaluationCell, Finding
from drift.models.evaluations import Progress

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


@pytest.fixture
def cusum(cast, now):
    """A finished run with one drifting metric and one that is quiet."""
    run = _run(Evaluation.Kind.SLOW_DRIFT, now, baseline_days=14, horizon_days=90, alpha=0.05)
    cell = _cell(run, cast)
    first = now - 20 * DAY
    detail = {
        "method": "cusum",
        "caveat": "cannot separate environment from model",
        "baseline_days": 14,
        "horizon_days": 90,
        "devices": 12,
        "devices_in_all": 12,
        "margin": 0.05,
        "days": [(first + day * DAY).date().isoformat() for day in range(20)],
        "change": [0.0] * 14 + [0.02, 0.04, 0.05, 0.06, 0.07, None],
        "path": [1.0, 3.0, 6.0, 9.0, 13.0, 13.0],
        "limit": 5.5,
        "correlation": 0.2,
        "started_at": (first + 14 * DAY).isoformat(),
    }
    found = {**cell, "n_treated": 12, "lower": 0.04, "upper": 0.09}
    return Finding.objects.create(
        **found, metric="energy_mean", verdict="fail", effect=0.062, reason="Over its limit.", detail=detail
    )


@pytest.fixture
def summed(cast, now):
    """A finished sum of two steps beyond the margin."""
    run = _run(Evaluation.Kind.CREEP, now)
    steps = [
        {"release": "4.1.5", "against": "4.1.0", "devices": 9, "sum": [0.03, 0.022, 0.038]},
        {"release": "4.2.0", "against": "4.1.5", "devices": 8, "sum": [0.0609, 0.05, 0.072]},
    ]
    steps = [step | {"control": 0, "effect": 0.03, "standard_error": 0.004} for step in steps]
    return Finding.objects.create(
        **_cell(run, cast),
        metric="energy_mean",
        verdict="fail",
        effect=0.0609,
        lower=0.05,
        upper=0.072,
        n_treated=8,
        reason="+6.1 % since 4.1.0 in 2 steps, beyond the margin of +5.0 %, though no step alone was.",
        detail={"method": "creep", "anchor": "4.1.0", "margin": 0.05, "steps": steps, "caveat": "no control"},
    )


def _run(kind, now, **parameters) -> Evaluation:
    return Evaluation.objects.create(
        kind=kind,
        status=Progress.DONE,
        as_of=now,
        parameters={"metrics": ["energy_mean", "latency_p95"], "minimum_devices": 6, **parameters},
        code_version="1",
        started_at=now,
        finished_at=now,
    )


def _cell(run, cast) -> dict:
    where = {"evaluation": run, "workload": cast.workload, "release": cast.release, "hardware_target": cast.orin}
    EvaluationCell.objects.create(**where, status=Progress.DONE, devices=12)
    return where


def test_slow_drift_shows_the_worst_series_with_its_limit_its_start_and_what_it_cannot_say(
    cusum, cast, browser_client
) -> None:
    text = browser_client(cast.visitor).get("/drift/slow/").content.decode()
    assert "1 metric drifting" in text and "+6.2 %" in text and "+4.0 % to +9.0 %" in text
    assert "Cannot separate environment from model" in text
    assert "Began about" in text and "5.50" in text
    assert f"/figures/findings/{cusum.pk}/" in text


def test_the_figure_has_the_path_its_limit_and_the_days_and_the_table_the_same_numbers(
    cusum, cast, browser_client
) -> None:
    client = browser_client(cast.visitor)
    chart = client.get(f"/figures/findings/{cusum.pk}/").json()
    path = next(trace for trace in chart["figure"]["data"] if trace["name"] == "CUSUM")
    assert path["y"] == [1, 3, 6, 9, 13, 13]
    assert any(shape.get("y0") == 5.5 for shape in chart["figure"]["layout"]["shapes"])
    assert len(chart["table"]["rows"]) == 20
    assert chart["foot"]["count"] == 12
    header, *lines = (
        b"".join(client.get(f"/figures/findings/{cusum.pk}/?format=csv").streaming_content).decode().splitlines()
    )
    assert header == "Day,Mean change,CUSUM,Limit"
    assert len(lines) == 20


def test_creep_shows_steps_and_the_sum_since_the_anchor(summed, cast, browser_client) -> None:
    client = browser_client(cast.visitor)
    text = client.get("/drift/creep/").content.decode()
    assert "1 sum beyond the margin" in text and "since 4.1.0" in text and "though no step alone was" in text
    chart = client.get(f"/figures/findings/{summed.pk}/").json()
    line = next(trace for trace in chart["figure"]["data"] if trace["type"] == "scatter")
    assert line["x"] == ["4.1.0", "4.1.5", "4.2.0"]
    assert line["y"] == pytest.approx([0, 3.0, 6.09], abs=0.01)


@pytest.mark.parametrize("page", ["/drift/slow/", "/drift/creep/"])
def test_nothing_computed_yet_says_when_it_will_be(page, cast, browser_client) -> None:
    assert "every night" in browser_client(cast.engineer).get(page).content.decode()


@pytest.mark.parametrize("query", ["finding=0", "finding=x", "evaluation=99", "evaluation=²"])
def test_a_finding_or_run_that_does_not_exist_is_not_found(query, cusum, cast, browser_client) -> None:
    assert browser_client(cast.engineer).get(f"/drift/slow/?{query}").status_code == 404


def test_filters_leave_what_matches_and_say_so_when_nothing_does(cusum, cast, browser_client) -> None:
    client = browser_client(cast.engineer)
    assert len(client.get("/drift/slow/?hardware_target=orin-nx-16&verdict=fail").context["rows"]) == 1
    assert "The filters leave no cell" in client.get("/drift/slow/?hardware_target=hailo-8").content.decode()


def test_the_release_page_gets_a_panel_of_its_release_and_an_empty_one_of_others(
    summed, cusum, cast, browser_client
) -> None:
    client = browser_client(cast.engineer)
    for route, words in (("creep", "Since the anchor"), ("slow-drift", "Slow drift")):
        assert words in client.get(f"/panels/{route}/?workload=lane-assist&release=4.1.0").content.decode()
        assert client.get(f"/panels/{route}/?workload=lane-assist&release=4.2.0").content.strip() == b""


class TestComputingNow:
    """The button and what it orders."""

    @pytest.fixture(autouse=True)
    def _here(self, run_tasks_here):
        """Tasks run where they are ordered."""

    def test_whoever_may_write_orders_it_and_sees_it_done(self, cast, browser_client) -> None:
        client = browser_client(cast.engineer)
        for kind, page in (("board", "/drift/"), ("slow_drift", "/drift/slow/"), ("creep", "/drift/creep/")):
            answer = client.post(f"/drift/compute/{kind}/")
            assert (answer.status_code, answer.url) == (302, page)
            run = Evaluation.objects.get(kind=kind)
            # no device has sent anything: there is no cell, and the run is closed at once
            assert run.status == Progress.DONE
            panel = client.get(f"/panels/evaluations/{run.pk}/")
            assert panel.headers["HX-Refresh"] == "true"

    def test_a_run_under_way_is_shown_with_its_progress_instead_of_a_second_one(
        self, cusum, cast, browser_client
    ) -> None:
        run = cusum.evaluation
        Evaluation.objects.filter(pk=run.pk).update(status=Progress.RUNNING, started_at=timezone.now())
        client = browser_client(cast.engineer)
        client.post("/drift/compute/slow_drift/")
        assert Evaluation.objects.count() == 1
        assert f"/panels/evaluations/{run.pk}/" in client.get("/drift/slow/").content.decode()
        panel = client.get(f"/panels/evaluations/{run.pk}/")
        assert "Cells computed: 1 of 1" in panel.content.decode() and "HX-Refresh" not in panel.headers

    def test_a_visitor_may_not_and_an_unknown_kind_is_not_found(self, cast, browser_client) -> None:
        assert browser_client(cast.visitor).post("/drift/compute/board/").status_code == 403
        assert "Compute now" not in browser_client(cast.visitor).get("/drift/").content.decode()
        assert browser_client(cast.engineer).post("/drift/compute/nothing/").status_code == 404


def test_the_anchor_is_set_with_a_reason_and_refused_in_words_without(summed, cast, browser_client) -> None:
    client = browser_client(cast.engineer)
    form = {"workload": "lane-assist", "release": "4.1.0", "reason": ""}
    refused = client.post("/drift/creep/anchor/", form, follow=True).content.decode()
    assert "Say why" in refused and not CreepAnchor.objects.exists()
    client.post("/drift/creep/anchor/", {**form, "reason": "New camera"})
    assert CreepAnchor.objects.get().release == cast.release
    assert "New camera" in client.get("/drift/creep/?workload=lane-assist").content.decode()
    assert "no release" in client.post("/drift/creep/anchor/", {**form, "release": "9"}, follow=True).content.decode()


class TestTheApi:
    """What the pages show, over HTTP."""

    def test_a_finding_comes_with_its_series_and_lists_are_filtered_by_kind(
        self, cusum, summed, cast, api_client
    ) -> None:
        client = api_client(cast.visitor)
        (row,) = client.get("/api/v1/findings?kind=creep").json()["results"]
        assert row["id"] == summed.pk and "detail" not in row
        one = client.get(f"/api/v1/findings/{cusum.pk}").json()
        assert (one["detail"]["limit"], one["detail"]["caveat"]) == (5.5, "cannot separate environment from model")

    def test_an_evaluation_is_ordered_by_whoever_may_write(self, cast, api_client, run_tasks_here) -> None:
        answer = api_client(cast.engineer).post("/api/v1/evaluations", {"kind": "creep"}, format="json")
        assert answer.status_code == 202, answer.content
        assert Evaluation.objects.get().kind == "creep"
        assert api_client(cast.visitor).post("/api/v1/evaluations", {"kind": "creep"}, format="json").status_code == 403
        refused = api_client(cast.engineer).post("/api/v1/evaluations", {"kind": "odd"}, format="json")
        assert refused.status_code == 422
