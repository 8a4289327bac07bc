"""REST /users, /me and /tokens: accounts for administrators, tokens for everyone, and no way to rise above oneself."""

import pytest
from django.test import Client
from django.utils import timezone

from fleet.actors import Actor
from fleet.models import AuditEntry, Token, User
from fleet.services import tokens

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(cast, api_client):
    return api_client(cast.administrator)


def test_a_person_is_created_with_roles_and_can_log_in(admin, client):
    body = {"username": "nora", "roles": ["qa", "engineer"], "password": "correct horse battery"}
    answer = admin.post("/api/v1/users", body, format="json")
    assert answer.status_code == 201
    assert "password" not in answer.json()
    assert answer.json()["roles"] == ["engineer", "qa"]
    login = client.post("/login/", {"username": "nora", "password": body["password"]})
    assert (login.status_code, login.url) == (302, "/")
    assert body["password"] not in str(AuditEntry.objects.get(action="user.created").new)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"username": "ada"}, "username"),
        ({"username": "a b"}, "username"),
        ({"username": "n", "roles": ["king"]}, "roles[0]"),
        ({"username": "n", "password": "123"}, "password"),
        ({"username": "n", "email": "nowhere"}, "email"),
    ],
)
def test_bad_input_names_the_field(admin, body, field):
    answer = admin.post("/api/v1/users", body, format="json")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_person_who_is_deactivated_is_out_at_once_with_session_and_token(admin, cast, api_client, browser_client):
    script, browser = api_client(cast.engineer), browser_client(cast.engineer)
    assert script.get("/api/v1/me").status_code == browser.get("/api/v1/me").status_code == 200
    admin.patch("/api/v1/users/erin", {"is_active": False}, format="json")
    assert script.get("/api/v1/me").status_code == browser.get("/api/v1/me").status_code == 401


def test_a_role_that_is_taken_away_is_gone_from_the_tokens_too(admin, cast, api_client):
    script = api_client(cast.manager)
    body = {"name": "x"}
    assert script.post("/api/v1/workloads", body, format="json").status_code == 201
    admin.patch("/api/v1/users/mara", {"roles": []}, format="json")
    assert script.post("/api/v1/workloads", {"name": "y"}, format="json").status_code == 403


def test_the_last_administrator_stays(admin, cast):
    answer = admin.patch("/api/v1/users/ada", {"roles": ["engineer"]}, format="json")
    assert (answer.status_code, answer.json()["state"]) == (409, "last_administrator")
    assert admin.patch("/api/v1/users/ada", {"is_active": False}, format="json").status_code == 409
    User.objects.create(username="second", roles=["administrator"])
    assert admin.patch("/api/v1/users/ada", {"roles": ["engineer"]}, format="json").status_code == 200


def test_a_name_cannot_be_changed(admin):
    answer = admin.patch("/api/v1/users/erin", {"username": "erin2"}, format="json")
    assert [error["field"] for error in answer.json()["errors"]] == ["username"]


def test_me_says_what_a_narrowed_token_may_do(cast, api_client):
    answer = api_client(cast.manager, ["fleet:read", "releases:write", "admin"]).get("/api/v1/me").json()
    # `admin` is listed by the token and not held by the person.
    assert answer == {
        "username": "mara",
        "roles": ["release_manager"],
        "scopes": ["fleet:read", "releases:write"],
        "token": "tests",
    }


def test_a_token_is_created_listed_and_revoked_by_its_person(cast, browser_client):
    browser = browser_client(cast.engineer)
    answer = browser.post("/api/v1/tokens", {"name": "ci", "scopes": ["fleet:read"]}, content_type="application/json")
    assert answer.status_code == 201
    raw = answer.json()["token"]
    assert tokens.authenticate(raw, timezone.now()).user == cast.engineer
    listing = browser.get("/api/v1/tokens").json()["results"]
    assert [(row["name"], row["scopes"], row["user"]) for row in listing] == [("ci", ["fleet:read"], "erin")]
    assert browser.delete(f"/api/v1/tokens/{listing[0]['id']}").status_code == 204
    assert tokens.check(raw, timezone.now()).refusal == "revoked"


def test_nobody_sees_or_revokes_the_tokens_of_others_but_administrators(cast, api_client, now):
    raw = tokens.issue_api_token(cast.engineer, "hers", ["*"], actor=Actor.system("t"), now=now)
    pk = tokens.check(raw, now).token.pk
    manager = api_client(cast.manager)
    assert {row["user"] for row in manager.get("/api/v1/tokens?user=erin").json()["results"]} == {"mara"}
    assert manager.delete(f"/api/v1/tokens/{pk}").status_code == 404
    admin = api_client(cast.administrator)
    assert [row["name"] for row in admin.get("/api/v1/tokens?user=erin").json()["results"]] == ["hers"]
    assert len(admin.get("/api/v1/tokens?user=*").json()["results"]) == 3
    assert admin.post(f"/api/v1/tokens/{pk}/revoke").status_code == 200


def test_a_narrow_token_cannot_make_itself_a_wider_one(cast, api_client):
    script = api_client(cast.manager, ["account", "fleet:read"])
    for wider in (["fleet:write"], ["*"], ["fleet:read", "admin"]):
        answer = script.post("/api/v1/tokens", {"name": "x", "scopes": wider}, format="json")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "scopes"
    assert script.post("/api/v1/tokens", {"name": "x", "scopes": ["fleet:read"]}, format="json").status_code == 201
    assert api_client(cast.manager, ["fleet:read"]).get("/api/v1/tokens").status_code == 403


def test_only_administrators_make_tokens_for_others(cast, api_client):
    body = {"name": "x", "scopes": ["*"], "user": "erin"}
    assert api_client(cast.manager).post("/api/v1/tokens", body, format="json").status_code == 403
    answer = api_client(cast.administrator).post("/api/v1/tokens", body, format="json")
    assert (answer.status_code, answer.json()["user"]) == (201, "erin")
    assert Token.objects.get(user=cast.engineer).scopes == ["*"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["everything"]}, "scopes[0]"),
        ({"scopes": ["*"]}, "name"),
        ({"name": "x", "scopes": ["*"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "scopes": ["*"], "user": "nobody"}, "user"),
    ],
)
def test_a_bad_token_request_names_the_field(admin, body, field):
    answer = admin.post("/api/v1/tokens", body, format="json")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_write_by_a_session_needs_the_csrf_token(cast):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(cast.manager, backend="django.contrib.auth.backends.ModelBackend")
    answer = browser.post("/api/v1/workloads", {"name": "x"}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
