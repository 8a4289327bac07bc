"""The ways to a database and a Redis that can be taken, or must be refused, on any machine."""

import os
import subprocess
import sys
import time

import pytest
from provisioning import debian, ways
from provisioning.console import CannotProvision
from provisioning.postgres import Postgres
from provisioning.programs import Account, Programs
from provisioning.redis import Redis
from provisioning.state import State, free_port


@pytest.fixture
def bare_machine(monkeypatch, tmp_path):
    """A machine on which nothing is installed that could help."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setattr(ways, "_installed_folders", list)


def test_servers_named_by_the_caller_are_used(state):
    outcome = ways.up(state)
    assert (outcome.database_url, outcome.redis_url) == (os.environ["DATABASE_URL"], os.environ["REDIS_URL"])
    assert outcome.started == ()
    assert outcome.private == frozenset()


def test_the_address_of_a_callers_server_is_not_kept(state):
    ways.up(state)
    assert set(state.read_env()) == {"DJANGO_SECRET_KEY", "RIDGELINE_TOKEN_PEPPERS"}


def test_a_named_server_that_does_not_answer_is_refused_by_the_variables_name(state, monkeypatch):
    port = free_port()
    monkeypatch.setenv("DATABASE_URL", f"postgres://someone:secret@127.0.0.1:{port}/ridgeline")
    with pytest.raises(CannotProvision, match=f"DATABASE_URL names 127.0.0.1:{port}, where nothing answers") as refusal:
        ways.up(state)
    assert "secret" not in str(refusal.value)


@pytest.mark.usefixtures("bare_machine")
def test_without_any_way_one_sentence_says_what_would_help(state):
    with pytest.raises(CannotProvision) as refusal:
        ways.up(state)
    sentence = str(refusal.value)
    assert sentence.count(". ") == 0 and sentence.endswith(".") and "\n" not in sentence
    for way in ("DATABASE_URL", "timescaledb extension", "apt can install it", "Debian mirror", "container engine"):
        assert way in sentence


@pytest.mark.usefixtures("bare_machine")
def test_a_failed_set_up_leaves_no_address_behind(state):
    with pytest.raises(CannotProvision):
        ways.up(state)
    assert "DATABASE_URL" not in state.read_env()


def test_the_command_says_one_sentence_and_fails_when_the_database_does_not_answer(checkout, tmp_path):
    url = f"postgres://127.0.0.1:{free_port()}/ridgeline"
    result = subprocess.run(
        [sys.executable, checkout / "deploy" / "provision"],
        env={**os.environ, "RIDGELINE_LOCAL": str(tmp_path / "local"), "DATABASE_URL": url},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("ridgeline: DATABASE_URL names") and result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_the_second_run_changes_nothing_and_is_quick(checkout, monkeypatch):
    state = State(checkout / ".local")
    if "DATABASE_URL" not in state.read_env():
        pytest.skip("this checkout uses somebody else's database")
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("REDIS_URL")
    before = state.env_file.read_text()
    started = time.monotonic()
    outcome = ways.up(state)
    assert time.monotonic() - started < 2.0
    assert outcome.started == ()
    assert state.env_file.read_text() == before


def test_a_pid_file_whose_process_is_somebody_else_means_that_the_database_does_not_run(state):
    database = Postgres(Programs(state, Account(os.geteuid(), os.getegid())), "/nowhere")
    database.data.mkdir(parents=True)
    (database.data / "postmaster.pid").write_text(f"{os.getpid()}\n{database.data}\n0\n5432\n\n\n\nready\n")
    assert database.pid() is None


def test_a_pid_file_whose_process_is_somebody_else_means_that_redis_does_not_run(state):
    redis = Redis(Programs(state, Account(os.geteuid(), os.getegid())), "/nowhere")
    redis.folder.mkdir(parents=True)
    redis.pid_file.write_text(str(os.getpid()))
    assert redis.pid() is None


def test_a_root_that_stands_is_taken_as_it_is(state):
    state.root.mkdir()
    assert debian.build_root(state) == state.root
    assert list(state.root.iterdir()) == []


def test_the_newest_timescaledb_that_apt_has_is_chosen(tmp_path, monkeypatch):
    catalogue = tmp_path / "apt-cache"
    names = "postgresql-9-timescaledb postgresql-17-timescaledb postgresql-16-timescaledb postgresql-18"
    catalogue.write_text(f"#!/bin/sh\nprintf '%s\\n' {names}\n")
    catalogue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert debian.find_package(ways.TIMESCALEDB_PACKAGE) == "postgresql-17-timescaledb"


def test_a_database_that_somebody_dropped_is_made_again(checkout, monkeypatch):
    from provisioning import postgres

    state = State(checkout / ".local")
    if "DATABASE_URL" not in state.read_env():
        pytest.skip("this checkout uses somebody else's database")
    server = next(found for found in ways.existing(state) if isinstance(found, Postgres))
    if server.pid() is None:
        pytest.skip("the database of this checkout does not run")
    # Stands for the demo's database, which may be in use; its name makes it one that was never there.
    monkeypatch.setattr(postgres, "DEMO_DATABASE", "ridgeline_dropped_by_hand")
    count = "SELECT count(*) FROM pg_database WHERE datname = 'ridgeline_dropped_by_hand'"
    try:
        server.up(state.read_env()["DATABASE_URL"])
        assert server._psql("-At", "-c", count).strip() == "1"
    finally:
        server._psql("-c", "DROP DATABASE IF EXISTS ridgeline_dropped_by_hand")
    assert server._psql("-At", "-c", count).strip() == "0"
