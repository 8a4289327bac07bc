"""Scopes: what roles add up to, how tokens narrow them, and a view that names none."""

from itertools import product
from types import SimpleNamespace

import pytest

from fleet.models.people import BOARD_ROLES
from fleet.permissions import HasScope
from fleet.scopes import ROLE_SCOPES, SCOPES, narrow, scopes_of_user

pytestmark = pytest.mark.django_db


def test_a_token_of_one_scope_opens_nothing_else(cast, api_client):
    client = api_client(cast.administrator, ["fleet:read"])
    statuses = {
        "/api/v1/devices": client.get("/api/v1/devices").status_code,
        "/api/v1/releases": client.get("/api/v1/releases").status_code,
        "/api/v1/audit": client.get("/api/v1/audit").status_code,
        "/api/v1/users": client.get("/api/v1/users").status_code,
    }
    assert statuses == {"/api/v1/devices": 200, "/api/v1/releases": 403, "/api/v1/audit": 403, "/api/v1/users": 403}
    assert client.post("/api/v1/devices", {}, format="json").status_code == 403


def test_a_view_that_names_no_scope_is_closed_to_everyone(cast, rf):
    request = SimpleNamespace(user=cast.administrator, auth=None, method="GET")
    assert not HasScope().has_permission(request, SimpleNamespace())


def test_board_roles_sign_and_do_not_manage():
    for role in BOARD_ROLES:
        assert "board:sign" in ROLE_SCOPES[role]
        assert not {"rollouts:write", "releases:write", "fleet:write", "admin"} & ROLE_SCOPES[role]


def test_roles_add_up_and_an_administrator_holds_every_scope(cast):
    cast.engineer.roles = ["engineer", "qa"]
    assert scopes_of_user(cast.engineer) >= {"drift:write", "board:sign", "fleet:read"}
    assert scopes_of_user(cast.administrator) == SCOPES


@pytest.mark.parametrize(("listed", "scope"), product([["*"], ["admin"], []], ["fleet:write", "admin"]))
def test_a_token_never_holds_more_than_its_person(listed, scope, cast):
    held = scopes_of_user(cast.manager)
    assert narrow(held, listed) <= held
    assert (scope in narrow(held, listed)) == (listed == ["*"] and scope == "fleet:write")
