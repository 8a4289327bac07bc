"""Retrospectives as people ask for them and read them."""

from datetime import timedelta

import pytest

from drift.models import Retrospective
from drift.models.evaluations import Progress
from drift.views.retrospectives import crying, spells

NEW = "/retrospectives/new/"


def form(**changes: str) -> dict[str, str]:
    return {
        "workload": "lane-assist",
        "release": "4.2.0",
        "started_at": "2026-03-01T12:00",
        "until": "2026-03-01T14:00",
        "every": "1h",
        "seed": "11",
        "treated": "cam-001",
        "control": "cam-002",
    } | changes


@pytest.fixture
def devices(make_device) -> None:
    make_device("cam-001")
    make_device("cam-002")


@pytest.mark.django_db(transaction=True)
def test_a_run_goes_from_the_form_to_its_page(make_story, cast, browser_client) -> None:
    story = make_story(energy={"orin-nx-16": 1.10}, per_arm=6, hours=3)
    client = browser_client(cast.visitor)
    sent = form(
        until=f"{story.until:%Y-%m-%dT%H:%M}",
        started_at=f"{story.started_at:%Y-%m-%dT%H:%M}",
        treated="\r\n".join(device.serial for device in story.treated),
        control=", ".join(device.serial for device in story.control),
    )
    answer = client.post(NEW, sent, follow=True)
    kept = Retrospective.objects.get()
    assert answer.redirect_chain[0][0] == f"/retrospectives/{kept.pk}/"
    assert (kept.status, kept.looks_done, kept.created_by) == (Progress.DONE, 3, cast.visitor)
    text = answer.content.decode()
    assert {entry["lane"]["hardware_target"] for entry in answer.context["lanes"]} == {"orin-nx-16", "hailo-8"}
    assert "Energy" in text and 'class="interval interval--' in text
    assert "12 treated devices" in text and "drawn with seed 11" in text
    row = client.get("/retrospectives/").context["rows"][0]
    assert row["alarms"] == answer.context["alarms"] and row["alarms"]["looks"] == 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"workload": "other"}, "workload"),
        ({"release": "9.9.9"}, "release"),
        ({"treated": "cam-404"}, "treated"),
        ({"control": "cam-001"}, "control"),
        ({"control": " "}, "control"),
        ({"started_at": "yesterday"}, "started_at"),
        ({"until": "2026-03-01T11:00"}, "until"),
        ({"every": "1d"}, "every"),
        ({"every": "30m", "until": "2026-03-29T12:00"}, "every"),
        ({"budget": "speed 3"}, "budget"),
        ({"budget": "energy_mean a lot"}, "budget"),
        ({"rollout": "4711"}, "rollout"),
        ({"seed": "-1"}, "seed"),
    ],
)
def test_what_is_wrong_stands_at_its_field_and_nothing_typed_is_lost(
    changes, field, devices, cast, browser_client
) -> None:
    answer = browser_client(cast.engineer).post(NEW, form(**changes))
    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == [field]
    text = answer.content.decode()
    assert "cam-002" in text or field == "control"
    assert 'role="alert"' in text
    assert not Retrospective.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["visitor", "engineer", "manager", "administrator", "qa"])
def test_everyone_reads_the_list_and_the_form(name, cast, browser_client) -> None:
    client = browser_client(getattr(cast, name))
    assert "No retrospective was run yet" in client.get("/retrospectives/").content.decode()
    assert "Treated devices" in client.get(NEW).content.decode()


@pytest.mark.django_db
def test_a_run_that_failed_says_why_and_shows_no_look(cast, now, browser_client) -> None:
    kept = Retrospective.objects.create(
        request={
            "workload": "lane-assist",
            "release": "4.2.0",
            "started_at": now.isoformat(),
            "treated": [1],
            "control": [2],
        },
        status=Progress.FAILED,
        error="MemoryError: too much",
        code_version="1.0",
        created_at=now,
    )
    client = browser_client(cast.engineer)
    text = client.get(f"/retrospectives/{kept.pk}/").content.decode()
    assert "MemoryError: too much" in text and "There is no look to show" in text
    assert "Failed" in client.get("/retrospectives/").content.decode()


@pytest.mark.django_db
def test_a_run_that_does_not_exist_is_not_found(cast, browser_client) -> None:
    assert browser_client(cast.engineer).get("/retrospectives/12345/").status_code == 404


def test_crying_wolf_is_counted_by_looks() -> None:
    cried = crying(["inconclusive", "fail", "hold", "fail"])
    assert (cried["looks"], cried["failing"], cried["share"], cried["first"]) == (4, 2, 0.5, 2)
    assert crying(["pass", "pass"])["first"] is None


def test_looks_of_one_verdict_in_a_row_are_one_spell(now) -> None:
    looks = [
        {
            "look": number,
            "verdict": verdict,
            "reason": f"reason {number}",
            "as_of": (now + number * timedelta(hours=1)).isoformat(),
        }
        for number, verdict in enumerate(["pass", "pass", "fail", "pass"], start=1)
    ]
    found = [(spell["verdict"], spell["first"], spell["last"], spell["reason"]) for spell in spells(looks)]
    assert found == [("pass", 1, 2, "reason 1"), ("fail", 3, 3, "reason 3"), ("pass", 4, 4, "reason 4")]
