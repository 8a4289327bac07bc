"""Alarms: one row as long as trouble lasts, moved by people, with a line on the timeline for every step."""

from dataclasses import replace
from datetime import timedelta

import pytest

from drift.models import Alarm, Playbook
from drift.services import alarms, playbooks
from drift.services.alarms import Sighting
from fleet.exceptions import InvalidInput, StateConflict
from fleet.models import AuditEntry

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture
def sighting(cast, now) -> Sighting:
    return Sighting(
        kind=Alarm.Kind.ENERGY_DRIFT,
        severity=Alarm.Severity.WARNING,
        summary="Energy per inference +8.1 % on orin-nx-16",
        started_at=now - HOUR,
        workload_id=cast.workload.pk,
        release_id=cast.release.pk,
        hardware_target_id=cast.orin.pk,
        metric="energy_mean",
        effect=0.081,
        devices_affected=12,
    )


def test_the_same_trouble_seen_twice_is_one_alarm_with_its_newest_figures(sighting, now) -> None:
    first, new = alarms.raise_alarm(sighting, now=now)
    again, new_again = alarms.raise_alarm(replace(sighting, effect=0.092, started_at=now), now=now + HOUR)
    assert (new, new_again, again.pk) == (True, False, first.pk)
    assert (again.effect, again.sightings, again.last_seen_at) == (0.092, 2, now + HOUR)
    assert again.started_at == now - HOUR


def test_trouble_on_another_hardware_target_is_another_alarm(sighting, cast, now) -> None:
    first, _ = alarms.raise_alarm(sighting, now=now)
    other, new = alarms.raise_alarm(replace(sighting, hardware_target_id=cast.hailo.pk), now=now)
    assert new
    assert other.pk != first.pk


def test_an_alarm_keeps_the_edition_of_the_playbook_it_was_raised_with(sighting, cast, now) -> None:
    playbooks.install_defaults(now=now)
    alarm, _ = alarms.raise_alarm(sighting, now=now)
    playbooks.edit(
        alarm.playbook.playbook, causes=["New cause"], checks=["Look"], actions=["Act"], user=cast.manager, now=now
    )
    alarm.refresh_from_db()
    assert alarm.playbook.version == 1
    assert playbooks.current_version(Alarm.Kind.ENERGY_DRIFT).version == 2


def test_every_kind_of_alarm_ships_with_a_playbook(now, db) -> None:
    # the migration has installed them already
    Playbook.objects.all().delete()
    assert playbooks.install_defaults(now=now) == len(Alarm.Kind)
    assert all(playbooks.current_version(kind) for kind in Alarm.Kind)
    assert playbooks.install_defaults(now=now) == 0


def test_acknowledge_assign_note_and_close_leave_lines_and_audit_rows(sighting, cast, now) -> None:
    alarm, _ = alarms.raise_alarm(sighting, now=now)
    alarms.acknowledge(alarm, user=cast.engineer, note="Looking", now=now)
    alarms.assign(alarm, assignee=cast.embedded, user=cast.engineer, now=now)
    alarms.note(alarm, user=cast.embedded, text="Power mode was changed", now=now)
    alarms.close(alarm, user=cast.embedded, reason="Mode set back", now=now + HOUR)
    kinds = list(alarm.entries.values_list("kind", flat=True))
    assert kinds == ["raised", "acknowledged", "assigned", "noted", "closed"]
    assert list(
        AuditEntry.objects.order_by("id").filter(object_type="drift.alarm").values_list("action", flat=True)
    ) == [
        "alarm.acknowledged",
        "alarm.assigned",
        "alarm.closed",
    ]
    alarm.refresh_from_db()
    assert (alarm.state, alarm.closed_at, alarm.assignee) == ("closed", now + HOUR, cast.embedded)


def test_a_closed_alarm_stays_closed_and_the_same_trouble_opens_a_new_one(sighting, cast, now) -> None:
    alarm, _ = alarms.raise_alarm(sighting, now=now)
    alarms.close(alarm, user=cast.engineer, reason="Fixed", now=now)
    with pytest.raises(StateConflict) as refusal:
        alarms.acknowledge(alarm, user=cast.engineer, now=now)
    assert refusal.value.state == "closed"
    again, new = alarms.raise_alarm(sighting, now=now + HOUR)
    assert new
    assert again.pk != alarm.pk


def test_closing_needs_a_reason_and_a_note_a_text(sighting, cast, now) -> None:
    alarm, _ = alarms.raise_alarm(sighting, now=now)
    with pytest.raises(InvalidInput):
        alarms.close(alarm, user=cast.engineer, reason="  ", now=now)
    with pytest.raises(InvalidInput):
        alarms.note(alarm, user=cast.engineer, text="", now=now)


def test_a_playbook_without_lines_is_refused_by_field(cast, now) -> None:
    playbooks.install_defaults(now=now)
    playbook = playbooks.current_version(Alarm.Kind.CPU_FALLBACK).playbook
    with pytest.raises(InvalidInput) as refusal:
        playbooks.edit(playbook, causes=[], checks=["x"], actions=[" "], user=cast.manager, now=now)
    assert set(refusal.value.errors) == {"causes", "actions"}


class TestTheApi:
    """What people and scripts do with alarms over HTTP."""

    @pytest.fixture
    def alarm(self, sighting, now) -> Alarm:
        playbooks.install_defaults(now=now)
        return alarms.raise_alarm(sighting, now=now)[0]

    def test_the_list_is_filtered_and_names_the_playbook(self, alarm, cast, api_client) -> None:
        client = api_client(cast.engineer)
        (row,) = client.get("/api/v1/alarms?state=open&hardware_target=orin-nx-16").json()["results"]
        assert (row["id"], row["release"], row["playbook"]["title"]) == (alarm.pk, "4.1.0", "Energy drift")
        assert client.get("/api/v1/alarms?hardware_target=hailo-8").json()["results"] == []

    def test_acknowledging_twice_is_a_conflict_that_says_what_is_allowed(self, alarm, cast, api_client) -> None:
        client = api_client(cast.engineer)
        assert client.post(f"/api/v1/alarms/{alarm.pk}/acknowledge", {}, format="json").status_code == 200
        refused = client.post(f"/api/v1/alarms/{alarm.pk}/acknowledge", {}, format="json")
        assert refused.status_code == 409
        assert refused.json()["state"] == "acknowledged"
        assert "close" in refused.json()["allowed_actions"]

    def test_closing_without_a_reason_is_refused_by_field(self, alarm, cast, api_client) -> None:
        answer = api_client(cast.engineer).post(f"/api/v1/alarms/{alarm.pk}/close", {}, format="json")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "reason"

    def test_a_visitor_reads_and_may_not_act(self, alarm, cast, api_client) -> None:
        client = api_client(cast.visitor)
        assert client.get(f"/api/v1/alarms/{alarm.pk}/timeline").json()[0]["kind"] == "raised"
        assert client.post(f"/api/v1/alarms/{alarm.pk}/close", {"reason": "x"}, format="json").status_code == 403
