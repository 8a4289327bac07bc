"""A simulated device follows its desired release: it installs, boots, reports, and sometimes fails."""

import json

import pytest
from ridgeline_sdk import Transport

from telemetry.simulator.faults import parse_fault
from telemetry.simulator.fleet import build_fleet
from telemetry.simulator.live import Habits, SimulatedDevice
from tests.sdk.stand_in import Server

START = 1_772_452_800.0
BILL = {"model_version": "lane-net-4.2.0", "driver_version": "541.0", "quantization": "int8"}
WISH = {
    "workload": "lane-assist",
    "release": "4.2.0",
    "version": "4.2.0",
    "bill_of_materials": BILL,
    "artifacts": [],
    "action_id": 7,
    "rollback": False,
}


@pytest.fixture
def world():
    """A stand-in server with a wish; `world.told` lists the statuses reported to it."""
    server = Server()
    server.wish, server.told = {"release": None}, []

    def status(handler, body):
        told = json.loads(body)
        server.told.append((told["action_id"], told["status"]))
        server.answer(handler, 200, {})

    server.routes["/api/v1/device/desired"] = lambda handler, body: server.answer(handler, 200, server.wish)
    server.routes["/api/v1/device/status"] = status
    yield server
    server.close()


@pytest.fixture
def living(world):
    """A device under way; `live(seconds)` lets it live on."""
    transport = Transport(world.url)

    def make(*faults, **habits):
        (traits,) = build_fleet(1, 1, ["orin-nx-16"], ["eu-north"], "lane-assist")
        habits = {"rate": 2.0, "poll_s": 10.0, "install_s": 20.0, **habits}
        device = SimulatedDevice(
            traits,
            [parse_fault(spec, START) for spec in faults],
            Habits("lane-assist", "4.1.0", **habits),
            transport=transport,
            server=world.url,
            enroll=lambda traits, transport: "good",
            now_s=START,
            seed=1,
        )

        def live(seconds):
            until_s = device.model.now_s + seconds
            while device.model.now_s < until_s:
                device.advance(device.model.now_s + 1.0)

        device.live = live
        return device

    yield make
    transport.close()


def releases(world):
    return [envelope["context"]["release"] for envelope in world.envelopes()]


def test_a_wish_is_installed_booted_and_reported_and_telemetry_carries_the_new_labels(world, living):
    device = living()
    device.live(30)
    world.wish = WISH
    device.live(60)
    assert device.release == "4.2.0"
    assert world.told == [(7, "downloading"), (7, "installing"), (7, "installed"), (7, "booted")]
    order = releases(world)
    assert order == sorted(order)
    assert set(order) == {"4.1.0", "4.2.0"}
    assert world.envelopes()[-1]["context"]["driver_version"] == "541.0"
    boots = [
        event["detail"]["reason"]
        for event in world.rows["events"]
        if event["type"] == "boot" and event["detail"].get("reason")
    ]
    assert boots == ["update"]
    assert len({envelope["boot_id"] for envelope in world.envelopes()}) == 2


def test_an_installation_takes_its_time(world, living):
    device = living(install_s=100.0)
    world.wish = WISH
    device.live(60)
    assert device.release == "4.1.0"
    assert world.told == [(7, "downloading")]
    device.live(90)
    assert device.release == "4.2.0"


def test_every_inference_is_sent_once_over_an_update(world, living):
    device = living()
    world.wish = WISH
    device.live(120)
    device.drain(5.0)
    times = [row["time"] for row in world.rows["inferences"]]
    assert len(times) == len(set(times)) == device.recorded


def test_a_failed_installation_leaves_the_old_release_and_is_tried_again(world, living):
    device = living(install_failure=1.0, retry_s=60.0)
    world.wish = WISH
    device.live(50)
    assert device.release == "4.1.0"
    assert world.told == [(7, "downloading"), (7, "failed")]
    device.live(100)
    assert world.told[2:] == [(7, "downloading"), (7, "failed")]
    assert {event["type"] for event in world.rows["events"]} == {"boot", "install_failed"}


def test_a_wish_that_is_withdrawn_in_time_is_not_installed(world, living):
    device = living(install_s=100.0)
    world.wish = WISH
    device.live(20)
    world.wish = {"release": None}
    device.live(200)
    assert device.release == "4.1.0"
    assert world.told == [(7, "downloading")]


def test_a_rollback_is_installed_like_any_wish(world, living):
    device = living()
    world.wish = WISH
    device.live(60)
    world.wish = {**WISH, "release": "4.1.0", "version": "4.1.0", "action_id": 8, "rollback": True}
    device.live(60)
    assert device.release == "4.1.0"
    assert world.told[-1] == (8, "booted")


def test_a_device_that_goes_silent_after_the_update_is_never_heard_on_the_new_release(world, living):
    device = living("go_silent_after_update@release=4.2.0")
    world.wish = WISH
    device.live(200)
    assert device.release == "4.2.0"
    assert set(releases(world)) == {"4.1.0"}
    assert world.told[-1] == (7, "installed")


def test_a_fault_of_the_release_begins_with_the_release(world, living):
    device = living("energy:+50%@release=4.2.0")
    device.live(100)
    world.wish = WISH
    device.live(200)
    by_release = {}
    for envelope in world.envelopes():
        energies = (
            envelope.get("inferences", {}).get("energy_mj", []) if isinstance(envelope.get("inferences"), dict) else []
        )
        by_release.setdefault(envelope["context"]["release"], []).extend(energies)
    old, new = (sum(by_release[version]) / len(by_release[version]) for version in ("4.1.0", "4.2.0"))
    assert new / old == pytest.approx(1.5, abs=0.06)


def test_while_offline_nothing_is_installed_and_nothing_is_heard(world, living):
    device = living("offline:10m@from=+0s")
    world.wish = WISH
    device.live(300)
    assert (world.told, world.envelopes(), device.release) == ([], [], "4.1.0")


def test_artifacts_are_fetched_and_checked_where_the_fleet_does_so(world, living):
    artifact = {
        "filename": "lane-net.bin",
        "part": "model",
        "size": 3,
        "sha256": "0" * 64,
        "url": "/files/lane-net.bin",
    }
    world.wish = {**WISH, "artifacts": [artifact]}
    world.routes["/files/lane-net.bin"] = lambda handler, body: world.answer(handler, 200, "bad")
    device = living(download=True)
    device.live(50)
    assert device.release == "4.1.0"
    assert world.told[-1] == (7, "failed")
