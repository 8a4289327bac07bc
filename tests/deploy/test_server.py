"""The command script/server: where it listens, what its processes are told, and that it stops what it started."""

import json
import os
import signal
import socket
import subprocess
import urllib.request
import uuid
from pathlib import Path

import psycopg
import pytest
import server
from provisioning.console import CannotProvision
from provisioning.ways import Outcome

PRIVATE = Outcome("postgres://a:b@h/ridgeline", "redis://:p@h/0", (), frozenset({"DATABASE_URL", "REDIS_URL"}))
GIVEN = Outcome("postgres://a:b@h/mine", "redis://:p@h/7", (), frozenset())
START_SECONDS = 120


@pytest.fixture
def taken_port():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_port_0_is_any_free_one():
    with server.listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0


def test_a_port_that_is_taken_is_refused_in_one_sentence(taken_port):
    with pytest.raises(CannotProvision, match=f"Nothing can listen on 127.0.0.1:{taken_port}"):
        server.listen("127.0.0.1", taken_port)


def test_a_port_that_does_not_exist_is_refused_in_one_sentence():
    with pytest.raises(CannotProvision, match="Nothing can listen on 127.0.0.1:70000"):
        server.listen("127.0.0.1", 70_000)


def test_when_the_usual_port_is_taken_another_serves(taken_port, monkeypatch):
    monkeypatch.setattr(server, "USUAL_PORT", taken_port)
    with server.listen("127.0.0.1", None) as listener:
        assert listener.getsockname()[1] not in (0, taken_port)


def test_the_demo_has_a_database_of_its_own_on_private_servers(state):
    env = server.variables(state, PRIVATE, demo=True)
    assert (env["DATABASE_URL"], env["REDIS_URL"]) == ("postgres://a:b@h/ridgeline_demo", "redis://:p@h/1")


def test_servers_that_were_given_are_used_as_they_are(state):
    env = server.variables(state, GIVEN, demo=True)
    assert (env["DATABASE_URL"], env["REDIS_URL"]) == ("postgres://a:b@h/mine", "redis://:p@h/7")


def test_secrets_that_the_caller_has_set_win(state, monkeypatch):
    monkeypatch.setenv("DJANGO_SECRET_KEY", "the caller's")
    assert server.variables(state, PRIVATE)["DJANGO_SECRET_KEY"] == "the caller's"


def test_a_changed_static_file_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "CHECKOUT", tmp_path)
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "page.css").write_text("a {}")
    before = server.static_digest()
    assert server.static_digest() == before
    (tmp_path / "static" / "page.css").write_text("a { }")
    assert server.static_digest() != before


def test_the_last_line_of_a_commands_output_is_its_result():
    assert server.last_json('a warning\n{"logins": []}\n') == {"logins": []}


@pytest.mark.parametrize("output", ["", "Traceback", '{"logins": [}'])
def test_a_command_that_answers_without_json_is_refused(output):
    with pytest.raises(CannotProvision, match="printed no JSON"):
        server.last_json(output)


@pytest.fixture
def fresh_database():
    """The URL of a database that exists for this test alone."""
    base, name = os.environ["DATABASE_URL"].rsplit("/", 1)[0], f"test_server_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{base}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.live
def test_the_server_prints_one_line_of_json_when_ready_and_stops_everything_on_sigterm(
    checkout, tmp_path, fresh_database
):
    env = {**os.environ, "RIDGELINE_LOCAL": str(tmp_path / "local"), "DATABASE_URL": fresh_database}
    command = [checkout / "script/server", "--port", "0", "--json"]
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        ready = json.loads(process.stdout.readline())
        assert set(ready) == {"url", "admin_token", "enrollment_key"}
        [children] = (tmp_path / "local" / "run").glob("*/children.json")
        pids = [pid for pid, _ in json.loads(children.read_text()).values()]
        assert len(pids) == 3
        with urllib.request.urlopen(f"{ready['url']}/login/", timeout=10) as answer:
            assert answer.status == 200

        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=START_SECONDS) == 0
        assert process.stdout.read() == ""
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", int(ready["url"].rsplit(":", 1)[1])), timeout=2)
    finally:
        process.kill()
        process.wait()
