"""Who may do what: every REST endpoint and every page of the product, walked by every role, by nobody, and by a device.

The endpoints are taken from the routes themselves, so a new one is walked without being listed. Each request has an
empty body or names what nobody has, so none succeeds in changing anything: what is tested is only whether it gets past
the door. 401 and 403 are the door; everything else (200, 404, 409, 422…) is behind it.
"""

import re

import pytest
from django.urls import URLPattern

from drift import urls as drift_urls
from fleet import urls as fleet_urls
from rollouts import urls as rollouts_urls
from telemetry import urls as telemetry_urls

pytestmark = pytest.mark.django_db

APPS = (fleet_urls, telemetry_urls, drift_urls, rollouts_urls)
BOARD = ("ml", "embedded", "hardware", "qa", "security", "operations")
PEOPLE = ("visitor", "engineer", "manager", "administrator", *BOARD)
STRANGERS = ("anonymous", "bad token")
EVERYONE = {*PEOPLE, "device", *STRANGERS}

READERS = set(PEOPLE)
WRITERS = {"manager", "administrator"}
SIGNERS = {*WRITERS, *BOARD}
# Whoever works on a problem: acknowledges alarms, labels samples, pulls the emergency brake.
WORKERS = {*SIGNERS, "engineer"}
ADMINISTRATORS = {"administrator"}
DEVICES = {"device"}

# Who may write below a noun; nouns that are not listed are written by WRITERS.
NOUNS: dict[str, set[str]] = {
    "alarms": WORKERS,
    "playbooks": WORKERS,
    "labels": WORKERS,
    "label-requests": WORKERS,
    # Ordering the drift boards computes and decides nothing.
    "evaluations": WORKERS,
    "telemetry": DEVICES,
    "enroll": EVERYONE,
    "device": DEVICES,
    "enrollment-keys": ADMINISTRATORS,
    "users": ADMINISTRATORS,
    "signing-keys": ADMINISTRATORS,
    "notification-channels": ADMINISTRATORS,
    # Everyone has tokens of their own; whose can be reached is tested with the people.
    "tokens": READERS,
    # Everyone keeps views; whose can be changed is tested with them.
    "saved-views": READERS,
    # A retrospective computes and changes nothing.
    "retrospectives": READERS,
}
# Where one method of an address differs from its noun. What is not listed here is read by all people.
EXCEPTIONS: dict[tuple[str, str], set[str]] = {
    ("get", "users"): ADMINISTRATORS,
    ("get", "users.csv"): ADMINISTRATORS,
    ("get", "users/*"): ADMINISTRATORS,
    ("get", "device/desired"): DEVICES,
    ("post", "waivers/*/approve"): SIGNERS,
    ("post", "rollouts/*/approve"): SIGNERS,
    ("post", "rollouts/*/stop"): WORKERS,
}


def methods_of(pattern: URLPattern) -> list[str]:
    """The methods that a REST route answers."""
    view = pattern.callback
    verbs = ("get", "post", "put", "patch", "delete")
    answered = getattr(view, "actions", None) or {verb for verb in verbs if hasattr(view.cls, verb)}
    return [verb for verb in verbs if verb in answered]


def plain(route: str) -> str:
    """A route with a star for each placeholder."""
    return re.sub(r"<[^>]+>", "*", route.rstrip("/"))


def address(route: str) -> str:
    """A route with names that nobody has."""
    return re.sub(r"<[^>]+>", "nobody-has-this-name", re.sub(r"<int:[^>]+>", "999999999", route))


ENDPOINTS = [
    (method, str(pattern.pattern)) for urls in APPS for pattern in urls.api_patterns for method in methods_of(pattern)
]
PAGES = [str(pattern.pattern) for urls in APPS for pattern in urls.page_patterns]
OPEN_PAGES = {"login/"}


def allowed(method: str, route: str) -> set[str]:
    """Whom the table lets in."""
    name = plain(route)
    default = READERS if method == "get" else NOUNS.get(name.split("/")[0].removesuffix(".csv"), WRITERS)
    return EXCEPTIONS.get((method, name), default)


def test_the_table_names_only_what_exists():
    walked = {(method, plain(route)) for method, route in ENDPOINTS}
    assert set(EXCEPTIONS) <= walked
    assert set(NOUNS) <= {name.split("/")[0] for _, name in walked}


@pytest.mark.parametrize("name", sorted(EVERYONE))
def test_each_endpoint_opens_with_a_token_to_those_of_the_table_and_no_others(
    name, cast, api_client, make_device, device_token
):
    client = {
        "device": lambda: api_client(device_token(make_device("walker"))),
        "anonymous": api_client,
        "bad token": lambda: api_client("rdl_aaaaaaaa_" + "b" * 43),
    }.get(name, lambda: api_client(getattr(cast, name)))()
    wrong = []
    for method, route in ENDPOINTS:
        answer = getattr(client, method)(f"/api/v1/{address(route)}", {}, format="json")
        entered = answer.status_code not in (401, 403)
        if entered != (name in allowed(method, route)) or answer.status_code >= 500:
            wrong.append((method, route, answer.status_code))
        if name in STRANGERS and not entered and answer.status_code != 401:
            wrong.append((method, route, answer.status_code))
    assert wrong == []


@pytest.mark.parametrize("name", ["visitor", "engineer", "manager", "administrator", "qa"])
def test_a_session_opens_what_a_token_of_all_scopes_opens(name, cast, browser_client):
    browser = browser_client(getattr(cast, name))
    wrong = []
    for method, route in ENDPOINTS:
        if plain(route) == "enroll":
            continue
        answer = getattr(browser, method)(f"/api/v1/{address(route)}", {}, content_type="application/json")
        if (answer.status_code not in (401, 403)) != (name in allowed(method, route)):
            wrong.append((method, route, answer.status_code))
    assert wrong == []


@pytest.mark.parametrize("route", PAGES)
def test_a_page_sends_whoever_is_not_logged_in_to_the_log_in(route, db, browser_client):
    if route in OPEN_PAGES:
        return
    browser = browser_client()
    for method in ("get", "post"):
        answer = getattr(browser, method)(f"/{address(route)}")
        refused = answer.status_code in (302, 405) or (route == "logout/" and answer.status_code == 200)
        assert refused, (method, answer.status_code)
        if answer.status_code == 302:
            assert answer.url.startswith("/login/")


@pytest.mark.parametrize("name", PEOPLE)
def test_every_page_can_be_read_by_everyone_who_logs_in(name, cast, browser_client):
    browser = browser_client(getattr(cast, name))
    wrong = []
    for route in PAGES:
        if route in ("login/", "logout/"):
            continue
        answer = browser.get(f"/{address(route)}")
        # An address that only takes posts answers 405; whatever needs a right to act is not read.
        if answer.status_code not in (200, 302, 400, 404, 405, 422) and not (
            answer.status_code == 403 and name not in WRITERS
        ):
            wrong.append((route, answer.status_code))
    assert wrong == []
