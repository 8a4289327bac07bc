"""What ingest costs: records per second beside bare binary COPY, time to acknowledgement, bytes on disk.

    python benchmarks/ingest.py [--seconds 5] [--connections 32] [--rounds 3] [--quick]

Makes a database of its own on the server of DATABASE_URL and a web server on it, and removes both. The devices' clocks
begin at a whole minute and everything else is drawn from fixed seeds, so each run sends the same records.

How to read it:

- Throughput. "Bare COPY" writes the same records into the same hypertable on as many connections, from streams that
  were built beforehand, one durable commit per batch. "Acknowledged" is what the product answered with 200 in the same
  round, over HTTP, with authentication, decoding, validation, ledger, roll-ups, histograms and the device's figures.
  The ratio of the two is what counts. It is taken within each round, for the numbers themselves move with the machine;
  shown are the median of all rounds and their range. Rows and columns are the two forms of the protocol.
- "Web ms" is processor time of the web processes per batch. It hardly moves with other work on the machine, so it tells
  whether a change helped when the ratio cannot. Client, web server and database share the processors here.
- Acknowledgement is the time from the first byte sent to the answer read, at half of the throughput just measured.
- Bytes per record are what the tables have grown by, indexes included and nothing compressed yet.
- Windows are minutes of 600 inferences that a device has summed up itself.

--quick prints the throughput alone.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.envelopes import body, records, window
from benchmarks.load import SEQ, CopyJob, HttpJob
from benchmarks.product import CHECKOUT, WebServer, temporary_product

BODIES = 24


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
        self.end_us = int(now.timestamp()) // 60 * 60_000_000
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

    def bodies(self, n: int, *, rows: bool, connection: int) -> list[bytes]:
        """Prebuilt bodies of `n` records."""
        rng = np.random.default_rng([n, connection])
        made = []
        for k in range(BODIES):
            columns = records(rng, n, self.end_us - k * n * 100_000)
            section = columns
            if rows:
                section = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
            made.append(body({"inferences": section}, f"boot-{self.runs}"))
        return made

    def maker(self, n: int, shape: str) -> Callable[[int], list[bytes]]:
        """What makes the bodies of a connection."""
        return lambda connection: self.bodies(n, rows=shape == "rows", connection=connection)

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
            HttpJob(
                port, self.tokens[c], make(c), seconds or self.seconds, 0, pace=pace, phase=pace * c / self.connections
            )
            for c in range(self.connections)
        ]
        return self.run(jobs)

    def copy(self, n: int) -> float:
        """Batches of `n` records per second by bare COPY."""
        from telemetry.binary_copy import copy_stream
        from telemetry.partials import Records
        from telemetry.protocol import read_batch, read_clock
        from telemetry.services.ingest.placing import place
        from telemetry.services.ingest.rows import Keys, inference_fields

        jobs = []
        for c in range(self.connections):
            streams = []
            for made in self.bodies(n, rows=False, connection=c):
                batch = read_batch(made.replace(SEQ, b"1"), 5000)
                placed = place(batch, read_clock(batch.envelope, self.end_us), 0)
                sent = batch.inferences
                records = Records(
                    placed.inference_us,
                    sent.measures,
                    sent.fallback,
                    sent.outcome,
                    sent.retries,
                    sent.throttled,
                    sent.class_code + 1,
                    np.zeros(n, dtype=np.int64),
                )
                fields = inference_fields(records, None, Keys(*np.array([[self.devices[c].pk], [1], [c]])))
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
    """Print records per second and return batches per second, by shape and size.

    The rounds alternate between what is compared, so that a busy machine disturbs all alike.
    """
    print(f"\n{'throughput':<16}{'acknowledged/s':>15}{'bare COPY/s':>13}{'ratio':>8}{'(range)':>15}{'web ms':>9}")
    reached: dict[str, float] = {}
    for n in (500, 60):
        bare: list[float] = []
        rates: dict[str, list[float]] = {"rows": [], "columns": []}
        costs: dict[str, list[float]] = {"rows": [], "columns": []}
        for _ in range(rounds):
            empty()
            bare.append(bench.copy(n))
            for shape in rates:
                empty()
                before = server.processor_seconds()
                rate, waits = bench.post(server.port, bench.maker(n, shape))
                rates[shape].append(rate)
                costs[shape].append((server.processor_seconds() - before) / len(waits) * 1000)
        for shape, found in rates.items():
            ratios = [rate / copied for rate, copied in zip(found, bare, strict=True)]
            reached[f"{n} {shape}"] = statistics.median(found)
            print(
                f"{f'{n} {shape}':<16}{statistics.median(found) * n:>15,.0f}{statistics.median(bare) * n:>13,.0f}"
                f"{statistics.median(ratios):>8.2f}{f'({min(ratios):.2f}-{max(ratios):.2f})':>15}"
                f"{statistics.median(costs[shape]):>9.2f}"
            )
    return reached


def latency(bench: Bench, server: WebServer, reached: dict[str, float]) -> None:
    """Print the time to acknowledgement at half of the rate just measured."""
    print(f"\n{'acknowledgement':<16}{'batches/s':>15}{'p50 ms':>13}{'p99 ms':>8}{'batches':>15}")
    for name, rate in reached.items():
        n, shape = name.split()
        empty()
        _, waits = bench.post(server.port, bench.maker(int(n), shape), pace=bench.connections / (rate / 2))
        p50, p99 = np.quantile(waits, [0.5, 0.99]) * 1000
        print(f"{name:<16}{rate / 2:>15,.0f}{p50:>13.1f}{p99:>8.1f}{len(waits):>15,}")


def sizes(bench: Bench, server: WebServer) -> None:
    """Print bytes on disk per record, table by table."""
    tables = ("inference", "device_minute", "device_cell")
    print(f"\n{'bytes/record':<16}{'all':>15}{'inference':>13}{'minute':>8}{'cell':>8}{'ledger':>8}{'records':>12}")
    for n in (500, 60):
        empty()
        before = table_bytes("telemetry_batch")
        bench.post(server.port, bench.maker(n, "columns"))
        count = row_count("inference")
        parts = [table_bytes(name) / count for name in tables]
        parts.append((table_bytes("telemetry_batch") - before) / count)
        inference, minute, cell, ledger = parts
        print(
            f"{f'{n} per batch':<16}{sum(parts):>15,.0f}{inference:>13,.0f}{minute:>8,.0f}{cell:>8,.0f}{ledger:>8,.0f}"
            f"{count:>12,}"
        )


def windows(bench: Bench, server: WebServer, rounds: int) -> None:
    """Print windows per second and what a window costs."""
    print(
        f"\n{'windows':<16}{'acknowledged/s':>15}{'inferences/s':>13}{'bytes':>8}"
        f"{'web ms':>8}{'p50 ms':>8}{'p99 ms':>8}   (at half load)"
    )
    for n in (10, 60):
        rates, costs = [], []
        for _ in range(rounds):
            empty()
            before = server.processor_seconds()
            rate, waits = bench.post(server.port, lambda c, n=n: bench.windows(n, c))
            rates.append(rate * n)
            costs.append((server.processor_seconds() - before) / len(waits) * 1000)
        rate = statistics.median(rates)
        size = table_bytes("device_minute") / row_count("device_minute")
        empty()
        pace = bench.connections / (rate / n / 2)
        _, waits = bench.post(server.port, lambda c, n=n: bench.windows(n, c), pace=pace)
        p50, p99 = np.quantile(waits, [0.5, 0.99]) * 1000
        print(
            f"{f'{n} per batch':<16}{rate:>15,.0f}{rate * 600:>13,.0f}{size:>8,.0f}"
            f"{statistics.median(costs):>8.2f}{p50:>8.1f}{p99:>8.1f}"
        )


def row_count(table: str) -> int:
    """Rows of a table."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return cursor.fetchone()[0]


