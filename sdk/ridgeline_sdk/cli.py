"""The `ridgeline` command: enrol a device, send telemetry from a file, ask the device-CI gate."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from . import gate
from .client import Client
from .enroll import Credentials, EnrollmentRefused, enroll
from .recorder import Device
from .spool import Spool, SpoolBusy
from .transport import Transport


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    if not arguments.server:
        print("--server or RIDGELINE_SERVER is needed", file=sys.stderr)
        return 2
    try:
        return arguments.run(arguments)
    except (EnrollmentRefused, SpoolBusy, LookupError, OSError, ValueError) as error:
        print(f"ridgeline: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ridgeline", description=__doc__)
    parser.add_argument("--server", default=os.environ.get("RIDGELINE_SERVER"), help="or RIDGELINE_SERVER")
    commands = parser.add_subparsers(required=True, metavar="enroll|send|gate")

    command = commands.add_parser("enroll", help="trade an enrolment key for a device token")
    command.add_argument("--enrollment-key", default=os.environ.get("RIDGELINE_ENROLLMENT_KEY"))
    command.add_argument("--serial", required=True)
    command.add_argument("--hardware-target", required=True)
    command.add_argument("--region", required=True)
    command.add_argument("--credentials", help="file to save the token in; printed when not given")
    command.set_defaults(run=_enroll)

    command = commands.add_parser("send", help="send inferences, one JSON object per line")
    command.add_argument("file", help="path, or - for standard input")
    command.add_argument("--credentials", help="file saved by enroll")
    command.add_argument("--token", default=os.environ.get("RIDGELINE_DEVICE_TOKEN"))
    command.add_argument("--context", action="append", default=[], metavar="NAME=VALUE", help="workload=…, release=…")
    command.add_argument("--spool", default=":memory:", help="SQLite file that survives an interruption")
    command.add_argument("--timeout", type=float, default=60.0, help="seconds to try")
    command.set_defaults(run=_send)

    command = commands.add_parser("gate", help="submit qualification results; exit 0 pass, 1 fail, 2 no verdict")
    command.add_argument("--token", default=os.environ.get("RIDGELINE_TOKEN"), help="API token, or RIDGELINE_TOKEN")
    command.add_argument("--release", help="id of the release")
    command.add_argument("--workload", help="with --version, instead of --release")
    command.add_argument("--version")
    command.add_argument(
        "--hardware-target", help="judge this one alone; every one that the release supports otherwise"
    )
    command.add_argument("--results", action="append", default=[], help="JSON file: a qualification or a list of them")
    command.set_defaults(run=_gate)
    return parser


def _enroll(arguments: argparse.Namespace) -> int:
    if not arguments.enrollment_key:
        raise ValueError("--enrollment-key or RIDGELINE_ENROLLMENT_KEY is needed")
    transport = Transport(arguments.server)
    credentials = enroll(
        transport, arguments.enrollment_key, arguments.serial, arguments.hardware_target, arguments.region
    )
    if arguments.credentials:
        credentials.save(arguments.credentials)
        print(f"{credentials.device}: {credentials.status}, token saved in {arguments.credentials}")
    else:
        print(json.dumps({"device": credentials.device, "status": credentials.status, "token": credentials.token}))
    return 0


def _send(arguments: argparse.Namespace) -> int:
    """0 when all was taken, 1 when some records were not, 2 when the server could not be reached in time."""
    token = _device_token(arguments)
    context = dict(_pair(text) for text in arguments.context)
    device = Device(Spool(arguments.spool), context, strict=True)
    sent = bad = 0
    with contextlib.nullcontext(sys.stdin) if arguments.file == "-" else open(arguments.file, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line)
                device.record(time_us=_time_us(fields.pop("time", None)), **fields)
                sent += 1
            except (ValueError, TypeError, AttributeError) as error:
                bad += 1
                print(f"line {number}: {error}", file=sys.stderr)
    client = Client(device, Transport(arguments.server), token)
    drained = client.drain(arguments.timeout)
    rejected = client.tally["rejected_records"]
    lost = sum(device.spool.dropped_total().values())
    device.spool.close()
    print(f"{sent} read, {bad} unreadable, {rejected} rejected by the server, {lost} dropped")
    if not drained:
        print(f"not everything was sent: {client.last_error}", file=sys.stderr)
        return 2
    return 1 if bad or rejected or lost else 0


def _gate(arguments: argparse.Namespace) -> int:
    if not arguments.token:
        raise ValueError("--token or RIDGELINE_TOKEN is needed")
    qualifications: list[dict[str, Any]] = []
    for path in arguments.results:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        qualifications += content if isinstance(content, list) else [content]
    transport = Transport(arguments.server)
    release_id = arguments.release
    if not release_id:
        if not (arguments.workload and arguments.version):
            raise ValueError("--release, or --workload and --version, is needed")
        release_id = gate.find_release(transport, arguments.token, arguments.workload, arguments.version)
    result = gate.submit_and_judge(transport, arguments.token, release_id, qualifications, arguments.hardware_target)
    print(f"gate: {result.verdict}")
    for reason in result.reasons:
        print(f"  {reason}")
    return result.exit_code


def _device_token(arguments: argparse.Namespace) -> str:
    if arguments.credentials:
        credentials = Credentials.load(arguments.credentials)
        if credentials is None:
            raise ValueError(f"{arguments.credentials}: no such file")
        return credentials.token
    if not arguments.token:
        raise ValueError("--credentials, --token or RIDGELINE_DEVICE_TOKEN is needed")
    return arguments.token


def _time_us(value: Any) -> int | None:
    """Microseconds since the epoch from the same, or from RFC 3339 text."""
    if not isinstance(value, str):
        return value
    moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"time: needs an offset or Z, got {value!r}")
    return round(moment.timestamp() * 1_000_000)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"--context takes NAME=VALUE, got {text!r}")
    return name, value
