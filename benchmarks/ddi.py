"""Polls per second over DDI with a large fleet and a rollout in progress, and how long starting a stage takes.

    python benchmarks/ddi.py [--devices 100000] [--stage 20000] [--seconds 10] [--connections 8]

Makes a database of its own on the server of DATABASE_URL and a web server on it, and removes both.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.load import answer
from benchmarks.product import CHECKOUT, WebServer, temporary_product

TARGETS = ("orin-nx-16", "hailo-8")
REGIONS = ("eu-north", "us-west", "ap-south")
BATCH = 5_000


@dataclass(frozen=True)
class PollJob:
    """One connection's work: polls of many devices in turn, for some seconds."""

    port: int
    polls: list[tuple[str, str]]
    """(serial, token)"""
    seconds: float


def poll(job: PollJob) -> tuple[int, float, list[float]]:
    """Poll until the time is over; how many, seconds, and the wait of each."""
    connection = socket.create_connection(("127.0.0.1", job.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    requests = [
        (
            f"GET /DEFAULT/controller/v1/{serial} HTTP/1.1\r\nHost: benchmark\r\n"
            f"Authorization: TargetToken {token}\r\nAccept: application/json\r\n\r\n"
        ).encode()
        for serial, token in job.polls
    ]
    waits: list[float] = []
    start = time.perf_counter()
    while time.perf_counter() - start < job.seconds:
        sent = time.perf_counter()
        connection.sendall(requests[len(waits) % len(requests)])
        head, rest = answer(connection)
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"The server answered {head[:80]!r} {rest[:300]!r}")
        waits.append(time.perf_counter() - sent)
    return len(waits), time.perf_counter() - start, waits


def client() -> None:
    """The load client, a program of its own: jobs on standard input, what came of them on standard output."""
    jobs = [PollJob(**job) for job in json.load(sys.stdin)]
    with ThreadPoolExecutor(len(jobs)) as threads:
        results = list(threads.map(poll, jobs))
    json.dump(results, sys.stdout)


class Fleet:
    """Registered devices, each with its token."""

    def __init__(self, count: int) -> None:
        from django.utils import timezone

        from fleet.models import Device, HardwareTarget, Region, Workload
        from fleet.services import tokens

        now = timezone.now()
        self.workload = Workload.objects.create(slug="lane-assist", name="Lane assist", created_at=now)
        targets = [HardwareTarget.objects.create(slug=slug, name=slug, created_at=now) for slug in TARGETS]
        regions = [Region.objects.create(slug=slug, name=slug, created_at=now) for slug in REGIONS]
        self.tokens: list[tuple[str, str]] = []
        for first in range(0, count, BATCH):
            devices = Device.objects.bulk_create(
                Device(
                    serial=f"dev-{index:06d}",
                    hardware_target=targets[index % 2],
                    region=regions[index // 2 % 3],
                    enrolled_at=now,
                )
                for index in range(first, min(first + BATCH, count))
            )
            secrets = tokens.issue_first_tokens(devices, now=now)
            self.tokens += zip((device.serial for device in devices), secrets, strict=True)

    def start_stage(self, share: float) -> tuple[float, float, int]:
        """Roll a release out to a share of the fleet: seconds to the answer, to the last delivery, devices treated."""
        from django.utils import timezone

        from fleet.actors import Actor
        from fleet.models import HardwareTarget, User
        from fleet.models.people import Role
        from fleet.services import artifacts, releases
        from rollouts.models import Delivery, Qualification
        from rollouts.plans import CHANGE_RECORD
        from rollouts.services import deciding, drafting, starting

        now, actor = timezone.now(), Actor.system("benchmark")
        manager = User.objects.create(username="manager", roles=[Role.RELEASE_MANAGER])
        release = releases.create_release(workload=self.workload, version="2.0.0", actor=actor, now=now)
        file = artifacts.Description(filename="image.swu", part="bundle")
        artifacts.upload_artifact(release, file, [b"image" * 1000], actor=actor, now=now)
        releases.publish(release, actor=actor, now=now)
        for target in HardwareTarget.objects.all():
            Qualification.objects.create(
                release=release,
                hardware_target=target,
                mode="nominal",
                checks={"boot": True, "rollback": True, "telemetry": True},
                created_at=now,
            )
        people = {"by": manager, "actor": actor, "now": now}
        rollout = drafting.create_rollout(
            release=release,
            change_record=dict.fromkeys(CHANGE_RECORD, "benchmark"),
            stages=[{"name": "canary", "share": share}],
            **people,
        )
        drafting.submit(rollout, **people)
        began = time.perf_counter()
        deciding.start(rollout, **people)
        answered = time.perf_counter() - began
        # What the task of the beat does.
        starting.go_on(timezone.now)
        return answered, time.perf_counter() - began, Delivery.objects.count()


def queries_per_poll(fleet: Fleet) -> None:
    """Print how many statements a poll takes, by what it finds."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from rollouts.models import Delivery

    treated = Delivery.objects.order_by("id").values_list("device__serial", flat=True).first()
    untreated = next(
        serial for serial, _ in fleet.tokens if not Delivery.objects.filter(device__serial=serial).exists()
    )
    tokens = dict(fleet.tokens)
    http = Client()
    for title, serial in (
        ("first poll, with an offer", treated),
        ("poll during the update", treated),
        ("first poll without work", untreated),
        ("poll without work", untreated),
    ):
        headers = {"Authorization": f"TargetToken {tokens[serial]}"}
        with CaptureQueriesContext(
            connection,
        ) as captured:
            found = http.get(f"/DEFAULT/controller/v1/{serial}", headers=headers)
        assert found.status_code == 200, found.content
        writes = sum(not query["sql"].startswith("SELECT") for query in captured.captured_queries)
        print(f"    {title:<28} {len(captured):>2} statements, {writes} of them writing")


def measure(fleet: Fleet, port: int, *, connections: int, seconds: float, title: str, serials: set[str]) -> None:
    """Print polls per second and the waits of some devices' polls."""
    polls = [pair for pair in fleet.tokens if pair[0] in serials]
    jobs = [PollJob(port, polls[at::connections], seconds) for at in range(connections)]
    done = subprocess.run(
        [sys.executable, "-c", "from benchmarks.ddi import client; client()"],
        input=json.dumps([asdict(job) for job in jobs]).encode(),
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
        check=True,
    )
    results = json.loads(done.stdout)
    waits = np.array([wait for _, _, found in results for wait in found]) * 1000
    rate = sum(n / elapsed for n, elapsed, _ in results)
    p50, p99 = np.quantile(waits, [0.5, 0.99])
    print(f"    {title:<28} {rate:>7,.0f} polls/s   p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   ({len(waits):,} polls)")


def main() -> None:
    """Register, start, count, poll."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--stage", type=int, default=20_000, help="devices that the started stage treats")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with temporary_product():
        from django.db import connection

        from rollouts.models import Delivery

        began = time.perf_counter()
        fleet = Fleet(options.devices)
        print(f"{options.devices:,} devices registered with a token each in {time.perf_counter() - began:.1f} s")
        answered, elapsed, treated = fleet.start_stage(options.stage / options.devices)
        print(
            f"stage of {treated:,} devices started in {elapsed:.1f} s: {answered:.1f} s to the answer (drawn, "
            "decided), the rest in pieces (cohorts frozen, deliveries queued)"
        )
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        print("statements per poll")
        queries_per_poll(fleet)
        offered = set(Delivery.objects.values_list("device__serial", flat=True))
        others = {serial for serial, _ in fleet.tokens[: 4 * len(offered)]} - offered
        server = WebServer(workers=options.workers, threads=4)
        server.start()
        try:
            print(f"polls over {options.connections} connections, {options.workers} workers")
            common = {"port": server.port, "connections": options.connections, "seconds": options.seconds}
            measure(fleet, title="devices that get an offer", serials=offered, **common)
            measure(fleet, title="devices without work", serials=others, **common)
            measure(fleet, title="one in five in the rollout", serials=offered | others, **common)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
