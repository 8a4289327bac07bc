"""The supervisor, with real processes: what it starts, starts again, stops, and cleans up after its own violent end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import supervise
from supervise import Program, Supervisor, end_leftovers

PATIENCE = 20.0
# Writes its process id into the file that it is given, and stays.
STAYS = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); time.sleep(600)"
# The same, but deaf to SIGTERM.
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {STAYS}"
# A supervisor in a process of its own, with one program.
SUPERVISES = """
import sys
sys.path.append(sys.argv[1])
from pathlib import Path
from provisioning import interruption
from supervise import Program, Supervisor
interruption.watch()
run, source, note = Path(sys.argv[2]), sys.argv[3], sys.argv[4]
supervisor = Supervisor(run)
supervisor.start(Program("program", [sys.executable, "-c", source, note], run.parent.parent / "program.log"))
supervisor.watch()
supervisor.stop()
"""


def python(name: str, source: str, note: Path) -> Program:
    return Program(name, [sys.executable, "-c", source, str(note)], note.with_suffix(".log"))


def pids(note: Path) -> list[int]:
    return [int(line) for line in note.read_text().split()] if note.exists() else []


def lives(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet collected by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def wait_for(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def supervisor(tmp_path):
    supervisor = Supervisor(tmp_path / "run" / "this")
    yield supervisor
    supervisor.stop()


@pytest.fixture
def apart(tmp_path, checkout):
    """Start a supervisor in its own process with a program of the given source; both are gone after the test."""
    note, started = tmp_path / "note", []

    def start(source: str) -> tuple[subprocess.Popen, int]:
        run = tmp_path / "run" / "killed"
        command = [sys.executable, "-c", SUPERVISES, str(checkout / "deploy"), str(run), source, str(note)]
        process = subprocess.Popen(command)
        started.append(process)
        wait_for(lambda: pids(note))
        # the program writes its id a moment before its supervisor notes it
        wait_for(lambda: (run / "children.json").exists())
        return process, pids(note)[-1]

    yield start
    for pid in [*pids(note), *(process.pid for process in started)]:
        if lives(pid):
            os.kill(pid, signal.SIGKILL)
    for process in started:
        process.wait()


def test_a_program_that_ends_is_started_again(supervisor, tmp_path, monkeypatch):
    monkeypatch.setattr(supervise, "FIRST_PAUSE", 0.01)
    note = tmp_path / "note"
    supervisor.start(python("short", "import sys; open(sys.argv[1], 'a').write('1\\n'); sys.exit(3)", note))
    deadline = time.monotonic() + PATIENCE
    supervisor.watch(until=lambda: len(pids(note)) >= 2 or time.monotonic() > deadline)
    assert len(pids(note)) >= 2


def test_a_program_that_keeps_ending_is_started_ever_more_rarely():
    pauses = [0.0]
    for _ in range(9):
        pauses.append(supervise.next_pause(pauses[-1], ran=0.5))
    assert pauses[1:] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_a_program_that_ran_steadily_is_started_again_soon():
    assert supervise.next_pause(60.0, ran=supervise.STEADY_SECONDS) == 1.0


def test_stopping_ends_every_program_and_what_it_started(supervisor, tmp_path):
    note = tmp_path / "note"
    nested = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STAYS!r}, sys.argv[1]]); {STAYS}"
    supervisor.start(python("parent", nested, note))
    wait_for(lambda: len(pids(note)) == 2)
    supervisor.stop()
    # the nested one is nobody's child here: it was killed and may take a moment to be gone
    wait_for(lambda: not any(map(lives, pids(note))))


def test_clients_are_stopped_before_what_they_talk_to(supervisor, tmp_path):
    """The client takes its leave when asked to stop; what it finds then is noted."""
    server, seen = tmp_path / "server", tmp_path / "seen"
    supervisor.start(python("server", STAYS, server))
    wait_for(lambda: pids(server))
    [pid] = pids(server)
    leave = f"open({str(seen)!r}, 'w').write(open('/proc/{pid}/stat').read().rpartition(')')[2].split()[0]); sys.exit()"
    client = f"import signal, sys\ndef leave(*_): {leave}\nsignal.signal(signal.SIGTERM, leave); {STAYS}"
    note = tmp_path / "client"
    supervisor.start(Program("client", [sys.executable, "-c", client, str(note)], tmp_path / "client.log", wave=1))
    wait_for(lambda: pids(note))
    supervisor.stop()
    assert seen.read_text() in ("S", "R")


def test_a_program_deaf_to_the_request_is_killed_after_the_grace_period(supervisor, tmp_path, monkeypatch):
    monkeypatch.setattr(supervise, "GRACE_SECONDS", 0.1)
    note = tmp_path / "note"
    supervisor.start(python("deaf", DEAF, note))
    wait_for(lambda: pids(note))
    supervisor.stop()
    assert not lives(pids(note)[0])


def test_a_stopped_run_leaves_no_trace(tmp_path):
    supervisor = Supervisor(tmp_path / "run" / "this")
    supervisor.start(python("stays", STAYS, tmp_path / "note"))
    supervisor.stop()
    assert list((tmp_path / "run").iterdir()) == []


def test_sigterm_stops_the_programs_and_is_success(apart):
    process, program = apart(STAYS)
    process.terminate()
    assert process.wait(timeout=PATIENCE) == 0
    assert not lives(program)


def test_a_killed_supervisor_takes_its_programs_along(apart):
    process, program = apart(STAYS)
    process.kill()
    process.wait()
    wait_for(lambda: not lives(program))


def test_what_outlives_a_killed_supervisor_is_ended_by_the_next_run(apart, tmp_path):
    process, program = apart(DEAF)
    process.kill()
    process.wait()
    assert lives(program)
    end_leftovers(tmp_path / "run")
    wait_for(lambda: not lives(program))
    assert list((tmp_path / "run").iterdir()) == []


def test_the_programs_of_a_run_that_lives_are_left_alone(apart, tmp_path):
    _, program = apart(STAYS)
    end_leftovers(tmp_path / "run")
    assert lives(program)
    assert (tmp_path / "run" / "killed" / "children.json").exists()


def test_a_process_that_only_bears_the_number_of_a_leftover_is_left_alone(tmp_path):
    run = tmp_path / "run" / "killed"
    run.mkdir(parents=True)
    (run / "lock").touch()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], process_group=0)
    try:
        born = supervise._birth(stranger.pid)
        (run / "children.json").write_text(json.dumps({"web server": [stranger.pid, born - 1]}))
        end_leftovers(tmp_path / "run")
        assert stranger.poll() is None
        assert not run.exists()
    finally:
        stranger.kill()
        stranger.wait()
