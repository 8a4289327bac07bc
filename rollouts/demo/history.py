"""Nine days of history, through the same ingest service that serves devices."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from fleet.models import Device
from rollouts.demo import story
from telemetry import protocol
from telemetry.services.folding import fold
from telemetry.services.ingest import Received, take_batch
from telemetry.simulator import demo as fleet_story
from telemetry.simulator.faults import parse_fault
from telemetry.simulator.fleet import Traits
from telemetry.simulator.history import history

_LIMIT = 10_000


def load(fleet: list[Traits], *, until: datetime, now: datetime, say: Callable[[str], None]) -> int:
    """Store the history of the fleet up to `until`; returns how many batches. The ledger lets none count twice."""
    devices = {device.serial: device for device in Device.objects.filter(serial__in=[row.serial for row in fleet])}
    batches = 0
    for serial, envelope in _envelopes(fleet, until):
        body = json.dumps(envelope).encode()
        batch = protocol.read_batch(body, _LIMIT)
        take_batch(devices[serial], Received(batch, body, len(body), now))
        batches += 1
        if batches % 200 == 0:
            say(f"{batches} batches of history")
    say("folding the history into its tiers")
    fold(now)
    return batches


def _envelopes(fleet: list[Traits], until: datetime) -> Iterator[tuple[str, dict[str, Any]]]:
    change = until - story.OLDER_UNTIL
    raw_since = until - story.RAW_HISTORY
    start = until - story.HISTORY
    faults = [parse_fault(spec, start.timestamp()) for spec in (*fleet_story.FAULTS, *story.HISTORY_FAULTS)]

    def release_at(serial: str, moment: float) -> str:
        """Devices moved from the older release one by one over a day, as rollouts do."""
        delay = timedelta(minutes=20 * (sum(serial.encode()) % 72))
        return story.OLDER if moment < (change + delay).timestamp() else fleet_story.RUNNING

    common = {
        "workload": story.WORKLOAD,
        "release_at": release_at,
        "bill_of_materials": parts_of,
        "faults": faults,
        "seed": fleet_story.SEED,
    }
    yield from history(
        fleet,
        since_s=start.timestamp(),
        until_s=raw_since.timestamp(),
        per_window=story.WINDOW_PER_HOUR,
        form="windows",
        windows_per_envelope=48,
        **common,
    )
    yield from history(
        fleet,
        since_s=_next_hour(raw_since).timestamp(),
        until_s=until.timestamp(),
        per_window=story.RAW_PER_HOUR,
        form="rows",
        windows_per_envelope=24,
        **common,
    )


def parts_of(version: str) -> dict[str, str]:
    """The bill of materials of a release of the story."""
    return story.OLDER_PARTS if version == story.OLDER else fleet_story.bill_of_materials(version)


def _next_hour(moment: datetime) -> datetime:
    """The hour in which a moment lies: windows before it end there."""
    return moment.replace(minute=0, second=0, microsecond=0)
