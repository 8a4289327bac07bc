"""The status page and its JSON: every part has lines, what is bad stands first, and no part hides another."""

import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.cache import cache

from drift.models import NotificationChannel
from fleet import task_runs
from fleet.status import BAD, GOOD, Line, Report, Section, words_of_bytes, words_of_seconds
from telemetry.models import MaintenanceRun
from telemetry.selectors.status import report, upkeep
from telemetry.selectors.status.server import pending_migrations

pytestmark = pytest.mark.django_db


def broken(now):
    """A part that cannot be read."""
    raise ConnectionError("no route")


def lines_of(name: str, now) -> dict[str, Line]:
    """The lines of a section by name."""
    [section] = [section for section in report(now).sections if section.name == name]
    return {line.name: line for line in section.lines}


def test_the_page_shows_every_section_and_what_is_bad_first(browser_client, cast):
    cache.delete_many([task_runs._key("beat", "seen"), task_runs._key("beat", "began")])
    text = browser_client(cast.visitor).get("/status/").content.decode()
    for title in ("Database", "Redis", "Background work", "Ingest", "Upkeep of the tiers", "Server", "Webhooks"):
        assert title in text
    head, _, rest = text.partition('id="database"')
    assert "task scheduler never seen" in head and "celery --app=config.celery beat" in head


def test_the_same_lines_come_as_json_to_a_script(api_client, cast):
    answer = api_client(cast.engineer, scopes=("telemetry:read",)).get("/api/v1/status")
    assert answer.status_code == 200
    body = answer.json()
    assert body["state"] in ("good", "warn", "bad")
    names = [section["name"] for section in body["sections"]]
    assert names[:3] == ["database", "ingest", "redis"]
    tiers = body["sections"][0]["table"]
    assert "inference" in [row[0] for row in tiers["rows"]]


def test_a_part_that_cannot_be_read_is_bad_and_hides_no_other(settings, now):
    settings.STATUS_SECTIONS = ["tests.telemetry.test_status.broken", "telemetry.selectors.status.upkeep.upkeep"]
    first, second = report(now).sections
    assert first.state == BAD and "no route" in first.lines[0].note
    assert second.state == GOOD


def test_the_database_names_its_version_edition_and_tiers(now):
    lines = lines_of("database", now)
    assert "TimescaleDB" in lines["Version"].value and "edition" in lines["Version"].value
    assert lines["Answers"].state in (GOOD, "warn")
    assert lines["Retention keeps up"].state == GOOD


def test_a_database_without_its_migrations_is_bad(monkeypatch, now):
    assert pending_migrations() == []
    monkeypatch.setattr("telemetry.selectors.status.server.pending_migrations", lambda: ["fleet.0099_more"])
    line = lines_of("server", now)["Migrations"]
    assert (line.state, line.remedy) == (BAD, "Run manage.py migrate.")


def test_an_artifact_store_that_is_gone_is_bad_only_when_it_held_something(now, settings, cast):
    assert lines_of("server", now)["Artifact store"].state == GOOD
    draft = cast.workload.releases.create(version="9.9", created_at=now)
    draft.artifacts.create(filename="a.bin", size=9, sha256="0" * 64, path="00/a.bin", created_at=now)
    line = lines_of("server", now)["Artifact store"]
    assert line.state == BAD and "RIDGELINE_ARTIFACT_DIR" in line.remedy


def test_nothing_arriving_from_known_devices_is_never_good(now, make_device):
    assert lines_of("ingest", now)["Arriving"].state == GOOD
    make_device()
    assert lines_of("ingest", now)["Arriving"].state == "warn"


@pytest.mark.parametrize(
    ("fields", "state", "words"),
    [
        ({"succeeded": True, "result": {"compared": {"raw and minutes": 7}, "n_differences": 0}}, GOOD, "7 spans"),
        ({"succeeded": False, "result": {"compared": {}, "n_differences": 2, "differences": ["a: 1"]}}, BAD, "a: 1"),
        ({"succeeded": False, "result": {"error": "OSError: full"}}, BAD, "OSError: full"),
        ({"finished_at": None, "result": {"progress": 0.4, "doing": "cohorts"}}, GOOD, "40 %, cohorts"),
    ],
)
def test_an_audit_says_what_it_found_or_how_far_it_is(now, fields, state, words):
    began = now - timedelta(hours=2)
    run = MaintenanceRun(**{"kind": "audit", "started_at": began, "finished_at": began, **fields})
    line = upkeep.run_line(MaintenanceRun.Kind.AUDIT, run, now)
    assert line.state == state and words in line.note


def test_an_audit_left_out_for_a_night_and_a_run_that_was_killed_are_seen(now):
    old = now - timedelta(hours=40)
    done = MaintenanceRun(kind="audit", started_at=old, finished_at=old, succeeded=True)
    assert upkeep.run_line(MaintenanceRun.Kind.AUDIT, done, now).state == "warn"
    killed = MaintenanceRun(kind="rebuild", started_at=old)
    assert upkeep.run_line(MaintenanceRun.Kind.REBUILD, killed, now).state == BAD


def test_a_channel_that_is_paused_or_whose_messages_fail_is_seen(now, cast):
    channel = NotificationChannel.objects.create(name="pager", kind="email", target="a@b.example", created_at=now)
    assert lines_of("alarm-messages", now)["pager"].state == GOOD
    channel.enabled = False
    channel.save()
    assert lines_of("alarm-messages", now)["pager"].state == "warn"


def test_the_page_answers_the_panel_alone_for_its_refresh(browser_client, cast):
    answer = browser_client(cast.engineer).get("/panels/status/")
    assert answer.status_code == 200 and b"<html" not in answer.content


def test_the_version_is_that_of_the_project(settings):
    project = tomllib.loads(Path("pyproject.toml").read_text())
    assert project["project"]["version"] == settings.VERSION


def test_a_report_is_as_good_as_its_worst_line():
    sections = [
        Section("a", "A", [Line("x", GOOD, "1")]),
        Section("b", "B", [Line("y", BAD, "2"), Line("z", GOOD, "3")]),
    ]
    found = Report(sections)
    assert found.state == BAD and [line.name for _, line in found.in_state(BAD)] == ["y"]
    assert Report([]).state == GOOD


def test_sizes_and_times_are_said_in_words():
    assert [words_of_bytes(size) for size in (0, 1536, 5 << 20, 300 << 30)] == ["0 B", "1.5 kB", "5.0 MB", "300 GB"]
    assert [words_of_seconds(s) for s in (0.0042, 0.12, 5, 90, 5400, 200_000, 900_000)] == [
        "4.2 ms", "120 ms", "5.0 s", "90 s", "90 min", "56 h", "10 d"
    ]  # fmt: skip
