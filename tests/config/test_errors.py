"""The error table and the one shape of refusals, as clients meet them over HTTP and as other apps rely on them."""

import pytest
from django.core.exceptions import RequestDataTooBig
from django.db import DataError, OperationalError
from rest_framework import exceptions as rest
from rest_framework import serializers

from config.errors import exception_handler, field_errors, server_error, status_of
from fleet.exceptions import BadCredentials, DomainError, InvalidInput, NotAllowed, NotFound, StateConflict, TooLarge


class LaneConflict(StateConflict):
    """A subclass as other apps write them."""

    code = "lane_conflict"


@pytest.mark.parametrize(
    ("exc", "status"),
    [
        (BadCredentials(), 401),
        (NotAllowed(), 403),
        (NotFound(), 404),
        (StateConflict("held"), 409),
        (LaneConflict("held"), 409),
        (TooLarge(), 413),
        (InvalidInput({"a": "b"}), 422),
        (DomainError(), 400),
        (RequestDataTooBig(), 413),
        (OperationalError(), 503),
        (DataError(), 422),
        (ValueError(), None),
        (KeyError(), None),
    ],
)
def test_each_refusal_has_its_status_and_a_defect_has_none(exc, status):
    assert status_of(exc) == status
    answer = exception_handler(exc, {})
    assert (answer.status_code if answer else None) == status


def test_every_refusal_has_the_same_members():
    for exc in (NotAllowed("no"), InvalidInput({"a": "b"}), rest.NotFound(), rest.ParseError(), OperationalError()):
        answer = exception_handler(exc, {})
        assert list(answer.data)[:6] == ["type", "title", "status", "detail", "code", "errors"]
        assert answer.data["status"] == answer.status_code
        assert answer.content_type == "application/problem+json"


def test_a_conflict_names_the_state_and_the_allowed_actions():
    answer = exception_handler(LaneConflict("held", ["stop", "rollback"]), {})
    assert (answer.data["state"], answer.data["allowed_actions"]) == ("held", ["rollback", "stop"])
    assert (answer.data["code"], answer.data["detail"]) == (
        "lane_conflict",
        "The state is held, which allows rollback, stop.",
    )


def test_bad_input_has_one_entry_per_field():
    answer = exception_handler(InvalidInput({"from": "late", "to": "early"}, code="range"), {})
    assert answer.data["errors"] == [
        {"field": "from", "message": "late", "code": "range"},
        {"field": "to", "message": "early", "code": "range"},
    ]


def test_nested_errors_have_paths():
    class Inner(serializers.Serializer):
        sha256 = serializers.CharField()

    class Outer(serializers.Serializer):
        name = serializers.CharField()
        artifacts = Inner(many=True)
        limits = serializers.DictField(child=serializers.FloatField())

    serializer = Outer(data={"artifacts": [{"sha256": "x"}, {}], "limits": {"a": 1, "b": "x"}})
    assert not serializer.is_valid()
    assert sorted((error["field"], error["code"]) for error in field_errors(serializer.errors)) == [
        ("artifacts[1].sha256", "required"),
        ("limits.b", "invalid"),
        ("name", "required"),
    ]


def test_a_database_that_is_away_asks_to_come_back_and_says_nothing_of_it():
    answer = exception_handler(OperationalError("connection to server at 10.1.2.3 failed: password"), {})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "10.1.2.3" not in str(answer.data)


def test_a_throttled_request_says_when_to_come_back():
    assert exception_handler(rest.Throttled(wait=11.2), {}).headers["Retry-After"] == "12"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 422),
        (b'{"slug": NaN}', 400),
        (b'{"slug": "a\\u0000"}', 400),
        (b'{"slug": "\\ud800"}', 400),
        (b'{"slug": "\xff"}', 400),
        (b"[" * 100_000, 400),
        (b'"text"', 422),
        (b'{"slug": "a", "name": "\\ud83d\\ude00"}', 201),
    ],
)
@pytest.mark.django_db
def test_a_body_that_is_no_json_is_refused_without_harm(cast, api_client, body, status):
    answer = api_client(cast.manager).post("/api/v1/workloads", body, content_type="application/json")
    assert answer.status_code == status, answer.content


@pytest.mark.django_db
def test_a_body_past_the_limit_is_too_large(cast, api_client, monkeypatch):
    monkeypatch.setattr("fleet.parsers.MAX_JSON_BYTES", 100)
    answer = api_client(cast.manager).post("/api/v1/workloads", {"name": "x" * 200}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.django_db
def test_an_unknown_media_type_is_refused(cast, api_client):
    answer = api_client(cast.manager).post("/api/v1/workloads", b"<x/>", content_type="text/xml")
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.django_db
def test_a_wrong_verb_is_refused(cast, api_client):
    assert api_client(cast.manager).put("/api/v1/workloads", {}, format="json").status_code == 405


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/devices/a/b/c", "/v1/nothing", "/artifacts/x"])
def test_an_unknown_api_address_is_answered_as_a_problem(client, path):
    answer = client.get(path)
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.django_db
def test_an_unknown_page_is_answered_as_a_page(client):
    answer = client.get("/nothing/at/all/")
    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")


def test_a_defect_behind_the_api_is_answered_as_a_problem_without_details(rf):
    answer = server_error(rf.get("/api/v1/devices"))
    assert (answer.status_code, answer["Content-Type"]) == (500, "application/problem+json")
