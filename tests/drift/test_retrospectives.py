"""Retrospectives over stored history: what the API promises, and what the engine says."""

from datetime import timedelta

import pytest

from telemetry.services.folding import fold

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


def request_of(story, **changes) -> dict:
    """The body of a retrospective over the story."""
    return {
        "workload": "lane-assist",
        "release": "4.2.0",
        "treated": [device.serial for device in story.treated],
        "control": [device.pk for device in story.control],
        "assignment": {"seed": 11},
        "pre": {"from": (story.started_at - 2 * DAY).isoformat(), "to": story.started_at.isoformat()},
        "started_at": story.started_at.isoformat(),
        "looks": {"every": "1h", "until": story.until.isoformat()},
        "minimum_hours": 6,
        "permutations": 2000,
    } | changes


def lane(look: dict, target: str) -> dict:
    return next(row for row in look["lanes"] if row["hardware_target"] == target)


def test_more_energy_on_one_hardware_target_fails_that_lane_alone(make_story, cast, api_client) -> None:
    story = make_story(energy={"orin-nx-16": 1.08})
    answer = api_client(cast.manager).post("/api/v1/retrospectives", request_of(story), format="json")
    assert answer.status_code == 200, answer.content
    last = answer.json()["looks"][-1]
    assert last["verdict"] == "fail"
    bad, good = lane(last, "orin-nx-16"), lane(last, "hailo-8")
    assert bad["verdict"] == "fail"
    assert good["verdict"] == "pass", good["reason"]
    energy = next(row for row in bad["metrics"] if row["metric"] == "energy_mean")
    assert energy["lower"] < 0.08 < energy["upper"]
    assert energy["n_treated"] == 8
    explained = {
        look["look"]: look["attribution"]["orin-nx-16"]["look"]
        for look in answer.json()["looks"]
        if look["attribution"]
    }
    # made when the harm is first shown, whenever the evidence has doubled, and at the last look
    first = min(explained)
    assert explained[first] == first and explained[story.hours] == story.hours
    assert all(made <= look < max(2 * made, story.hours + 1) for look, made in explained.items())
    assert last["attribution"]["orin-nx-16"]["metric"] == "energy_mean"


def test_metrics_outside_the_family_are_reported_with_intervals_and_no_verdict(make_story, cast, api_client) -> None:
    story = make_story(energy={"orin-nx-16": 1.08}, hours=3)
    answer = api_client(cast.manager).post("/api/v1/retrospectives", request_of(story), format="json").json()
    rows = {(row["hardware_target"], row["metric"]): row for row in answer["secondary"]}
    for name in (
        "preprocess_mean", "inference_mean", "postprocess_mean", "queue_mean", "energy_spread", "power_mean",
        "temperature_mean", "throttled_share", "input_quality_mean", "memory_mean", "fallback_cpu_rate",
        "fallback_smaller_model_rate", "fallback_cloud_rate", "fallback_reject_rate", "error_only_rate", "timeout_rate",
        "out_of_memory_rate", "retry_rate", "accelerator_utilization", "queue_depth_mean",
    ):  # fmt: skip
        row = rows["hailo-8", name]
        # no interval is a point: devices that saw no event at all leave one in their inferences possible
        assert row["lower"] < row["effect"] < row["upper"]
        assert "verdict" not in row
    tested = {row["metric"] for row in answer["looks"][-1]["lanes"][0]["metrics"]}
    assert tested.isdisjoint({row["metric"] for row in answer["secondary"]})


def test_a_release_without_change_is_not_failed_at_any_look(make_story, cast, api_client) -> None:
    story = make_story()
    answer = api_client(cast.manager).post("/api/v1/retrospectives", request_of(story), format="json").json()
    assert [look["verdict"] == "fail" for look in answer["looks"]] == [False] * story.hours
    assert len(answer["looks"]) == story.hours


def test_the_same_request_gives_the_same_looks_folded_or_not(make_story, cast, api_client, now) -> None:
    story = make_story(energy={"orin-nx-16": 1.08})
    client = api_client(cast.manager)
    first = client.post("/api/v1/retrospectives", request_of(story), format="json").json()["looks"]
    fold(now)
    assert client.post("/api/v1/retrospectives", request_of(story), format="json").json()["looks"] == first


def test_a_hand_picked_canary_gets_numbers_and_never_fails_by_statistics(make_story, cast, api_client) -> None:
    story = make_story(energy={"orin-nx-16": 1.30})
    body = request_of(story, assignment=None)
    answer = api_client(cast.manager).post("/api/v1/retrospectives", body, format="json").json()
    assert answer["randomised"] is False
    assert {look["verdict"] for look in answer["looks"]} <= {"inconclusive", "hold"}
    energy = next(row for row in lane(answer["looks"][-1], "orin-nx-16")["metrics"] if row["metric"] == "energy_mean")
    assert energy["effect"] == pytest.approx(0.30, abs=0.03)


def test_a_kept_run_can_be_read_again(make_story, cast, api_client) -> None:
    story = make_story(per_arm=6, hours=2)
    client = api_client(cast.manager)
    made = client.post("/api/v1/retrospectives", request_of(story), format="json").json()
    read = client.get(f"/api/v1/retrospectives/{made['id']}").json()
    assert read["status"] == "done"
    assert read["looks"] == made["looks"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"workload": "nothing"}, "workload"),
        ({"release": "9.9"}, "release"),
        ({"treated": ["ghost"]}, "treated"),
        ({"treated": []}, "treated"),
        ({"looks": {"every": "soon", "until": "2026-03-02T12:00:00Z"}}, "looks.every"),
        ({"looks": {"every": "1h", "until": "2026-01-01T00:00:00Z"}}, "looks.until"),
        ({"looks": {"every": "1s", "until": "2026-03-02T12:00:00Z"}}, "looks.every"),
        ({"budget": {"margins": {"speed": 1}}}, "budget.margins.speed"),
        ({"budget": {"hard_limits": {"energy_mj": "low"}}}, "budget.hard_limits.energy_mj"),
        ({"assignment": {"seed": 1, "strata": ["colour"]}}, "assignment.strata"),
        ({"assignment": {"seed": 1, "strata": {"orin-nx-16-00": "a"}}}, "assignment.strata"),
    ],
)
def test_bad_input_is_refused_by_field(make_story, cast, api_client, change, field) -> None:
    story = make_story(per_arm=1, hours=1)
    answer = api_client(cast.manager).post("/api/v1/retrospectives", request_of(story, **change), format="json")
    assert answer.status_code == 422, answer.content
    assert field in [error["field"] for error in answer.json()["errors"]]


def test_a_device_in_both_groups_is_refused(make_story, cast, api_client) -> None:
    story = make_story(per_arm=1, hours=1)
    body = request_of(story, control=[story.treated[0].serial])
    answer = api_client(cast.manager).post("/api/v1/retrospectives", body, format="json")
    assert [error["field"] for error in answer.json()["errors"]] == ["control"]
