"""REST /waivers: asked for by one, approved by another from the escalation path, ended by date or revocation."""

from datetime import timedelta
from threading import Barrier, Thread

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from fleet.actors import Actor
from fleet.exceptions import StateConflict
from fleet.models import AuditEntry, User, Waiver
from fleet.selectors.budgets import active_waivers, waived_limits
from fleet.services import budgets, waivers

pytestmark = pytest.mark.django_db
URL = "/api/v1/waivers"
ACTOR = Actor.system("tests")


@pytest.fixture
def today():
    """Requests read the clock, so dates in them are counted from it."""
    return timezone.now()


@pytest.fixture
def body(cast, today):
    return {
        "release": cast.candidate.pk,
        "hardware_target": "orin-nx-16",
        "limit": "energy_mj",
        "reason": "the new head is worth it until 5.1",
        "expires_at": (today + timedelta(days=14)).isoformat(),
    }


@pytest.fixture
def path(cast, now):
    """An escalation path of hardware, then qa."""
    return budgets.write_budget(
        workload=cast.workload,
        hardware_target=cast.orin,
        hard_limits={"energy_mj": 60},
        escalation_path=["hardware", "qa"],
        actor=ACTOR,
        now=now,
    ).escalation_path


@pytest.fixture
def waiver(cast, body, api_client, path):
    answer = api_client(cast.manager).post(URL, body, format="json")
    assert answer.status_code == 201
    return f"{URL}/{answer.json()['id']}"


def test_a_waiver_holds_once_someone_from_the_path_approves_it(waiver, cast, api_client, today):
    assert not active_waivers(cast.candidate, cast.orin, today).exists()
    answer = api_client(cast.qa).post(f"{waiver}/approve", {"remark": "seen the bench"}, format="json")
    assert answer.status_code == 200
    row = answer.json()
    assert (row["status"], row["approver"], row["approver_role"]) == ("approved", "quinn", "qa")
    later = timezone.now()
    assert list(waived_limits(cast.candidate, cast.orin, later)) == ["energy_mj"]
    assert not active_waivers(cast.candidate, cast.hailo, later).exists()
    assert not active_waivers(cast.release, cast.orin, later).exists()
    assert list(
        AuditEntry.objects.filter(action__startswith="waiver").order_by("id").values_list("action", "reason")
    ) == [
        ("waiver.requested", "the new head is worth it until 5.1"),
        ("waiver.approved", "seen the bench"),
    ]


def test_a_waiver_ends_by_itself(waiver, cast, api_client, today):
    api_client(cast.qa).post(f"{waiver}/approve")
    assert active_waivers(cast.candidate, cast.orin, today + timedelta(days=13)).exists()
    assert not active_waivers(cast.candidate, cast.orin, today + timedelta(days=14)).exists()


def test_whoever_asked_cannot_approve_even_from_the_path(cast, body, api_client, path):
    cast.manager.roles = ["release_manager", "qa"]
    cast.manager.save()
    row = api_client(cast.manager).post(URL, body, format="json").json()
    answer = api_client(cast.manager).post(f"{URL}/{row['id']}/approve")
    assert (answer.status_code, answer.json()["code"]) == (403, "four_eyes")


@pytest.mark.parametrize("who", ["ml", "security", "administrator"])
def test_a_role_outside_the_path_cannot_approve_not_even_an_administrator(waiver, cast, api_client, who):
    answer = api_client(getattr(cast, who)).post(f"{waiver}/approve")
    assert (answer.status_code, answer.json()["code"]) == (403, "not_in_escalation_path")
    assert Waiver.objects.get().approved_at is None


def test_without_a_path_a_release_manager_other_than_the_requester_approves(cast, body, api_client):
    row = api_client(cast.manager).post(URL, body, format="json").json()
    assert api_client(cast.manager).post(f"{URL}/{row['id']}/approve").status_code == 403
    other = User.objects.create(username="max", roles=["release_manager"])
    answer = api_client(other).post(f"{URL}/{row['id']}/approve")
    assert (answer.status_code, answer.json()["approver_role"]) == (200, "release_manager")


def test_the_database_itself_keeps_four_eyes(waiver, cast, now):
    with pytest.raises(IntegrityError, match="waiver_four_eyes"), transaction.atomic():
        Waiver.objects.update(approver=cast.manager, approved_at=now)


def test_a_waiver_is_approved_once(waiver, cast, api_client):
    statuses = [api_client(who).post(f"{waiver}/approve").status_code for who in (cast.qa, cast.hardware)]
    assert statuses == [200, 409]


def test_a_revoked_request_cannot_be_approved(waiver, cast, api_client):
    assert api_client(cast.manager).post(f"{waiver}/revoke", {"reason": "no"}, format="json").status_code == 200
    answer = api_client(cast.qa).post(f"{waiver}/approve")
    assert (answer.status_code, answer.json()["state"], answer.json()["allowed_actions"]) == (409, "revoked", [])


def test_an_approved_waiver_can_be_ended_before_its_time(waiver, cast, api_client):
    api_client(cast.qa).post(f"{waiver}/approve")
    assert api_client(cast.manager).post(f"{waiver}/revoke").json()["status"] == "revoked"
    assert not active_waivers(cast.candidate, cast.orin, timezone.now()).exists()


def test_a_request_that_waited_too_long_cannot_be_approved(cast, now, path):
    waiver = waivers.request_waiver(
        release=cast.candidate,
        hardware_target=cast.orin,
        limit="energy_mj",
        reason="x",
        expires_at=now + timedelta(days=1),
        requested_by=cast.manager,
        actor=ACTOR,
        now=now,
    )
    with pytest.raises(StateConflict, match="expired"):
        waivers.approve_waiver(waiver, approver=cast.qa, actor=ACTOR, now=now + timedelta(days=1))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"limit": "beauty"}, "limit"),
        ({"reason": "  "}, "reason"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2099-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"release": 99999}, "release"),
        ({"hardware_target": "abacus"}, "hardware_target"),
    ],
)
def test_bad_input_names_the_field(cast, body, api_client, change, field):
    answer = api_client(cast.manager).post(URL, body | change, format="json")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_the_device_ci_gate_can_be_waived(cast, body, api_client):
    assert api_client(cast.manager).post(URL, body | {"limit": "qualification"}, format="json").status_code == 201


@pytest.mark.django_db(transaction=True)
def test_two_who_approve_at_once_one_wins(cast, now, path):
    waiver = waivers.request_waiver(
        release=cast.candidate,
        hardware_target=cast.orin,
        limit="energy_mj",
        reason="x",
        expires_at=now + timedelta(days=1),
        requested_by=cast.manager,
        actor=ACTOR,
        now=now,
    )
    start = Barrier(2)
    results: list[str] = []

    def approve(who: User) -> None:
        try:
            start.wait()
            waivers.approve_waiver(Waiver.objects.get(pk=waiver.pk), approver=who, actor=ACTOR, now=now)
            results.append("won")
        except StateConflict as exc:
            results.append(f"the waiver is {exc.state}")
        finally:
            connection.close()

    threads = [Thread(target=approve, args=[who]) for who in (cast.qa, cast.hardware)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["the waiver is approved", "won"]
    assert AuditEntry.objects.filter(action="waiver.approved").count() == 1
