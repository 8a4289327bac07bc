"""The stand-in server and clock, and a client whose time passes only when it sleeps."""

import random

import pytest
from ridgeline_sdk import Client, Device, Spool, Transport

from tests.sdk.stand_in import FakeClock, Server


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def make_client(server, clock):
    """A client whose time passes only when it sleeps; `client.slept` lists the waits."""
    made = []

    def make(spool=None, *, token="good", on_unauthorized=None, seed=1, **device_options):
        device = Device(
            spool or Spool(),
            {"workload": "lane-assist", "release": "4.1.0"},
            clock=clock,
            strict=True,
            rng=random.Random(seed),
            **device_options,
        )
        slept = []

        def sleep(seconds):
            slept.append(seconds)
            clock.advance(seconds + 1e-6)

        client = Client(
            device,
            Transport(server.url, timeout_s=5.0),
            token,
            on_unauthorized=on_unauthorized,
            rng=random.Random(seed),
            monotonic_s=lambda: clock.up_ms / 1000.0,
            sleep=sleep,
        )
        client.slept = slept
        made.append(client)
        return client

    yield make
    for client in made:
        client.transport.close()
