"""`manage.py simulate_fleet`: simulated devices that enrol, push telemetry and install releases over real HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from telemetry.simulator import demo
from telemetry.simulator.faults import NAMES, Fault, parse_fault
from telemetry.simulator.fleet import build_fleet
from telemetry.simulator.hardware import HARDWARE
from telemetry.simulator.live import Habits, enroller
from telemetry.simulator.runner import FleetRunner, Memory, SimulatedTime

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LOOK_EVERY_S, SAY_EVERY_S = 0.5, 10.0


class Command(BaseCommand):
    """Run a simulated fleet until the duration is over or the process is interrupted."""

    help = __doc__
    # It only speaks HTTP: no database is needed, nor any migration.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Options of the fleet, of its devices, and of simulated time."""
        parser.add_argument("--url", default=os.environ.get("RIDGELINE_URL"), help="server, or RIDGELINE_URL")
        parser.add_argument(
            "--enrollment-key", default=os.environ.get("RIDGELINE_ENROLLMENT_KEY"), help="or RIDGELINE_ENROLLMENT_KEY"
        )
        parser.add_argument("--demo", action="store_true", help="the fleet and the faults of the demo's story")
        parser.add_argument("--devices", type=int, help="how many; 30, or the story's")
        parser.add_argument("--targets", default=",".join(HARDWARE), help="hardware targets, comma-separated")
        parser.add_argument("--regions", default="eu-north,us-west", help="regions, comma-separated")
        parser.add_argument("--workload", default=demo.WORKLOAD)
        parser.add_argument(
            "--release", default=demo.RUNNING, help="what devices run until the server wishes otherwise"
        )
        parser.add_argument("--prefix", default="sim", help="first part of the serials")
        parser.add_argument("--seed", type=int, default=demo.SEED)
        parser.add_argument("--rate", type=float, default=2.0, help="inferences per second and device")
        parser.add_argument("--interval", type=float, default=5.0, help="seconds between the batches of a device")
        parser.add_argument("--poll", type=float, default=10.0, help="seconds between questions for the release")
        parser.add_argument("--install-time", type=float, default=20.0, help="seconds that an installation takes")
        parser.add_argument("--install-failure", type=float, default=0.0, help="share of installations that fail")
        parser.add_argument("--download", action="store_true", help="fetch and check the artifacts of a release")
        parser.add_argument(
            "--windows", action="store_true", help="sum inferences up on the device, a minute at a time"
        )
        parser.add_argument("--fault", action="append", default=[], metavar="SPEC", help=_fault_help())
        parser.add_argument("--since", default="0s", help="begin so long ago, e.g. 6h")
        parser.add_argument("--speed", type=float, default=60.0, help="of simulated time until it has caught up")
        parser.add_argument("--duration", help="stop so long after the first enrolment, e.g. 10m")
        parser.add_argument("--threads", type=int, default=4)
        parser.add_argument("--state-dir", type=Path, help="remembers which release each device runs")
        parser.add_argument("--report", type=Path, help="file for what each device says it sent, as JSON, at the end")

    def handle(self, *arguments: Any, **options: Any) -> None:
        """Run the fleet; CommandError when an option makes no sense or no device could be enrolled."""
        for name in ("url", "enrollment_key"):
            if not options[name]:
                raise CommandError(f"--{name.replace('_', '-')} or RIDGELINE_{name.upper()} is needed")
        now_s = timezone.now().timestamp()
        start_s = now_s - _seconds("--since", options["since"])
        runner = self._runner(options, start_s)
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        runner.start()
        lasts_s = _seconds("--duration", options["duration"]) if options["duration"] else None
        self._watch(runner, stop, lasts_s)
        runner.stop()
        self.stdout.write("stopping: what the devices have is sent …")
        runner.join()
        self.stdout.write(runner.summary())
        if options["report"]:
            options["report"].write_text(json.dumps(runner.accounts(), indent=1))
        if runner.refused and not runner.devices:
            raise CommandError(f"no device was enrolled: {next(iter(runner.refused.values()))}")

    def _runner(self, options: dict[str, Any], start_s: float) -> FleetRunner:
        specs = [*(demo.FAULTS if options["demo"] else ()), *options["fault"]]
        faults = [_fault(spec, start_s) for spec in specs]
        if options["demo"]:
            fleet, seed = demo.fleet(options["devices"] or demo.DEVICES), demo.SEED
        else:
            seed = options["seed"]
            targets, regions = options["targets"].split(","), options["regions"].split(",")
            fleet = build_fleet(
                seed, options["devices"] or 30, targets, regions, options["workload"], prefix=options["prefix"]
            )
        habits = Habits(
            workload=options["workload"],
            release=options["release"],
            rate=options["rate"],
            interval_s=options["interval"],
            poll_s=options["poll"],
            install_s=options["install_time"],
            install_failure=options["install_failure"],
            download=options["download"],
            windows=options["windows"],
            bills_of_materials=demo.BILLS_OF_MATERIALS if options["workload"] == demo.WORKLOAD else {},
        )
        try:
            time = SimulatedTime(lambda: timezone.now().timestamp(), start_s, options["speed"])
            return FleetRunner(
                fleet,
                faults,
                habits,
                server=options["url"],
                enroll=enroller(options["enrollment_key"]),
                time=time,
                seed=seed,
                threads=options["threads"],
                memory=Memory(_memory_file(options)),
            )
        except ValueError as error:
            raise CommandError(str(error)) from error

    def _watch(self, runner: FleetRunner, stop: threading.Event, lasts_s: float | None) -> None:
        lived_s = said_s = 0.0
        while runner.working() and (lasts_s is None or lived_s < lasts_s) and not stop.wait(LOOK_EVERY_S):
            lived_s += LOOK_EVERY_S if runner.devices else 0.0
            if lived_s - said_s >= SAY_EVERY_S:
                said_s = lived_s
                self.stdout.write(f"{timezone.now():%H:%M:%S} {runner.summary()}")
                self.stdout.flush()


def _fault_help() -> str:
    keys = "target, release, region, serial, share, from, until, every"
    known = "; ".join(f"{name}: {meaning}" for name, meaning in NAMES.items())
    # argparse reads a percent sign as the start of a format.
    return f"repeatable: NAME[:VALUE][@KEY=VALUE,…], keys {keys}. {known}".replace("%", "%%")


def _fault(spec: str, start_s: float) -> Fault:
    try:
        return parse_fault(spec, start_s)
    except ValueError as error:
        raise CommandError(str(error)) from error


def _seconds(option: str, text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if match is None:
        raise CommandError(f"{option} takes a duration such as 90s, 10m, 6h or 3d, got {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def _memory_file(options: dict[str, Any]) -> Path | None:
    directory = options["state_dir"]
    if directory is None and options["demo"] and os.environ.get("RIDGELINE_DEMO_DIR"):
        directory = Path(os.environ["RIDGELINE_DEMO_DIR"])
    if directory is None:
        return None
    directory.mkdir(parents=True, exist_ok=True)
    return directory / "fleet-releases.json"
