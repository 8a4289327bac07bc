"""Who may do what: every REST endpoint of the fleet, walked by every role, by nobody, and by a device.

Each request here has an empty body or a name that nobody has, so it never succeeds: what is tested is only whether it
gets past the door. 401 and 403 are the door; everything else (200, 404, 409, 422…) is behind it.
"""

from itertools import product
from types import SimpleNamespace

import pytest
from django.urls import URLPattern

from fleet.api.routes import api_patterns
from fleet.models.people import BOARD_ROLES
from fleet.permissions import HasScope
from fleet.scopes import ROLE_SCOPES, SCOPES, narrow, scopes_of_user

pytestmark = pytest.mark.django_db

PEOPLE = (
    "visitor",
    "engineer",
    "manager",
    "administrator",
    "ml",
    "embedded",
    "hardware",
    "qa",
    "security",
    "operations",
)
BOARD = PEOPLE[4:]
READERS = set(PEOPLE)
WRITERS = {"manager", "administrator"}
SIGNERS = {*WRITERS, *BOARD}
ADMINISTRATORS = {"administrator"}
DEVICES = {"device"}
EVERYONE = {*PEOPLE, "device", "anonymous", "bad token"}

# What a method needs, by address without its placeholders. Everything else is read by all people and written by
# release managers and administrators.
EXCEPTIONS: dict[tuple[str, str], set[str]] = {
    ("post", "enroll"): EVERYONE,
    ("post", "device/token"): DEVICES,
    ("post", "enrollment-keys"): ADMINISTRATORS,
    ("delete", "enrollment-keys/*"): ADMINISTRATORS,
    ("post", "enrollment-keys/*/revoke"): ADMINISTRATORS,
    ("get", "users"): ADMINISTRATORS,
    ("post", "users"): ADMINISTRATORS,
    ("get", "users.csv"): ADMINISTRATORS,
    ("get", "users/*"): ADMINISTRATORS,
    ("patch", "users/*"): ADMINISTRATORS,
    # Everyone has tokens; whose can be reached is tested with the people.
    ("post", "tokens"): READERS,
    ("delete", "tokens/*"): READERS,
    ("post", "tokens/*/revoke"): READERS,
    ("post", "signing-keys"): ADMINISTRATORS,
    ("post", "signing-keys/*/revoke"): ADMINISTRATORS,
    ("post", "waivers/*/approve"): SIGNERS,
}


def endpoints() -> list[tuple[str, str]]:
    """Every method of every route, from the routes themselves: a new one is walked without being listed here."""
    found = []
    for pattern in api_patterns:
        assert isinstance(pattern, URLPattern)
        route = str(pattern.pattern)
        view = pattern.callback
        methods = getattr(view, "actions", None) or {
            name for name in ("get", "post", "put", "patch", "delete") if hasattr(view.cls, name)
        }
        found += [(method, route) for method in sorted(methods)]
    return found


def plain(route: str) -> str:
    return "/".join("*" if part.startswith("<") else part for part in route.split("/"))


def allowed(method: str, route: str) -> set[str]:
    return EXCEPTIONS.get((method, plain(route)), READERS if method == "get" else WRITERS)


def test_every_exception_of_the_table_is_a_real_endpoint():
    assert set(EXCEPTIONS) <= {(method, plain(route)) for method, route in endpoints()}


@pytest.fixture
def clients(cast, api_client, make_device, device_token):
    return {
        **{name: api_client(getattr(cast, name)) for name in PEOPLE},
        "device": api_client(device_token(make_device("walker"))),
        "anonymous": api_client(),
        "bad token": api_client("rdl_aaaaaaaa_" + "b" * 43),
    }


@pytest.mark.parametrize(("method", "route"), endpoints(), ids=lambda value: plain(value))
def test_the_door_of_each_endpoint_opens_to_those_and_no_others(clients, method, route):
    url = "/api/v1/" + plain(route).replace("*", "nobody-has-this-name")
    passed = set()
    for name, client in clients.items():
        answer = getattr(client, method)(url, {}, format="json")
        assert answer.status_code < 500
        # Without a key enrolment is answered 422; only with a wrong one 401.
        if answer.status_code not in (401, 403):
            passed.add(name)
        elif name in ("anonymous", "bad token"):
            assert answer.status_code == 401
    assert passed == allowed(method, route)


@pytest.mark.parametrize(("method", "route"), endpoints(), ids=lambda value: plain(value))
def test_a_session_opens_what_a_token_of_all_scopes_opens(cast, browser_client, method, route):
    if plain(route) == "enroll":
        return
    url = "/api/v1/" + plain(route).replace("*", "nobody-has-this-name")
    for name in ("visitor", "engineer", "manager", "administrator", "qa"):
        answer = getattr(browser_client(getattr(cast, name)), method)(url, {}, content_type="application/json")
        assert (answer.status_code not in (401, 403)) == (name in allowed(method, route)), name


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
