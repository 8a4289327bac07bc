"""Records per second through HTTP to the commit, beside bare binary COPY on as many connections in the same run.

    python benchmarks/ingest.py [--seconds 5] [--connections 4] [--rounds 3] [--quick]

Makes a database of its own on the server of DATABASE_URL and a web server on it, and removes both. "Bare COPY" writes
the same records into the same hypertable from streams that were built beforehand, one commit per batch; the product
does the same and authentication, decoding, validation, ledger, roll-ups, histograms and the device's figures besides.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.load import SEQ, CopyJob, HttpJob
from benchmarks.product import CHECKOUT, WebServer, temporary_product

BODIES = 24
MEASURES = {
    "preprocess_ms": 1.2,
    "inference_ms": 14.6,
    "postprocess_ms": 0.7,
    "queue_ms": 0.9,
    "energy_mj": 42.5,
    "power_w": 5.2,
    "temperature_c": 61.5,
    "memory_mb": 512.0,
}
SHARES = ("accelerator_utilization", "input_quality", "confidence")


def records(rng: np.random.Generator, n: int, end_us: int) -> dict[str, list]:
    """Columns of `n` plausible records with every field, ten a second, the last at `end_us`."""
    columns: dict[str, list] = {
        "time": (end_us - 100_000 * np.arange(n)[::-1]).tolist(),
        "latency_ms": rng.lognormal(3, 0.25, n).round(2).tolist(),
    }
    for name, middle in MEASURES.items():
        columns[name] = (middle * rng.lognormal(0, 0.1, n)).round(2).tolist()
    for name in SHARES:
        columns[name] = rng.beta(9, 2, n).round(3).tolist()
    columns["queue_depth"] = rng.poisson(1, n).tolist()
    columns["predicted_class"] = rng.choice(["stop-sign", "car", "lorry", "cyclist"], n).tolist()
    columns["fallback"] = rng.choice(["none", "cpu"], n, p=[0.98, 0.02]).tolist()
    columns["outcome"] = rng.choice(["ok", "error"], n, p=[0.99, 0.01]).tolist()
    columns["retries"] = [0] * n
    columns["throttled"] = [False] * n
    return columns


def window(rng: np.random.Generator, start_us: int) -> dict:
    """A minute of 600 inferences as the sdk sums it up."""
    from telemetry.histograms import Histogram

    latency, energy = rng.lognormal(3, 0.25, 600), rng.lognormal(3.7, 0.15, 600)
    confidence = rng.beta(9, 2, 600)

    def exponential(values: np.ndarray) -> dict:
        histogram = Histogram.of(values)
        return {
            "scale": 5,
            "offset": histogram.offset,
            "counts": histogram.counts.tolist(),
            "zero_count": 0,
            "sum": float(values.sum()),
            "min": float(values.min()),
            "max": float(values.max()),
        }

    return {
        "start": start_us,
        "end": start_us + 60_000_000,
        "count": 600,
        "fallbacks": {"cpu": 3},
        "outcomes": {"error": 1},
        "latency_ms": exponential(latency),
        "energy_mj": exponential(energy),
        "confidence": {
            "counts": np.histogram(confidence, 100, (0, 1))[0].tolist(),
            "sum": float(confidence.sum()),
        },
        "classes": {"stop-sign": 300, "car": 300},
    }


def body(section: dict, boot: str) -> bytes:
    """An envelope whose batch_seq is filled in by the load client."""
    envelope = {
        "schema": "ridgeline.telemetry/1",
        "boot_id": boot,
        "batch_seq": SEQ.decode(),
        "sent_at": datetime.now(UTC).isoformat(),
        "clock": {"synced": True, "source": "ntp", "error_ms": 3},
        "context": {
            "workload": "lane-assist",
            "release": "4.2.0",
            "model_version": "4.2.0",
            "driver_version": "540.4",
            "power_mode": "15W",
        },
        **section,
    }
    return json.dumps(envelope, separators=(",", ":")).encode().replace(b'"%s"' % SEQ, SEQ)


class Bench:
    """The devices, and what each run needs."""

    def __init__(self, connections: int, seconds: float) -> None:
        from django.conf import settings
        from django.utils import timezone

        from fleet.actors import Actor
        from fleet.models import Device, HardwareTarget, Region
        from fleet.services import tokens

        self.connections, self.seconds, self.runs = connections, seconds, 0
        now = timezone.now()
        self.end_us = int(now.timestamp()) * 1_000_000
        target = HardwareTarget.objects.create(slug="bench", name="Bench", created_at=now)
        region = Region.objects.create(slug="bench", name="Bench", created_at=now)
        self.devices = [
            Device.objects.create(serial=f"bench-{i}", hardware_target=target, region=region, enrolled_at=now)
            for i in range(connections)
        ]
        self.tokens = [tokens.issue_device_token(d, actor=Actor.system("benchmark"), now=now) for d in self.devices]
        database = settings.DATABASES["default"]
        self.url = (
            f"postgresql://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}"
            f"/{database['NAME']}"
        )

    def run(self, jobs: list) -> tuple[float, list[float]]:
        """Batches per second over all connections, and the waits."""
        client = subprocess.run(
            [sys.executable, "-c", "from benchmarks.load import main; main()"],
            input=pickle.dumps(jobs),
            stdout=subprocess.PIPE,
            cwd=CHECKOUT,
            check=True,
        )
        results = json.loads(client.stdout)
        return sum(n / seconds for n, seconds, _ in results), [wait for _, _, waits in results for wait in waits]

    def bodies(self, n: int, *, rows: bool, connection: int, encoding: str = "", copies: int = BODIES) -> list[bytes]:
        """Prebuilt bodies of `n` records; compressed ones carry their number already."""
        rng = np.random.default_rng([n, connection])
        made = []
        for k in range(copies):
            columns = records(rng, n, self.end_us - k * n * 100_000)
            section = columns
            if rows:
                section = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
            made.append(body({"inferences": section}, f"boot-{self.runs}"))
        return made

    def windows(self, n: int, connection: int) -> list[bytes]:
        """Prebuilt bodies of `n` windows of a minute."""
        rng = np.random.default_rng([n, connection, 7])
        return [
            body(
                {"windows": [window(rng, self.end_us - (k * n + i + 1) * 60_000_000) for i in range(n)]},
                f"boot-{self.runs}",
            )
            for k in range(BODIES)
        ]

    def post(self, port: int, make, *, pace: float = 0.0, seconds: float | None = None) -> tuple[float, list[float]]:
        """Post bodies that `make(connection)` builds, on every connection."""
        self.runs += 1
        jobs = [
            HttpJob(port, self.tokens[c], make(c), seconds or self.seconds, 0, pace=pace)
            for c in range(self.connections)
        ]
        return self.run(jobs)

    def copy(self, n: int) -> float:
        """Batches of `n` records per second by bare COPY."""
        from telemetry.binary_copy import copy_stream
        from telemetry.protocol import read_batch, read_clock
        from telemetry.services.ingest.placing import place
        from telemetry.services.ingest.rows import inference_fields

        jobs = []
        for c in range(self.connections):
            streams = []
            for made in self.bodies(n, rows=False, connection=c):
                batch = read_batch(made.replace(SEQ, b"1"), 5000)
                placed = place(batch, read_clock(batch.envelope, self.end_us), 0)
                class_id = batch.inferences.class_code + 1
                fields = inference_fields(placed, class_id, device_id=self.devices[c].pk, context_id=1, batch_id=c)
                names, stream = copy_stream(fields, n)
                streams.append(stream)
            statement = f"COPY inference ({', '.join(names)}) FROM STDIN (FORMAT BINARY)"
            jobs.append(CopyJob(self.url, statement, streams, self.seconds))
        return self.run(jobs)[0]


def table_bytes(*names: str) -> int:
    """Size on disk of hypertables or tables, with indexes."""
    from django.db import connection

    total = 0
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(
                "SELECT COALESCE((SELECT sum(total_bytes) FROM hypertable_detailed_size(%s::regclass)), "
                "pg_total_relation_size(%s::regclass))"
                if not name.startswith("telemetry_")
                else "SELECT pg_total_relation_size(%s::regclass) + 0 * length(%s)",
                [name, name],
            )
            total += int(cursor.fetchone()[0])
    return total


def empty() -> None:
    """Start the next figure from empty tables, so that no run pays for the rows of the one before."""
    from django.db import connection

    from telemetry import columns

    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(columns.TABLES)}, stale_bucket")


def throughput(bench: Bench, server: WebServer, rounds: int) -> dict[str, float]:
    """Print records per second, in rounds that alternate so that a busy machine disturbs all alike."""
    print(f"{'batch':>14} {'HTTP records/s':>15} {'bare COPY':>11} {'ratio':>6}   ({rounds} rounds, medians)")
    best: dict[str, float] = {}
    for n in (500, 60):
        figures: dict[str, list[float]] = {"copy": [], "rows": [], "columns": []}
        for _ in range(rounds):
            empty()
            figures["copy"].append(bench.copy(n) * n)
            for shape in ("rows", "columns"):
                empty()
                rate, _ = bench.post(
                    server.port, lambda c, n=n, shape=shape: bench.bodies(n, rows=shape == "rows", connection=c)
                )
                figures[shape].append(rate * n)
        bare = statistics.median(figures["copy"])
        for shape in ("rows", "columns"):
            reached = statistics.median(figures[shape])
            best[f"{shape} {n}"] = reached / n
            print(f"{f'{n} {shape}':>14} {reached:>15,.0f} {bare:>11,.0f} {reached / bare:>6.2f}")
    return best


def latency(bench: Bench, server: WebServer, best: dict[str, float]) -> None:
    """Print the time to acknowledgement at half of the rate just measured."""
    print("\nacknowledgement at half load")
    for shape, n in (("rows", 500), ("columns", 500), ("rows", 60), ("columns", 60)):
        empty()
        pace = bench.connections / (best[f"{shape} {n}"] / 2)
        _, waits = bench.post(
            server.port, lambda c, n=n, shape=shape: bench.bodies(n, rows=shape == "rows", connection=c), pace=pace
        )
        p50, p99 = np.quantile(waits, [0.5, 0.99]) * 1000
        print(f"{f'{n} {shape}':>14}   p50 {p50:5.1f} ms   p99 {p99:5.1f} ms   ({len(waits)} batches)")


def windows(bench: Bench, server: WebServer, rounds: int) -> None:
    """Print windows per second and what a window costs."""
    print("\nwindows of a minute (600 inferences each)")
    for n in (10, 60):
        rates = []
        for _ in range(rounds):
            empty()
            rate, _ = bench.post(server.port, lambda c, n=n: bench.windows(n, c))
            rates.append(rate * n)
        rate = statistics.median(rates)
        rows = row_count("device_minute")
        size = table_bytes("device_minute") / rows
        pace = bench.connections / (rate / n / 2)
        empty()
        _, waits = bench.post(server.port, lambda c, n=n: bench.windows(n, c), pace=pace)
        p50, p99 = np.quantile(waits, [0.5, 0.99]) * 1000
        print(
            f"{f'{n} per batch':>14} {rate:>9,.0f} windows/s = {rate * 600:,.0f} inferences/s, {size:,.0f} bytes each, "
            f"at half load p50 {p50:.1f} ms p99 {p99:.1f} ms"
        )


def row_count(table: str) -> int:
    """Rows of a table."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return cursor.fetchone()[0]


