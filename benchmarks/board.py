"""Seconds for a drift board of a large fleet with one and with two task processes, and for a retrospective.

    python -m benchmarks.board [--devices 10000] [--days 10] [--workers 1,2] [--retrospective 100] [--profile]

Makes a database of its own on the server of DATABASE_URL, fills the roll-ups by COPY with the loader of
benchmarks/history.py, computes the board as the task workers do (one process per worker, each taking the next cell),
and removes the database. A board compares the newest day of every device with its week before, metric by metric, so 10
days of roll-ups are all that it reads. `--retrospective N` times 100 hourly looks at N devices with default metrics.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from benchmarks import history
from benchmarks.product import temporary_product

LOOKS = 100
# A worker process: Django on the benchmark's database, cells taken one after the other.
WORKER = """
import django
django.setup()
from benchmarks.board import take_cells
take_cells({evaluation})
"""


def fill(devices: int, days: int) -> history.Fleet:
    """A fleet that ran the newer release for the last day and the older one before, on roll-ups of so many days."""
    fleet = history.make_fleet(devices)
    everyone = np.arange(devices)
    start = (history.NOW - days * history.DAY).replace(hour=0)

    def put(table: str, first, last, step: timedelta) -> int:
        ids = {"device_id": fleet.device_ids, "context_id": fleet.context_of(everyone, 1)}
        return history.copy_rollups(
            table, history.grid(history.times(first, last, step), **ids), int(step.total_seconds())
        )

    rows = put("device_day", start, history.NOW.replace(hour=0), history.DAY)
    rows += put("device_hour", start, history.NOW, history.HOUR)
    _run_one_release(fleet)
    print(f"{devices:,} devices on {len(history.TARGETS)} hardware targets, {rows:,} roll-up rows of {days} days")
    return fleet


def _run_one_release(fleet: history.Fleet) -> None:
    """The board compares a release with its own past: everybody has run the newer one for a month."""
    from telemetry.models import ReleaseSpan

    ReleaseSpan.objects.filter(release_id=fleet.release_ids[0]).delete()
    ReleaseSpan.objects.update(first_time=history.NOW - 30 * history.DAY)


def take_cells(evaluation_id: int) -> None:
    """Compute cells until none is left, as a task worker does."""
    from django.db import transaction

    from drift.models import EvaluationCell
    from drift.models.evaluations import Progress
    from drift.services import runs

    while True:
        with transaction.atomic():
            waiting = EvaluationCell.objects.select_for_update(skip_locked=True, of=("self",)).filter(
                evaluation=evaluation_id, status=Progress.QUEUED
            )
            cell = waiting.select_related("evaluation", "workload", "hardware_target", "release").first()
            if cell is None:
                return
            runs.compute(cell)


def board(workers: int, *, profiled: bool = False) -> tuple[float, int, int]:
    """Seconds from the plan to the settled verdicts, with the number of cells and of findings."""
    from drift.services import runs

    begin = time.perf_counter()
    evaluation = runs.plan("board", now=history.NOW)
    if profiled:
        profile = cProfile.Profile()
        profile.runcall(take_cells, evaluation.pk)
        pstats.Stats(profile).sort_stats("cumulative").print_stats(35)
    else:
        code = WORKER.format(evaluation=evaluation.pk)
        # a worker of the product is up already: what it takes to import Django is not the board's time
        idle = _import_seconds()
        begin = time.perf_counter()
        processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(workers)]
        failed = [process.returncode for process in processes if process.wait()]
        if failed:
            raise SystemExit("A worker failed; its words are above.")
        begin += idle
    runs.finish(evaluation, now=history.NOW)
    return time.perf_counter() - begin, evaluation.cells.count(), evaluation.findings.count()


def _import_seconds() -> float:
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", WORKER.format(evaluation=0)], check=True
    )  # fmt: skip
    return time.perf_counter() - begin


def retrospective(fleet: history.Fleet, devices: int) -> float:
    """Seconds for 100 hourly looks at so many devices, half of them treated, with the default metrics."""
    from drift.services import retrospectives

    ids = [int(device) for device in fleet.device_ids[:devices]]
    request = {
        "workload": "lane-assist",
        "release": history.RELEASES[1],
        "treated": ids[::2],
        "control": ids[1::2],
        "assignment": {"seed": 11},
        "started_at": history.NOW - LOOKS * history.HOUR,
        "looks": {"every": history.HOUR, "until": history.NOW},
    }
    old = np.arange(devices)[1::2]
    before = history.times(history.NOW - (LOOKS + 168) * history.HOUR, history.NOW - LOOKS * history.HOUR, history.HOUR)
    since = history.times(history.NOW - LOOKS * history.HOUR, history.NOW, history.HOUR)
    for which, hours in ((np.arange(devices), before), (old, since)):
        ids_of = {"device_id": fleet.device_ids[which], "context_id": fleet.context_of(which, 0)}
        history.copy_rollups("device_hour", history.grid(hours, **ids_of), 3600)
    begin = time.perf_counter()
    plan, schedule = retrospectives.plan_of(request)
    retrospectives.run(plan, schedule)
    return time.perf_counter() - begin


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--retrospective", type=int, default=0, help="devices; 0 leaves it out")
    parser.add_argument("--profile", action="store_true", help="compute in this process under a profiler")
    arguments = parser.parse_args()
    with temporary_product():
        fleet = fill(arguments.devices, arguments.days)
        if arguments.profile:
            board(1, profiled=True)
            return
        for workers in (int(number) for number in arguments.workers.split(",")):
            seconds, cells, findings = board(workers)
            print(f"{workers} worker(s): {seconds:.1f} s for {cells} cells, {findings} findings", flush=True)
        if arguments.retrospective:
            seconds = retrospective(fleet, arguments.retrospective)
            print(f"retrospective of {LOOKS} looks at {arguments.retrospective} devices: {seconds:.1f} s")


if __name__ == "__main__":
    main()
