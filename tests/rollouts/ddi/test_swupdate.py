"""Debian's unmodified SWUpdate through a whole rollout: signed image, install, restart, success, and back again."""

import io
import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as configured
from django.utils import timezone

from fleet.models import Device
from fleet.services import artifacts, releases
from rollouts.models import Controller, Delivery, Lane
from rollouts.services import advancing, deciding, drafting, evaluating
from telemetry.services.ingest import Request, receive
from tests.rollouts.conftest import CHANGE_RECORD, POLICY, actor_of
from tests.rollouts.ddi import swu

pytestmark = pytest.mark.django_db(transaction=True)

SERIAL = "gateway-7"
PATIENCE_S = 60


@pytest.fixture(scope="session")
def swupdate_program():
    """The program, fetched once."""
    try:
        return swu.program(Path(configured.LOCAL_DIR) / "swupdate")
    except swu.Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def client(swupdate_program, tmp_path):
    """A client that is ended whatever happens."""
    certificate, key = swu.make_key(tmp_path)
    running = swu.SWUpdate(*swupdate_program, tmp_path / "device", certificate)
    running.key = key
    yield running
    running.stop()


def wait_for(condition: Callable[[], bool], client: swu.SWUpdate, what: str) -> None:
    """Until a real process in the outside world has done something."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen\n{client.tail()}"
        time.sleep(0.2)


def send_telemetry(device: Device, release: str, seq: int, now) -> None:
    """What the application on the device sends beside the updater."""
    body = {
        "schema": "ridgeline.telemetry/1",
        "boot_id": f"boot-{seq}",
        "batch_seq": seq,
        "clock": {"synced": True},
        "context": {"workload": "lane-assist", "release": release},
        "inferences": [{"time": (now - timedelta(milliseconds=k)).isoformat(), "latency_ms": 12.0} for k in range(40)],
    }
    receive(Request(device, False, json.dumps(body).encode(), "", now))


def test_swupdate_installs_confirms_and_goes_back(
    live_server, settings, client, tmp_path, cast, make_device, device_token, qualify
) -> None:
    settings.DDI_POLL_SLEEP = "00:00:01"
    now = timezone.now()
    manager = {"by": cast.manager, "actor": actor_of(cast.manager)}
    installed = tmp_path / "installed-version"
    made = {}
    for version in ("5.0.0", "5.1.0"):
        draft = releases.create_release(
            workload=cast.workload, version=version, hardware_targets=[cast.orin], actor=manager["actor"], now=now
        )
        image = swu.make_image(tmp_path, version, writes=installed, certificate=client.certificate, key=client.key)
        description = artifacts.Description(filename=f"lane-assist-{version}.swu", part="bundle")
        artifacts.upload_artifact(draft, description, io.BytesIO(image), actor=manager["actor"], now=now)
        made[version] = releases.publish(draft, actor=manager["actor"], now=now)
    device = make_device(SERIAL, "orin-nx-16", "eu-north", delivery_profile="swupdate")
    token = device_token(device)
    send_telemetry(device, "5.0.0", 1, now)
    qualify(made["5.1.0"], cast.orin)
    rollout = drafting.create_rollout(
        release=made["5.1.0"],
        now=now,
        change_record=CHANGE_RECORD,
        policy={**POLICY, "confirmed_inferences": 20, "look_interval_s": 1},
        stages=[{"name": "bench", "hand_picked": True, "minimum_soak_s": 0, "minimum_inferences": 20}],
        **manager,
    )
    drafting.submit(rollout, now=now, **manager)
    deciding.start(rollout, now=timezone.now(), **manager)
    install = Delivery.objects.get()

    # It polls, downloads, checks the signature, and installs.
    client.start(live_server.url, SERIAL, token)
    wait_for(lambda: installed.exists() and installed.read_text() == "5.1.0\n", client, "installing 5.1.0")
    wait_for(lambda: install.steps.filter(detail__contains="All Chunks Installed").exists(), client, "the last chunk")
    install.refresh_from_db()
    assert install.status in ("downloading", "installing"), "installed is what it says after the restart"

    # After the restart it reports success, which is its word and not yet ours.
    client.stop()
    client.start(live_server.url, SERIAL, token, confirm=True)
    wait_for(lambda: Delivery.objects.get(pk=install.pk).status == "installed", client, "the success report")
    sent = Controller.objects.filter(device=device, attributes_requested=False, attributes__board="orin-nx-16")
    wait_for(sent.exists, client, "sending the attributes that were asked for after the update")
    advancing.advance(timezone.now())
    assert Delivery.objects.get(pk=install.pk).status == "installed"
    send_telemetry(device, "5.1.0", 2, timezone.now())
    advancing.advance(timezone.now() + timedelta(seconds=61))
    assert Delivery.objects.get(pk=install.pk).status == "confirmed"
    evaluating.evaluate_due(timezone.now() + timedelta(seconds=62))
    lane = Lane.objects.get()
    assert lane.state == "promotion_recommended", lane.run.last_error

    # Back to the older release: downgrade protection does not stand in the way of a rollback.
    deciding.roll_back(rollout, now=timezone.now(), reason="Trying the way back.", **manager)
    back = Delivery.objects.get(kind="rollback")
    assert back.release.version == "5.0.0"
    wait_for(lambda: installed.read_text() == "5.0.0\n", client, "going back to 5.0.0")
    wait_for(lambda: back.steps.filter(detail__contains="All Chunks Installed").exists(), client, "the last chunk")
    client.stop()
    client.start(live_server.url, SERIAL, token, confirm=True)
    wait_for(lambda: Delivery.objects.get(pk=back.pk).status == "installed", client, "the success report")
    send_telemetry(device, "5.0.0", 3, timezone.now() + timedelta(seconds=61))
    advancing.advance(timezone.now() + timedelta(seconds=125))
    assert Delivery.objects.get(pk=back.pk).status == "confirmed"
    assert Lane.objects.get().state == "rolled_back"