def conditions(options: argparse.Namespace) -> str:
    """What was measured on, in one line."""
    from django.db import connection

    settings = ("server_version", "fsync", "synchronous_commit")
    with connection.cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(f"current_setting('{name}')" for name in settings))
        version, fsync, commit = cursor.fetchone()
    return (
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before; "
        f"PostgreSQL {version.split()[0]}, fsync {fsync}, synchronous_commit {commit};\n"
        f"{options.connections} connections, {options.workers} web processes of {options.threads} threads, "
        f"{options.rounds} rounds of {options.seconds:g} s"
    )


def main() -> None:
    """Run all parts and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one measurement")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="web processes")
    parser.add_argument("--threads", type=int, default=16, help="threads of each")
    parser.add_argument("--quick", action="store_true", help="throughput alone")
    options = parser.parse_args()
    began = time.perf_counter()
    with temporary_product():
        bench = Bench(options.connections, options.seconds)
        server = WebServer(workers=options.workers, threads=options.threads)
        server.start()
        print(conditions(options), flush=True)
        try:
            bench.post(server.port, bench.maker(60, "rows"), seconds=1.0)
            reached = throughput(bench, server, options.rounds)
            if not options.quick:
                latency(bench, server, reached)
                sizes(bench, server)
                windows(bench, server, options.rounds)
        finally:
            server.stop()
    print(f"\ntook {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
