"""The status of background work: what stopped is bad and named, never merely absent."""

import uuid
from datetime import timedelta

import pytest
from celery.schedules import crontab

from fleet import task_runs
from fleet.status import BAD, GOOD, WARN
from fleet.task_runs import TaskRun, Worker
from telemetry.selectors.status import tasks

SCHEDULE = {
    "fold": {"task": "t.fold", "schedule": 10.0},
    "audit": {"task": "t.audit", "schedule": crontab(hour=3, minute=40)},
}


def states(now, *, began, fold=TaskRun(), audit=TaskRun()):
    """State and line of each entry."""
    found = {"t.fold": fold, "t.audit": audit}
    return {line.name: line for line in tasks.task_lines(SCHEDULE, found, began=began, now=now)}


def ran(now, ago, **fields) -> TaskRun:
    """A run that ended a moment after it began."""
    began = now - ago
    return TaskRun(started_at=began, ended_at=began + timedelta(seconds=1), seconds=1.0, **fields)


def test_a_scheduler_that_was_never_seen_is_as_bad_as_one_that_stopped(now):
    assert tasks.beat_line(None, now).state == BAD
    stopped = tasks.beat_line(now - timedelta(minutes=7), now)
    assert (stopped.state, stopped.value) == (BAD, "silent for 7 min")
    assert "celery" in stopped.remedy
    assert tasks.beat_line(now - timedelta(seconds=8), now).state == GOOD


def test_no_worker_is_bad_and_one_that_is_missing_is_named(now):
    there = Worker("a@one", 2, now - timedelta(seconds=10))
    gone = Worker("b@two", 2, now - timedelta(minutes=5))
    assert tasks.workers_line([], now).state == BAD
    assert tasks.workers_line([gone], now).state == BAD
    both = tasks.workers_line([there, gone], now)
    assert both.state == WARN and "not heard any more: b@two" in both.note
    assert tasks.workers_line([there], now).state == GOOD


def test_every_entry_of_the_schedule_has_a_line_even_when_nothing_is_known(now):
    lines = states(now, began=None)
    assert set(lines) == {"Fold", "Audit"}
    assert {line.state for line in lines.values()} == {BAD}
    assert {line.value for line in lines.values()} == {"never ran"}


def test_a_task_that_is_not_due_yet_is_well(now):
    # noon; the audit comes at 03:40
    assert states(now, began=now - timedelta(minutes=5), fold=ran(now, timedelta(seconds=4)))["Audit"].state == GOOD


def test_a_task_late_by_more_than_a_busy_worker_explains_is_bad(now):
    began = now - timedelta(days=2)
    assert states(now, began=began, fold=ran(now, timedelta(seconds=65)))["Fold"].state == GOOD
    late = states(now, began=began, fold=ran(now, timedelta(seconds=75)))["Fold"]
    assert late.state == BAD and "late by 65 s" in late.note


def test_a_nightly_task_is_late_when_a_night_was_left_out(now):
    began = now - timedelta(days=9)
    last_night = now.replace(hour=3, minute=40)
    night_before = TaskRun(started_at=last_night - timedelta(days=1), ended_at=last_night, seconds=9.0)
    assert states(now, began=began, audit=night_before)["Audit"].state == BAD
    in_time = TaskRun(started_at=last_night, ended_at=last_night + timedelta(minutes=3), seconds=180.0)
    assert states(now, began=began, audit=in_time)["Audit"].state == GOOD


def test_a_failed_run_is_bad_and_one_that_failed_earlier_is_a_warning(now):
    began = now - timedelta(days=1)
    failed = ran(now, timedelta(seconds=4), error="ValueError: no", failures=1, last_error="ValueError: no")
    line = states(now, began=began, fold=failed)["Fold"]
    assert line.state == BAD and "ValueError: no" in line.remedy
    well_again = ran(now, timedelta(seconds=4), failures=3, last_error="ValueError: no")
    line = states(now, began=began, fold=well_again)["Fold"]
    assert line.state == WARN and "failed 3 times in 24 h" in line.note


def test_a_run_that_goes_on_is_said_and_one_that_goes_on_for_hours_is_a_warning(now):
    audit = TaskRun(started_at=now - timedelta(minutes=4))
    assert states(now, began=now - timedelta(days=1), audit=audit)["Audit"].value == "runs since 4 min ago"
    stuck = TaskRun(started_at=now - timedelta(hours=8, minutes=20))
    assert states(now, began=now - timedelta(days=1), audit=stuck)["Audit"].state == WARN


@pytest.mark.django_db
def test_what_the_processes_note_is_what_the_page_reads(now):
    # what an earlier run of the tests noted is still in Redis
    name = f"tests.{uuid.uuid4()}"
    task_runs.note_started(name, now)
    assert task_runs.runs([name], now)[name].is_running
    task_runs.note_ended(name, now + timedelta(seconds=2), seconds=2.0, error="KeyError: 'x'")
    run = task_runs.runs([name], now)[name]
    assert (run.is_running, run.seconds, run.error) == (False, 2.0, "KeyError: 'x'")
    assert run.failures >= 1 and run.last_error == "KeyError: 'x'"


@pytest.mark.django_db
def test_workers_and_scheduler_are_heard_and_workers_take_their_leave(now):
    task_runs.note_beat(now, began=True)
    task_runs.note_beat(now + timedelta(seconds=10))
    assert task_runs.beat() == (now, now + timedelta(seconds=10))
    task_runs.note_worker("w@tests", 4, now)
    assert Worker("w@tests", 4, now) in task_runs.workers()
    task_runs.note_worker_gone("w@tests")
    assert "w@tests" not in [worker.name for worker in task_runs.workers()]
