"""The pages of the drift app: alarms are found, explained and acted on."""

from datetime import timedelta

import pytest

from drift.models import Alarm
from drift.services.alarms import Sighting, raise_alarm

pytestmark = pytest.mark.django_db


@pytest.fixture
def alarm(cast, make_device, now) -> Alarm:
    """Energy rose on one hardware target."""
    device = make_device("orin-0001", cast.orin, cast.north)
    sighting = Sighting(
        kind=Alarm.Kind.ENERGY_DRIFT,
        severity=Alarm.Severity.CRITICAL,
        summary="Energy per inference rose on orin-nx-16.",
        started_at=now - timedelta(hours=3),
        workload_id=cast.workload.pk,
        release_id=cast.candidate.pk,
        hardware_target_id=cast.orin.pk,
        device_id=device.pk,
        metric="energy_mean",
        effect=0.083,
        lower=0.062,
        upper=0.104,
        devices_affected=24,
    )
    return raise_alarm(sighting, now=now)[0]


def test_the_list_shows_the_effect_with_its_interval_and_where_it_lies(browser_client, cast, alarm):
    text = browser_client(cast.engineer).get("/alarms/").content.decode()
    assert "+8.3 %" in text and "+6.2 % to +10.4 %" in text
    assert "orin-0001" in text and cast.candidate.version in text


def test_a_filter_that_matches_nothing_says_so(browser_client, cast, alarm):
    text = browser_client(cast.engineer).get("/alarms/", {"kind": "cpu_fallback"}).content.decode()
    assert "The filters leave no alarm" in text


def test_a_closed_alarm_leaves_the_list_and_is_found_under_closed(browser_client, cast, alarm):
    client = browser_client(cast.engineer)
    client.post(f"/alarms/{alarm.pk}/act/", {"action": "close", "reason": "known test bench"})
    assert alarm.summary not in client.get("/alarms/").content.decode()
    assert alarm.summary in client.get("/alarms/", {"state": "closed"}).content.decode()


def test_closing_needs_a_reason(browser_client, cast, alarm):
    answer = browser_client(cast.engineer).post(f"/alarms/{alarm.pk}/act/", {"action": "close"}, follow=True)
    alarm.refresh_from_db()
    assert alarm.state == Alarm.State.OPEN
    assert "Nothing was changed" in answer.content.decode()


def test_acknowledging_assigning_and_noting_stand_on_the_timeline(browser_client, cast, alarm):
    client = browser_client(cast.engineer)
    for form in (
        {"action": "acknowledge"},
        {"action": "assign", "assignee": cast.engineer.username},
        {"action": "note", "text": "fan replaced"},
    ):
        client.post(f"/alarms/{alarm.pk}/act/", form)
    kinds = list(alarm.entries.values_list("kind", flat=True))
    assert kinds == ["raised", "acknowledged", "assigned", "noted"]
    assert "fan replaced" in client.get(f"/alarms/{alarm.pk}/").content.decode()


def test_an_alarm_cannot_be_given_to_somebody_who_does_not_exist(browser_client, cast, alarm):
    browser_client(cast.engineer).post(f"/alarms/{alarm.pk}/act/", {"action": "assign", "assignee": "nobody"})
    alarm.refresh_from_db()
    assert alarm.assignee is None


def test_a_person_without_the_right_sees_no_actions_and_may_not_act(browser_client, cast, alarm):
    client = browser_client(cast.visitor)
    assert "Acknowledge" not in client.get(f"/alarms/{alarm.pk}/").content.decode()
    assert client.post(f"/alarms/{alarm.pk}/act/", {"action": "acknowledge"}).status_code == 403


def test_the_panel_shows_the_alarms_of_one_device_and_nothing_where_there_is_none(browser_client, cast, alarm):
    client = browser_client(cast.engineer)
    assert alarm.summary in client.get("/panels/alarms/", {"device": "orin-0001"}).content.decode()
    assert client.get("/panels/alarms/", {"device": "other"}).content.decode().strip() == ""


def test_the_panel_of_the_home_page_says_that_nothing_is_open(browser_client, cast):
    assert "Nothing is open" in browser_client(cast.engineer).get("/panels/alarms/").content.decode()
