"""A soak: devices with every link condition, while web server and database are killed; then everything must agree.

    python benchmarks/soak.py [--devices 1000] [--minutes 10] [--quick]

Devices go offline and come back, reboot, reorder, send twice, and some have clocks that are years off. The web server
and a PostgreSQL of the soak's own (made under a temporary folder, removed afterwards) are killed with SIGKILL in
between. Each device keeps a batch until it is acknowledged. In the end ledger, raw rows, minutes, conditions and cohort
tiers are compared with what the devices say they sent; the exit status is 1 where they differ.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "deploy"))

from benchmarks.product import CHECKOUT, WebServer

SENDERS = 24
YEARS_US = 20 * 365 * 86_400_000_000


@dataclass
class Device:
    """One simulated device, and what it knows to have been acknowledged."""

    serial: str
    token: str
    rng: random.Random
    wrong_clock: bool
    boot: int = 1
    seq: int = 0
    offline_until: float = 0.0
    waiting: list[tuple[str, int, bytes, int]] = field(default_factory=list)
    acknowledged: dict[tuple[str, int], int] = field(default_factory=dict)
    latency_sum: float = 0.0
    tally: Counter = field(default_factory=Counter)

    def make_batch(self, now_us: int, uptime_ms: int) -> None:
        """Put a batch of new inferences into the queue."""
        if self.rng.random() < 0.02:
            self.boot, self.seq = self.boot + 1, 0
            self.tally["reboots"] += 1
        self.seq += 1
        boot = f"{self.serial}-{self.boot}"
        n = self.rng.randint(1, 30)
        shift = -YEARS_US if self.wrong_clock else 0
        records = []
        for i in range(n):
            # exact in single precision, so that sums can be compared to the last digit
            latency = self.rng.randint(64, 4096) / 64
            self.latency_sum += latency
            record = {"time": now_us + shift - i * 100_000, "latency_ms": latency}
            if self.wrong_clock:
                record["uptime_ms"] = uptime_ms - i * 100
            records.append(record)
        body = {
            "schema": "ridgeline.telemetry/1",
            "boot_id": boot,
            "batch_seq": self.seq,
            "sent_at": now_us + shift,
            "uptime_ms": uptime_ms,
            "clock": {"synced": not self.wrong_clock},
            "context": {"workload": "soak", "release": "1.0.0"},
            "inferences": records,
        }
        self.waiting.append((boot, self.seq, gzip.compress(json.dumps(body).encode(), 1), n))


class Fleet:
    """All devices, sent for by a pool of threads over keep-alive connections."""

    def __init__(self, devices: list[Device], port: int, seed: int) -> None:
        self.devices, self.port, self.rng = devices, port, random.Random(seed)
        self.began = time.monotonic()
        self.local = threading.local()
        self.answers: Counter = Counter()
        self.lock = threading.Lock()

    def uptime_ms(self) -> int:
        """One monotonic clock for all devices."""
        return int((time.monotonic() - self.began) * 1000) + 10_000_000

    def visit(self, device: Device, last: bool = False) -> None:
        """What a device does when its turn comes: measure, perhaps go offline, send what waits."""
        now = time.monotonic()
        if not last:
            device.make_batch(int(time.time() * 1e6), self.uptime_ms())
            if device.rng.random() < 0.05:
                device.offline_until = now + device.rng.uniform(5, 60)
                device.tally["offline spells"] += 1
            if now < device.offline_until:
                return
            if len(device.waiting) > 1 and device.rng.random() < 0.3:
                device.rng.shuffle(device.waiting)
                device.tally["reordered"] += 1
        while device.waiting:
            boot, seq, body, n = device.waiting[0]
            if not self._post(device, body):
                return
            device.acknowledged[boot, seq] = n
            device.waiting.pop(0)
            if device.rng.random() < 0.05:
                device.tally["sent twice"] += 1
                self._post(device, body)

    def _post(self, device: Device, body: bytes) -> bool:
        """Whether the batch was acknowledged."""
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = self.local.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {
            "Authorization": f"Bearer {device.token}",
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "Ridgeline-Uptime-Ms": str(self.uptime_ms()),
        }
        try:
            connection.request("POST", "/api/v1/telemetry", body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            self.local.connection = None
            with self.lock:
                self.answers["no answer"] += 1
            return False
        with self.lock:
            self.answers[answer.status] += 1
        if answer.status == 200 and (rejected := json.loads(content)["rejected"]):
            raise SystemExit(f"{rejected} records of {device.serial} were rejected: {content.decode()}")
        return answer.status == 200


class Database:
    """A PostgreSQL and a Redis of the soak's own."""

    def __init__(self, folder: Path) -> None:
        from provisioning.state import State

        self.state = State(folder)
        self.environment = os.environ | {"RIDGELINE_LOCAL": str(folder)}
        for name in ("DATABASE_URL", "REDIS_URL"):
            self.environment.pop(name, None)

    def up(self) -> None:
        """Bring it up, after a crash too."""
        command = [sys.executable, str(CHECKOUT / "deploy" / "provision")]
        subprocess.run(command, env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """SIGKILL to PostgreSQL; its children end when they notice."""
        from provisioning import ways

        [server] = [server for server in ways.existing(self.state) if server.title == "PostgreSQL"]
        os.kill(server.pid(), signal.SIGKILL)

    def stop(self) -> None:
        """Stop both."""
        command = [sys.executable, str(CHECKOUT / "deploy" / "provision"), "stop"]
        subprocess.run(command, env=self.environment, check=False, stdout=subprocess.DEVNULL)


def enrol(n: int, seed: int) -> list[Device]:
    """Devices in the database, with tokens."""
    from django.utils import timezone

    from fleet import models
    from fleet.services import tokens

    now = timezone.now()
    target = models.HardwareTarget.objects.create(slug="soak", name="Soak", created_at=now)
    region = models.Region.objects.create(slug="soak", name="Soak", created_at=now)
    rows = models.Device.objects.bulk_create(
        models.Device(serial=f"soak-{i}", hardware_target=target, region=region, enrolled_at=now) for i in range(n)
    )
    drawn = tokens.issue_first_tokens(rows, now=now)
    return [
        Device(row.serial, token, random.Random(seed * 100_003 + i), wrong_clock=i % 10 == 0)
        for i, (row, token) in enumerate(zip(rows, drawn, strict=True))
    ]


def disagreements(devices: list[Device]) -> list[str]:
    """Where the tables differ from each other or from what the devices say; empty when all agree exactly."""
    from django.db import connection
    from django.utils import timezone

    from telemetry.services.folding import fold
    from telemetry.services.gaps import find_gaps

    # the connections from before the crash are dead
    connection.close()
    connection.close_pool()
    fold(timezone.now())
    find_gaps(timezone.now())
    found = []
    with connection.cursor() as cursor:

        def rows(sql: str) -> list[tuple]:
            cursor.execute(sql)
            return cursor.fetchall()

        def compare(what: str, got, expected) -> None:
            if got != expected:
                found.append(f"{what}: {got!r:.200} is not {expected!r:.200}")

        ledger = rows(
            "SELECT serial, boot_id, batch_seq, inferences "
            "FROM telemetry_batch b JOIN fleet_device d ON d.id = device_id"
        )
        said = [(d.serial, boot, seq, n) for d in devices for (boot, seq), n in d.acknowledged.items()]
        compare("ledger", sorted(ledger), sorted(said))
        total, latency = sum(n for *_, n in said), sum(d.latency_sum for d in devices)
        for table, count in (("inference", "count(*)"), ("device_minute", "sum(count)"), ("device_cell", "sum(count)")):
            per_device = rows(
                f"SELECT serial, {count}::int FROM {table} t JOIN fleet_device d ON d.id = device_id GROUP BY serial"
            )
            truth = {d.serial: sum(d.acknowledged.values()) for d in devices if d.acknowledged}
            compare(f"{table} per device", dict(per_device), truth)
        by_minute = "device_id, {}, {}::int FROM {} GROUP BY 1, 2 ORDER BY 1, 2"
        raw = rows("SELECT " + by_minute.format("date_trunc('minute', time)", "count(*)", "inference"))
        minutes = rows("SELECT " + by_minute.format("bucket", "sum(count)", "device_minute"))
        compare("minutes against raw", minutes, raw)
        for table in ("inference", "device_minute", "cohort_5min", "cohort_hour", "cohort_day"):
            column = "sum(latency_ms::float8), count(*)" if table == "inference" else "sum(latency_sum), sum(count)"
            [(summed, count)] = rows(f"SELECT {column} FROM {table}")
            compare(f"records in {table}", int(count or 0), total)
            compare(f"latency sum in {table}", summed, latency)
        compare("batch gaps", rows("SELECT count(*) FROM telemetry_batchgap WHERE filled_at IS NULL"), [(0,)])
        compare("refusals", rows("SELECT status, code FROM telemetry_requestreject"), [])
    return found


def run(options: argparse.Namespace) -> int:
    """Run the soak; the exit status."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    devices = enrol(options.devices, options.seed)
    # what it says while its database is away would hide what the soak says
    server = WebServer(workers=2, threads=8, log=options.folder / "web.log")
    server.start()
    fleet = Fleet(devices, server.port, options.seed)
    began, seconds = time.monotonic(), options.minutes * 60
    plan = [(0.25, "web"), (0.5, "database"), (0.75, "web and database")]
    shown = began
    try:
        with ThreadPoolExecutor(SENDERS) as pool:
            while (elapsed := time.monotonic() - began) < seconds:
                if plan and elapsed > plan[0][0] * seconds:
                    # while devices are being visited
                    visits = [pool.submit(fleet.visit, device) for device in devices]
                    _, victim = plan.pop(0)
                    print(f"{elapsed:5.0f} s  SIGKILL of {victim}", flush=True)
                    if "web" in victim:
                        server.kill()
                    if "database" in victim:
                        options.database.kill()
                        options.database.up()
                    if "web" in victim:
                        server.start()
                else:
                    visits = [pool.submit(fleet.visit, device) for device in devices]
                for visit in visits:
                    visit.result()
                if time.monotonic() - shown > 30:
                    shown = time.monotonic()
                    print(f"{shown - began:5.0f} s  {dict(fleet.answers)}", flush=True)
                pause = options.interval - (time.monotonic() - began - elapsed)
                if pause > 0:
                    time.sleep(min(pause, max(0.0, seconds - (time.monotonic() - began))))
            while any(device.waiting for device in devices):
                list(pool.map(lambda device: fleet.visit(device, last=True), devices))
        found = disagreements(devices)
    finally:
        server.stop()
    tally = sum((device.tally for device in devices), Counter())
    batches = sum(len(device.acknowledged) for device in devices)
    records = sum(sum(device.acknowledged.values()) for device in devices)
    print(f"{batches:,} batches, {records:,} records of {len(devices):,} devices; {dict(tally)}; {dict(fleet.answers)}")
    print("\n".join(found) or "ledger, raw, minutes, conditions and cohort tiers agree exactly with the devices")
    return 1 if found else 0


def main() -> int:
    """Make the soak's own servers, run it, remove them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--interval", type=float, default=10.0, help="seconds between a device's batches")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="100 devices, one minute")
    options = parser.parse_args()
    if options.quick:
        options.devices, options.minutes, options.interval = 100, 1.0, 3.0
    folder = Path(tempfile.mkdtemp(prefix="ridgeline-soak-"))
    # the database's own account must be able to pass through
    folder.chmod(0o711)
    options.folder, options.database = folder, Database(folder)
    try:
        options.database.up()
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        os.environ.update(options.database.state.read_env())
        return run(options)
    finally:
        options.database.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
