"""The sample agent as a process: it enrols, sends what it measures, and hands over the rest when it is told to stop."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from ridgeline_agent import build


@pytest.fixture
def agent(server, tmp_path):
    """Starts an agent against the stand-in server; ended with the test."""
    models = str(tmp_path / "models")
    build.build(models)
    answer = {"device": "agent-1", "status": "accepted", "token": "good"}
    server.routes["/api/v1/enroll"] = lambda handler, body: server.answer(handler, 201, answer)
    server.routes["/api/v1/device/desired"] = lambda handler, body: server.answer(handler, 200, {"release": None})
    command = [sys.executable, "-m", "ridgeline_agent", "--server", server.url, "--enrollment-key", "key"]
    command += ["--serial", "agent-1", "--model-dir", models, "--rate", "50", "--interval", "0.2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()


def test_an_agent_enrols_measures_sends_and_leaves_nothing_behind(agent, server, tmp_path):
    deadline = time.monotonic() + 60
    while len(server.rows["inferences"]) < 30 and agent.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(timeout=30) == 0, agent.stderr.read()
    enrolled = json.loads(next(body for _, path, _, body in server.requests if path == "/api/v1/enroll"))
    assert enrolled == {
        "enrollment_key": "key",
        "serial": "agent-1",
        "hardware_target": "cpu-x86",
        "region": "lab",
    }
    counted = server.rows["counters"][-1]["values"]["inferences_total"]
    assert counted == len(server.rows["inferences"]) >= 30
    assert all(row["energy_mj"] > 0 for row in server.rows["inferences"][1:])
