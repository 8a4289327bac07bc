"""What pages' queries take on 10,000 devices and 30 days of roll-ups, and whether that grows with the raw traffic.

    python benchmarks/queries.py [--devices 10000] [--days 30] [--repeats 7] [--traffic 1,10] [--pages] [--full]

Makes a database of its own on the server of DATABASE_URL, fills the tiers by COPY, times the selectors that pages call,
and removes it. With `--traffic 1,10` everything is done for a fleet whose devices infer once a second and for one ten
times as busy; the last column is the ratio. `--pages` also times every page, panel and chart whole, see
benchmarks/pages.py. Device hours are written for the newest week, and for all days of a hundred devices; `--full`
writes them for all days of all devices (9 GB for 10,000).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.history import DAY, HOUR, NOW, Fleet, fill, make_fleet
from benchmarks.pages import PageTime, page_times, table_of_pages
from benchmarks.product import temporary_product

BUDGET_MS = 150


# --- questions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """What a page asks; `budgeted` where a page waits for it."""

    page: str
    name: str
    ask: Callable[[], object]
    budgeted: bool = True


def questions(fleet: Fleet) -> list[Question]:
    """The selectors that pages call, as they call them."""
    from fleet.models import Device
    from telemetry.metrics import METRICS
    from telemetry.selectors.adoption import adoption
    from telemetry.selectors.batteries import batteries
    from telemetry.selectors.completeness import completeness
    from telemetry.selectors.device_table import device_rows, latency_sparks, worst_devices
    from telemetry.selectors.distribution_bands import distribution_bands
    from telemetry.selectors.distributions import class_mix, metric_distributions, metric_heatmap
    from telemetry.selectors.energy import energy_by_condition, energy_figures, energy_variation
    from telemetry.selectors.fleet_state import cells
    from telemetry.selectors.gauges import fleet_gauges
    from telemetry.selectors.ingest_health import ingest_health
    from telemetry.selectors.presence import presence
    from telemetry.selectors.regions import region_differences, snapped
    from telemetry.selectors.selection import Selection
    from telemetry.selectors.series import metric_series, series_step
    from telemetry.selectors.summaries import device_summaries, device_summary_windows
    from telemetry.selectors.throttling import throttling
    from telemetry.selectors.timeline import device_timeline
    from telemetry.services.folding import catch_up

    workload = Selection(workload_id=fleet.workload_id)
    one = Selection(device_ids=(int(fleet.device_ids[7]),))
    device = Device.objects.get(pk=one.device_ids[0])

    def series(name: str, length: timedelta, group_by: Sequence[str] = ("release",), selection=workload):
        step = series_step(selection, NOW - length, NOW, now=NOW)
        return lambda: metric_series(
            selection, METRICS[name], start=NOW - length, end=NOW, step=step, group_by=group_by
        )

    def distribution(name: str, length: timedelta, group_by: Sequence[str] = ("release",)):
        return lambda: metric_distributions(workload, METRICS[name], start=NOW - length, end=NOW, group_by=group_by)

    def bands(name: str, length: timedelta):
        metric, span, by = METRICS[name], {"start": NOW - length, "end": NOW}, ("release",)
        return lambda: distribution_bands(
            workload, metric, metric_distributions(workload, metric, **span, group_by=by), **span, group_by=by
        )

    def slow_hours():
        within = (NOW - DAY, NOW)
        region = snapped(
            METRICS["latency"], start=NOW - 3 * HOUR, end=NOW, low=25.0, high=2.0**40, within=within, now=NOW
        )
        return region_differences(workload, METRICS["latency"], region, start=NOW - DAY, end=NOW, now=NOW)

    week = {"start": NOW - 7 * DAY, "end": NOW}
    day = {"start": NOW - DAY, "end": NOW}
    few = fleet.device_ids[:400].tolist()
    return [
        Question("home", "figures by hardware target, 24 h", lambda: cells(workload, **day)),
        Question("home", "online, late, silent", lambda: presence(Device.objects.all(), now=NOW)),
        Question("any", "is anything waiting to be folded", lambda: catch_up(NOW)),
        Question("any", "completeness, 24 h", lambda: completeness(workload, **day)),
        Question("home", "the worst devices", lambda: worst_devices({}, now=NOW, most=8)),
        Question("devices", "50 devices by deviation", lambda: device_rows({}, now=NOW)[:50]),
        Question("devices", "p95 of 50 devices, 24 h", lambda: latency_sparks(few[:50], now=NOW)),
        Question("release", "latency by release, 24 h", series("latency", DAY)),
        Question("release", "latency by release, 2 d", series("latency", 2 * DAY)),
        Question("release", "latency by release, 7 d", series("latency", 7 * DAY)),
        Question("release", "latency by release, 30 d", series("latency", 30 * DAY)),
        Question(
            "release", "latency by release and target, 24 h", series("latency", DAY, ("release", "hardware_target"))
        ),
        Question("release", "confidence ridgeline, 30 d", distribution("confidence", 30 * DAY)),
        Question("release", "adoption, 30 d", lambda: adoption(workload, start=NOW - 30 * DAY, end=NOW, step=DAY)),
        Question(
            "compare",
            "latency ECDF by release and target, 7 d",
            distribution("latency", 7 * DAY, ("release", "hardware_target")),
        ),
        Question("compare", "class mix by release, 7 d", lambda: class_mix(workload, **week, group_by=("release",))),
        Question(
            "explore",
            "latency heatmap, 24 h",
            lambda: metric_heatmap(workload, METRICS["latency"], **day, step=timedelta(minutes=5)),
        ),
        Question("explore", "fallback rate by power mode, 2 d", series("fallback_rate", 2 * DAY, ("power_mode",))),
        Question("explore", "what differs in the slow of 3 h, 24 h", slow_hours),
        Question("explore", "latency ECDF with bands, 24 h", bands("latency", DAY)),
        Question("energy", "throttled minutes, 24 h", lambda: throttling(workload, **day)),
        Question("energy", "batteries, 7 d", lambda: batteries(workload, **week)),
        Question("energy", "figures by power mode, 7 d", lambda: energy_figures(workload, **week)),
        Question("energy", "joules by temperature, 7 d", lambda: energy_by_condition(workload, **week)),
        Question(
            "energy", "variation, 1 h of 50 devices", lambda: energy_variation(workload, start=NOW - HOUR, end=NOW)
        ),
        Question("device", "latency, 24 h", series("latency", DAY, (), one)),
        Question("device", "latency, 30 d", series("latency", 30 * DAY, (), one)),
        Question("device", "timeline, 24 h", lambda: device_timeline(device, **day, step=timedelta(minutes=5))),
        Question("ingest", "health, 24 h", lambda: ingest_health(workload, **day)),
        Question("metrics", "gauges for Prometheus", lambda: fleet_gauges(NOW)),
        Question(
            "evaluation",
            "7 days of 400 devices",
            lambda: device_summaries(few, workload_id=fleet.workload_id, **week),
            budgeted=False,
        ),
        Question(
            "evaluation",
            "100 hourly windows of 400 devices",
            lambda: device_summary_windows(
                few, workload_id=fleet.workload_id, start=NOW - 100 * HOUR, end=NOW, window=HOUR
            ),
            budgeted=False,
        ),
        Question(
            "drift board",
            "7 days of all devices",
            lambda: device_summaries(fleet.device_ids.tolist(), workload_id=fleet.workload_id, **week),
            budgeted=False,
        ),
    ]


def median_ms(ask: Callable[[], object], repeats: int) -> float:
    """Median time of a question after a first answer that fills the caches."""
    ask()
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        ask()
        taken.append(1000 * (time.perf_counter() - begin))
    return statistics.median(taken)


@dataclass(frozen=True)
class Measured:
    """Milliseconds of each question by (page, name), with whether the budget applies; times of whole pages."""

    questions: dict[tuple[str, str], tuple[float, bool]]
    pages: list[PageTime]


def measure(options: argparse.Namespace, rate: int) -> Measured:
    """Fill a database for one traffic, and time every question and every page."""
    with temporary_product():
        return _measured(options, rate)


def _measured(options: argparse.Namespace, rate: int) -> Measured:
    from django.db import connection

    begin = time.perf_counter()
    fleet = make_fleet(options.devices)
    rows = fill(fleet, days=options.days, rate=rate, full=options.full)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        cursor.execute("SELECT pg_database_size(current_database())")
        size = cursor.fetchone()[0]
    told = ", ".join(f"{name} {n:,}" for name, n in rows.items())
    print(f"{rate} inference(s) a second and device: {told}; {size / 1e9:.1f} GB, {time.perf_counter() - begin:.0f} s")
    print(f"load average before measuring: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors", flush=True)
    asked = {
        (question.page, question.name): (median_ms(question.ask, options.repeats), question.budgeted)
        for question in questions(fleet)
    }
    return Measured(asked, page_times(fleet, options.repeats) if options.pages else [])


def main() -> None:
    """Measure every traffic asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--traffic", default="1,10", help="inferences a second and device, with commas")
    parser.add_argument("--pages", action="store_true", help="time whole pages, panels and charts as well")
    parser.add_argument("--full", action="store_true", help="device hours of all devices for all days")
    options = parser.parse_args()
    traffics = [int(rate) for rate in options.traffic.split(",")]
    tasks = [(options, rate) for rate in traffics]
    # a process for each: Django can be set up for one database only
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        measured = pool.starmap(measure, tasks, chunksize=1)
    found = [one.questions for one in measured]
    print(f"\n{options.devices:,} devices, {options.days} days, median of {options.repeats}, milliseconds")
    print(f"{'page':<12}{'question':<44}" + "".join(f"{f'x{rate}':>9}" for rate in traffics) + f"{'ratio':>8}")
    for key, (_, budgeted) in found[0].items():
        values = [result[key][0] for result in found]
        over = "  over the budget" if budgeted and max(values) > BUDGET_MS else ""
        ratio = f"{values[-1] / values[0]:>8.2f}" if len(values) > 1 else ""
        print(f"{key[0]:<12}{key[1]:<44}" + "".join(f"{value:>9.1f}" for value in values) + ratio + over)
    budgeted = [max(r[key][0] for r in found) for key, (_, limited) in found[0].items() if limited]
    within = sum(value <= BUDGET_MS for value in budgeted)
    print(f"\n{within} of {len(budgeted)} pages' questions within {BUDGET_MS} ms")
    if options.pages:
        print(f"\nwhole pages on the server, milliseconds, at x{traffics[-1]} traffic")
        print(table_of_pages(measured[-1].pages))


if __name__ == "__main__":
    main()
