"""A fleet in one process: time, memory, threads that go on when something breaks."""

import json

import pytest
from ridgeline_sdk import EnrollmentRefused, TransportError

from telemetry.simulator.fleet import build_fleet
from telemetry.simulator.live import Habits
from telemetry.simulator.runner import FleetRunner, Memory, SimulatedTime
from tests.sdk.stand_in import Server

START = 1_772_452_800.0
FLEET = build_fleet(1, 6, ["orin-nx-16", "hailo-8"], ["eu-north"], "lane-assist")


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


class Real:
    """Real time under control; every look at it takes a second."""

    def __init__(self, at_s=START):
        self.at_s = at_s

    def __call__(self):
        self.at_s += 1.0
        return self.at_s


def runner(server, enroll=lambda traits, transport: "good", **options):
    return FleetRunner(
        FLEET,
        [],
        Habits("lane-assist", "4.1.0", rate=1.0, interval_s=1.0),
        server=server.url,
        enroll=enroll,
        time=SimulatedTime(Real(), START, 1.0),
        seed=1,
        threads=3,
        turn_s=0.001,
        **options,
    )


def finish(fleet, enough):
    """Let the fleet live until `enough()` holds, then stop it; fails if that takes a hundred turns of waiting."""
    fleet.start()
    for _ in range(3000):
        if enough() or not fleet.working():
            break
        fleet._stop.wait(0.01)
    fleet.stop()
    fleet.join()
    assert enough()


def test_simulated_time_runs_at_its_speed_and_never_overtakes_real_time():
    real_s = iter([1000.0, 1001.0, 1010.0, 1100.0, 2000.0])
    time = SimulatedTime(lambda: next(real_s), start_s=400.0, speed=10.0)
    assert [time.now_s() for _ in range(4)] == [410.0, 500.0, 1100.0, 2000.0]


def test_time_does_not_stand_still_or_run_backwards():
    with pytest.raises(ValueError, match="speed"):
        SimulatedTime(lambda: START, START, 0.0)


def test_every_device_lives_and_all_that_was_recorded_arrives(server):
    fleet = runner(server)
    finish(fleet, lambda: len(server.rows["inferences"]) > 200 and len(fleet.devices) == 6)
    assert {account["serial"] for account in fleet.accounts()} == {traits.serial for traits in FLEET}
    assert sum(account["recorded"] for account in fleet.accounts()) == len(server.rows["inferences"])
    assert all(account["waiting"] == {} for account in fleet.accounts())
    assert "6 devices (6 on 4.1.0), 0 away" in fleet.summary()


def test_a_device_that_is_refused_is_named_and_the_others_live(server):
    def enroll(traits, transport):
        if traits.serial.endswith("0001"):
            raise EnrollmentRefused("key out of scope")
        return "good"

    fleet = runner(server, enroll)
    finish(fleet, lambda: len(fleet.devices) == 4 and len(fleet.refused) == 2)
    assert set(fleet.refused.values()) == {"key out of scope"}


def test_a_server_that_is_not_there_yet_is_waited_for(server, monkeypatch):
    monkeypatch.setattr("telemetry.simulator.runner.ENROLL_AGAIN_S", 0.001)
    attempts = []

    def enroll(traits, transport):
        attempts.append(traits.serial)
        if attempts.count(traits.serial) < 3:
            raise TransportError("refused")
        return "good"

    fleet = runner(server, enroll)
    finish(fleet, lambda: len(fleet.devices) == 6)
    assert len(attempts) == 18


def test_a_device_that_stumbles_does_not_take_the_others_along(server, monkeypatch, caplog):
    broken = FLEET[0].serial
    original = FleetRunner._new_device

    def make(self, traits, transport):
        device = original(self, traits, transport)
        if traits.serial == broken:
            device.advance = lambda now_s: 1 / 0
        return device

    monkeypatch.setattr(FleetRunner, "_new_device", make)
    fleet = runner(server)
    finish(fleet, lambda: len(fleet.devices) == 6 and sum(d.recorded > 0 for d in fleet.devices) == 5)
    assert f"{broken} stumbled" in caplog.text


def test_a_fleet_started_again_remembers_what_each_device_runs(tmp_path, server):
    path = tmp_path / "releases.json"
    memory = Memory(path)
    memory.remember(FLEET[0].serial, "4.2.0")
    assert json.loads(path.read_text()) == {FLEET[0].serial: "4.2.0"}
    fleet = runner(server, memory=Memory(path))
    finish(fleet, lambda: len(fleet.devices) == 6)
    assert sorted(device.release for device in fleet.devices) == ["4.1.0"] * 5 + ["4.2.0"]
