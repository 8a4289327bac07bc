"""Reading how the database itself is: version, sizes, connections, and what the ledger took lately."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from telemetry.store.connection import execute, query, writing


@dataclass(frozen=True)
class DatabaseState:
    """The server as it describes itself; `slowest` is the age of the oldest statement that runs, None for none."""

    version: str
    timescale: str | None
    license: str | None
    size: int
    connections: int
    most_connections: int
    slowest: timedelta | None
    clock: datetime


@dataclass(frozen=True)
class TierSize:
    """One hypertable: bytes with indexes, chunks, and where the oldest chunk begins and ends (None without one)."""

    table: str
    size: int | None
    chunks: int
    oldest: datetime | None
    oldest_ends: datetime | None


@dataclass(frozen=True)
class Taken:
    """What the ledger took since a moment."""

    batches: int
    inferences: int
    bytes: int
    devices: int
    newest: datetime | None


def database_state() -> DatabaseState:
    """Ask the database of itself."""
    with writing() as cursor:
        return DatabaseState(*execute(cursor, query("database_state"), {})[0])


def tier_sizes() -> list[TierSize]:
    """Every hypertable, the largest first."""
    with writing() as cursor:
        return [TierSize(*row) for row in execute(cursor, query("tier_sizes"), {})]


def taken_since(since: datetime) -> Taken:
    """What the ledger took since a moment, by time of receipt."""
    with writing() as cursor:
        return Taken(*execute(cursor, query("recent_batches"), {"since": since})[0])
