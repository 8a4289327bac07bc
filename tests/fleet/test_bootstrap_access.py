"""`manage.py bootstrap_access`: one live pair of token and key, renewed by each call."""

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from fleet.services import tokens

pytestmark = pytest.mark.django_db


def bootstrap() -> dict[str, str]:
    out = StringIO()
    call_command("bootstrap_access", "--json", stdout=out)
    assert out.getvalue().count("\n") == 1
    return json.loads(out.getvalue())


def test_the_token_opens_everything_and_the_key_enrols_without_approval_or_registered_labels(api_client):
    access = bootstrap()
    assert set(access) == {"admin_token", "enrollment_key"}
    admin = api_client(access["admin_token"])
    assert "admin" in admin.get("/api/v1/me").json()["scopes"]
    assert admin.post("/api/v1/users", {"username": "n"}, format="json").status_code == 201
    body = {
        "enrollment_key": access["enrollment_key"],
        "serial": "cam-001",
        "hardware_target": "new-board",
        "region": "lab",
    }
    answer = api_client().post("/api/v1/enroll", body, format="json")
    assert (answer.status_code, answer.json()["status"]) == (201, "accepted")
    assert admin.get("/api/v1/devices/cam-001").json()["hardware_target"] == "new-board"
    assert api_client().post("/api/v1/enroll", body, format="json").status_code == 201


def test_a_second_call_renews_both_and_revokes_the_first_pair(api_client):
    first, second = bootstrap(), bootstrap()
    assert tokens.check(first["admin_token"], timezone.now()).refusal == "revoked"
    assert tokens.check(second["admin_token"], timezone.now()).passed
    body = {"enrollment_key": first["enrollment_key"], "serial": "c", "hardware_target": "t", "region": "r"}
    assert api_client().post("/api/v1/enroll", body, format="json").status_code == 401
    body["enrollment_key"] = second["enrollment_key"]
    assert api_client().post("/api/v1/enroll", body, format="json").status_code == 201


def test_without_json_it_prints_lines_for_people():
    out = StringIO()
    call_command("bootstrap_access", stdout=out)
    assert [line.split(":")[0] for line in out.getvalue().splitlines()] == ["admin_token", "enrollment_key"]