def sizes(bench: Bench, server: WebServer) -> None:
    """Print bytes on disk per record, table by table."""
    print("\nbytes per record on disk, indexes included")
    for n in (500, 60):
        empty()
        before = table_bytes("telemetry_batch")
        bench.post(server.port, lambda c, n=n: bench.bodies(n, rows=False, connection=c))
        count = row_count("inference")
        parts = {name: table_bytes(name) / count for name in ("inference", "device_minute", "device_cell")}
        parts["ledger"] = (table_bytes("telemetry_batch") - before) / count
        shown = ", ".join(f"{name} {size:.0f}" for name, size in parts.items())
        print(f"{n:>14}   {sum(parts.values()):.0f} = {shown}   ({count:,} records)")


def main() -> None:
    """Run all parts and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one measurement")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="web processes")
    parser.add_argument("--threads", type=int, default=4, help="threads of each")
    parser.add_argument("--quick", action="store_true", help="throughput alone")
    options = parser.parse_args()
    began = time.perf_counter()
    with temporary_product():
        bench = Bench(options.connections, options.seconds)
        server = WebServer(workers=options.workers, threads=options.threads)
        server.start()
        try:
            bench.post(server.port, lambda c: bench.bodies(60, rows=True, connection=c), seconds=1.0)
            best = throughput(bench, server, options.rounds)
            if not options.quick:
                latency(bench, server, best)
                windows(bench, server, options.rounds)
                sizes(bench, server)
        finally:
            server.stop()
    print(f"\n{options.connections} connections, {options.workers} web processes, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
