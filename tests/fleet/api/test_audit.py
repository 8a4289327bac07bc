"""REST /audit: filters, pages, CSV, and nothing to write."""

import csv
import io
from datetime import timedelta

import pytest

from fleet.actors import Actor
from fleet.models import AuditEntry
from fleet.services import audit

pytestmark = pytest.mark.django_db
URL = "/api/v1/audit"


@pytest.fixture
def api(cast, api_client):
    return api_client(cast.engineer)


@pytest.fixture
def rows(cast, now):
    """Ten suspensions, an hour apart, by two people, and one decision with its evidence."""
    for hour in range(10):
        audit.record(
            actor=Actor.of_user(cast.manager if hour % 2 else cast.administrator),
            action="device.suspended",
            obj=cast.orin,
            now=now + timedelta(hours=hour),
            reason=f"reason {hour}",
        )
    audit.record(
        actor=Actor.system("evaluation"),
        action="rollout.lane.halted",
        obj=cast.workload,
        now=now + timedelta(hours=11),
        evidence_hash="e" * 64,
        old={"status": "soaking"},
        new={"status": "held"},
    )


def count(api, query):
    answer = api.get(f"{URL}?page_size=1000&{query}")
    assert answer.status_code == 200, answer.json()
    return len(answer.json()["results"])


def test_filters_narrow_the_trail(api, rows, cast):
    assert count(api, "action=device.") == 10
    assert count(api, "action=rollout.lane.halted") == 1
    assert count(api, "action=device.&user=mara") == 5
    assert count(api, "actor=evaluation") == 1
    assert count(api, "object_type=fleet.workload&object=lane") == count(
        api, f"object_type=fleet.workload&object_id={cast.workload.pk}"
    )
    assert count(api, f"evidence_hash={'e' * 64}") == 1
    assert count(api, "action=device.&from=2026-03-02T15:00:00Z&to=2026-03-02T18:00:00Z") == 3


def test_a_bad_instant_names_its_field(api):
    answer = api.get(f"{URL}?from=yesterday")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["from"]


def test_an_instant_that_no_clock_shows_is_bad_input(api):
    answer = api.get(f"{URL}?from=2026-03-02T12:00:00-18:34")
    assert (answer.status_code, answer.json()["code"]) == (422, "unstorable")


def test_pages_are_newest_first_and_rows_written_meanwhile_shift_nothing(api, rows, cast, now):
    first = api.get(f"{URL}?action=device.&page_size=4").json()
    assert [row["reason"] for row in first["results"]] == ["reason 9", "reason 8", "reason 7", "reason 6"]
    audit.record(
        actor=Actor.system("x"), action="device.suspended", obj=cast.orin, now=now + timedelta(days=1), reason="new"
    )
    second = api.get(first["next"]).json()
    assert [row["reason"] for row in second["results"]] == ["reason 5", "reason 4", "reason 3", "reason 2"]
    back = api.get(second["previous"]).json()
    assert [row["reason"] for row in back["results"]] == ["reason 9", "reason 8", "reason 7", "reason 6"]


def test_a_mistyped_cursor_is_not_found(api):
    assert api.get(f"{URL}?cursor=nonsense").status_code == 404


def test_the_whole_trail_comes_as_csv_even_past_one_chunk(api, rows, cast, now, monkeypatch):
    monkeypatch.setattr("fleet.tables.CHUNK_ROWS", 3)
    answer = api.get(f"{URL}.csv?action=device.")
    assert answer["Content-Disposition"] == 'attachment; filename="audit.csv"'
    found = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    assert [row["reason"] for row in found] == [f"reason {hour}" for hour in reversed(range(10))]


def test_one_row_is_read_with_what_changed(api, rows):
    pk = AuditEntry.objects.get(action="rollout.lane.halted").pk
    row = api.get(f"{URL}/{pk}").json()
    assert (row["old"], row["new"], row["evidence_hash"]) == ({"status": "soaking"}, {"status": "held"}, "e" * 64)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_is_written_here_not_even_by_an_administrator(cast, api_client, method):
    answer = getattr(api_client(cast.administrator), method)(URL, {}, format="json")
    assert answer.status_code in (403, 405)
