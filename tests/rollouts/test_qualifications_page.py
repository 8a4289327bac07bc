"""The qualification matrix and where a release can be deployed: what was proven is shown as the gate sees it."""

import pytest
from django.utils import timezone

from rollouts.models import CalibrationResult
from rollouts.selectors.qualifications import compared_boards, matrix_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(browser_client, cast, now, monkeypatch):
    monkeypatch.setattr(timezone, "now", lambda: now)
    return browser_client(cast.engineer)


@pytest.fixture
def proven(cast, qualify, now):
    """The anchor at 40 mJ; the candidate at 41 mJ in nominal mode, too hot in stress mode on one of two boards."""
    qualify(cast.release, cast.orin, board="C2", measurements={"latency_p95_ms": 25.0, "energy_mj": 40.0})
    qualify(cast.candidate, cast.orin, board="C2", precision="int8")
    qualify(
        cast.candidate,
        cast.orin,
        mode="stress",
        board="C2",
        checks={"boot": False},
        measurements={"latency_p95_ms": 31.0},
        unsupported_operators=["GridSample"],
    )
    for precision, accuracy, confidence in (("fp32", 0.91, 0.8), ("int8", 0.89, 0.75)):
        CalibrationResult.objects.create(
            release=cast.candidate,
            calibration_set="night",
            kind="edge_case",
            precision=precision,
            samples=1000,
            accuracy=accuracy,
            measurements={"mean_confidence": confidence},
            created_at=now,
        )


def test_the_matrix_has_a_cell_per_board_and_mode_with_cost_creep_and_reasons(proven, cast, now):
    matrix = matrix_of(cast.candidate, now)
    assert [(row.target.slug, row.board) for row in matrix.rows] == [("hailo-8", ""), ("orin-nx-16", "C2")]
    hailo, orin = ({cell.mode: cell for cell in row.cells} for row in matrix.rows)
    assert (hailo["nominal"].verdict, hailo["stress"].verdict) == ("missing", "")
    assert orin["nominal"].verdict == "pass"
    assert (orin["nominal"].latency_ms, orin["nominal"].energy_j) == (26.0, 0.041)
    assert {creep.measurement: round(creep.share, 3) for creep in orin["nominal"].creep} == {
        "latency_p95_ms": 0.04,
        "energy_mj": 0.025,
    }
    assert orin["stress"].verdict == "fail"
    assert any("GridSample" in reason for reason in orin["stress"].reasons)
    assert matrix.verdict == "fail"


def test_boards_are_compared_side_by_side_candidates_among_them(proven, cast, qualify, now):
    qualify(cast.candidate, cast.hailo, measurements={"latency_p95_ms": 13.0, "accuracy": 0.9})
    found = compared_boards(cast.candidate, "nominal")
    assert [row["name"] for row in found["measured"]] == ["latency_p95_ms", "energy_mj", "accuracy"]
    hailo, orin = found["boards"]
    assert [value["best"] for value in hailo["values"]] == [True, False, True]
    assert orin["values"][0]["share"] == 1.0


def test_the_page_shows_matrix_findings_boards_and_what_quantization_changed(proven, client):
    text = client.get("/qualifications/").content.decode()
    for words in ("lane-assist 4.2.0", "Gate: closed", "GridSample", "+2.5 % since 4.1.0"):
        assert words in text or words.replace("+2.5 % since", "energy +2.5 %") in text, words
    assert "−2.00 points" in text and "edge case" in text and "mean confidence" in text
    assert "No run in this mode" in client.get("/qualifications/", {"mode": "thermal_soak"}).content.decode()


def test_the_matrix_comes_as_csv_and_json(proven, client):
    rows = client.get("/qualifications/", {"format": "json"}).json()["rows"]
    assert {(row["hardware_target"], row["mode"], row["verdict"]) for row in rows} == {
        ("hailo-8", "nominal", "missing"),
        ("orin-nx-16", "nominal", "pass"),
        ("orin-nx-16", "stress", "fail"),
    }
    table = b"".join(client.get("/qualifications/", {"format": "csv"})).decode()
    assert table.splitlines()[0].startswith("workload,release,hardware_target,board,precision,mode,verdict")


def test_a_bad_mode_is_named_and_nothing_to_show_says_why(client, cast):
    assert "There is no mode" in client.get("/qualifications/", {"mode": "party"}).content.decode()
    assert "Nothing has been qualified yet" in client.get("/qualifications/").content.decode()
    assert "No such release" in client.get("/qualifications/", {"release": "9.9.9"}).content.decode()


def test_a_release_says_where_it_can_be_deployed(proven, client, cast):
    text = client.get("/panels/model-zoo/", {"workload": "lane-assist", "release": "4.2.0"}).content.decode()
    assert "C2" in text and "int8" in text and "26.0 ms" in text and "GridSample" in text and "night" in text
    assert "Unknown release" in client.get("/panels/model-zoo/").content.decode()


def test_a_manager_starts_a_rollout_from_the_release_page_and_an_engineer_is_not_offered_it(
    client, browser_client, cast
):
    address, link = f"/releases/{cast.candidate.pk}/", f"/rollouts/new/?release={cast.candidate.pk}"
    assert link in browser_client(cast.manager).get(address).content.decode()
    assert link not in client.get(address).content.decode()
