"""What the store does for ingest: the ledger, release spans, counters, and COPY of streams built from arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.db import transaction

from telemetry.binary_copy import Field, copy_stream
from telemetry.store.connection import SQL_DIRECTORY, writing


@dataclass(frozen=True, slots=True)
class Booked:
    """A new row of the ledger, and what was known of the device before it."""

    batch_id: int
    previous_context_id: int | None
    previous_event_time: datetime | None


def book_batch(parameters: Mapping[str, Any]) -> Booked | None:
    """Book a batch; None if it is in the ledger already. See book_batch.sql for the parameters.

    Every value travels as text of no declared type. So the statement has one list of types whatever is null or small,
    and stays prepared; otherwise each combination of them would be prepared anew.
    """
    row = _execute("book_batch", {name: _as_text(value) for name, value in parameters.items()}, prepare=True)
    return None if row is None else Booked(*row)


def booked_batch(device_id: int, boot_id: str, batch_seq: int) -> tuple[bytes, dict[str, Any]] | None:
    """Hash and stored answer of a batch in the ledger."""
    return _execute("booked_batch", {"device": device_id, "boot_id": boot_id, "batch_seq": batch_seq})


def touch_device(device_id: int, received_at: datetime) -> None:
    """Note that a device was heard of."""
    _execute("touch_device", {"device": device_id, "received_at": received_at}, rows=False)


def extend_release_span(
    *, device_id: int, workload_id: int, release_id: int, boot_id: str, start: datetime, end: datetime
) -> tuple[datetime, datetime]:
    """Stretch or open the span in which the device ran the release; its first and last time."""
    return _execute(
        "extend_release_span",
        {
            "device": device_id,
            "workload": workload_id,
            "release": release_id,
            "boot_id": boot_id,
            "min_time": start,
            "max_time": end,
        },
    )


def count_up(device_id: int, boot_id: str, time: datetime, values: Mapping[str, float]) -> None:
    """Turn cumulative counters into rows of `counter_rate`."""
    parameters = {
        "device": device_id,
        "boot_id": boot_id,
        "time": time,
        "names": list(values),
        "values": list(values.values()),
    }
    _execute("count_up", parameters, rows=False)


def renew_gaps(now: datetime, since: datetime) -> tuple[int, int]:
    """Bring batch gaps up to date with the ledger; how many were opened and closed.

    Two passes at once would both open the same gap, so the second waits for the first.
    """
    with transaction.atomic():
        _execute("lock_gaps", {}, rows=False)
        return _execute("renew_gaps", {"now": now, "since": since})


def copy_fields(table: str, fields: Sequence[Field], n: int) -> None:
    """COPY n > 0 rows, given as columns, into a table."""
    names, stream = copy_stream(fields, n)
    with writing() as cursor, cursor.copy(_copy_statement(table, tuple(names))) as copy:
        copy.write(stream)


@cache
def _text(name: str) -> str:
    """The query without comments and indentation: psycopg keeps what it parsed only of short queries."""
    lines = (line.strip() for line in (SQL_DIRECTORY / f"{name}.sql").read_text().splitlines())
    return " ".join(line for line in lines if not line.startswith("--"))


@cache
def _copy_statement(table: str, names: tuple[str, ...]) -> str:
    """Table and columns come from telemetry.columns and the models, never from input."""
    return f"COPY {table} ({', '.join(names)}) FROM STDIN (FORMAT BINARY)"


def _as_text(value: Any) -> str | None:
    """A value as PostgreSQL reads it from text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, list):
        return f"{{{','.join(map(str, value))}}}"
    # numbers, booleans and times read back as they print
    return str(value)


def _execute(name: str, parameters: Mapping[str, Any], *, prepare: bool = False, rows: bool = True) -> Any:
    """Run a query; its first row."""
    with writing() as cursor:
        cursor.execute(_text(name), parameters, prepare=prepare or None)
        return cursor.fetchone() if rows else None
