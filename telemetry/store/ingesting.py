"""What the store does for ingest: the ledger, release spans, counters, and COPY of streams built from arrays."""

from __future__ import annotations

import json
import re
import select
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
import psycopg
from django.conf import settings
from django.db import connections, router, transaction
from django.db.utils import DatabaseErrorWrapper
from psycopg import pq

from telemetry.binary_copy import Field, copy_stream
from telemetry.models import Context
from telemetry.store.connection import SQL_DIRECTORY

_PLACEHOLDER = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True, slots=True)
class SenderRow:
    """A token and the device that it belongs to."""

    kind: str
    secret_hmac: bytes
    pepper_version: int
    device_id: int
    serial: str


@dataclass(frozen=True, slots=True)
class Booked:
    """A new row of the ledger, and what was known of the device before it."""

    batch_id: int
    previous_context_id: int | None
    previous_event_us: int | None


def find_senders(key_ids: Sequence[str], now: datetime, *, noted_since: datetime) -> dict[str, SenderRow]:
    """What is known of the live tokens of accepted devices among these, by the tokens' ids.

    Without those whose use was not noted since that time.
    """
    rows = _fetch("find_senders", {"key_ids": list(key_ids), "now": now, "noted_since": noted_since})
    return {key_id: SenderRow(*row) for key_id, *row in rows}


@contextmanager
def batch_transaction() -> Iterator[None]:
    """A transaction, begun and ended with less ado than Django's `atomic`; inside another one, a part of it.

    Django must not be asked to call something on commit in it, for where it is the outermost it knows nothing of it.
    """
    connection = connections[router.db_for_write(Context)]
    if connection.in_atomic_block:
        with transaction.atomic(connection.alias):
            yield
        return
    connection.ensure_connection()
    pgconn = connection.connection.pgconn
    with DatabaseErrorWrapper(connection):
        # A database this slow is as good as away: the device is asked to come again, before it gives up by itself.
        _feed(pgconn, b"BEGIN; SET LOCAL statement_timeout = %d" % round(1000 * settings.INGEST_DB_TIMEOUT))
        try:
            yield
            # `copy_tables` may have committed
            if pgconn.transaction_status != pq.TransactionStatus.IDLE:
                _feed(pgconn, b"COMMIT")
        except BaseException:
            if pgconn.status == pq.ConnStatus.OK and pgconn.transaction_status != pq.TransactionStatus.IDLE:
                _feed(pgconn, b"ROLLBACK")
            raise


def book_batches(batches: Sequence[Mapping[str, Any]]) -> list[Booked | None]:
    """Book batches of distinct devices, in the order of the devices; None for each that is in the ledger already.

    They travel as one JSON text, so the statement stays prepared whatever is null. See book_batches.sql for the names.
    """
    sent = [{"place": place, **batch} for place, batch in enumerate(batches)]
    booked: list[Booked | None] = [None] * len(sent)
    for place, *found in _fetch("book_batches", {"batches": msgspec.json.encode(sent).decode()}):
        booked[place] = Booked(*found)
    return booked


def repeat_batch(device_id: int, boot_id: str, batch_seq: int, sha256: bytes) -> tuple[bytes, dict[str, Any]] | None:
    """Hash and stored answer of a batch in the ledger; the repetition is counted where the hash agrees."""
    row = _execute("repeat_batch", {"device": device_id, "boot_id": boot_id, "batch_seq": batch_seq, "sha256": sha256})
    return None if row is None else (bytes(row[0]), json.loads(row[1]))


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


def renew_gaps(now: datetime, since: datetime) -> tuple[int, int]:
    """Bring batch gaps up to date with the ledger; how many were opened and closed.

    Two passes at once would both open the same gap, so the second waits for the first.
    """
    with transaction.atomic():
        _execute("lock_gaps", {}, rows=False)
        return _execute("renew_gaps", {"now": now, "since": since})


def copy_tables(tables: Sequence[tuple[str, Sequence[Field], int]], *, and_commit: bool = False) -> None:
    """COPY rows, given as columns, into one table after the other: (table, its fields, n > 0 rows) each.

    All COPY statements go to the server as one query and are fed in turn, through libpq itself: of a small batch's time
    the better part would otherwise be spent between the statements. With `and_commit` the COMMIT of `batch_transaction`
    goes along as well, so nothing may follow.
    """
    streams = [(table, *copy_stream(fields, n)) for table, fields, n in tables]
    if not streams:
        return
    connection = connections[router.db_for_write(Context)]
    statements = [_copy_statement(table, tuple(names)) for table, names, _ in streams]
    if and_commit and not connection.in_atomic_block:
        statements.append("COMMIT")
    with DatabaseErrorWrapper(connection):
        _feed(connection.connection.pgconn, "; ".join(statements).encode(), [stream for _, _, stream in streams])


def _feed(pgconn: pq.abc.PGconn, statements: bytes, streams: Sequence[bytes] = ()) -> None:
    """Run statements; those that are COPYs get the streams in turn."""
    pgconn.send_query(statements)
    waiting = iter(streams)
    failed = None
    while (result := _result(pgconn)) is not None:
        if result.status == pq.ExecStatus.COPY_IN:
            pgconn.put_copy_data(next(waiting))
            pgconn.put_copy_end()
        elif result.status != pq.ExecStatus.COMMAND_OK:
            failed = result
    if failed is not None:
        raise psycopg.errors.error_from_result(failed)


def _result(pgconn: pq.abc.PGconn) -> pq.abc.PGresult | None:
    """The next result. Waits on the socket: libpq's own waiting would keep every other thread from running."""
    socket = select.poll()
    while pgconn.flush():
        socket.register(pgconn.socket, select.POLLIN | select.POLLOUT)
        if socket.poll()[0][1] & select.POLLIN:
            pgconn.consume_input()
    socket.register(pgconn.socket, select.POLLIN)
    while pgconn.is_busy():
        socket.poll()
        pgconn.consume_input()
    return pgconn.get_result()


@cache
def _statement(name: str) -> tuple[str, tuple[str, ...]]:
    """The query with numbered placeholders, as the server takes it, and the parameters' names in that order.

    Without comments and indentation. psycopg would parse a query as long as book_batches anew each time.
    """
    lines = (line.strip() for line in (SQL_DIRECTORY / f"{name}.sql").read_text().splitlines())
    text = " ".join(line for line in lines if not line.startswith("--"))
    names = tuple(dict.fromkeys(_PLACEHOLDER.findall(text)))
    number = {key: f"${place}" for place, key in enumerate(names, 1)}
    return _PLACEHOLDER.sub(lambda match: number[match[1]], text), names


@cache
def _copy_statement(table: str, names: tuple[str, ...]) -> str:
    """Table and columns come from telemetry.columns and the models, never from input."""
    return f"COPY {table} ({', '.join(names)}) FROM STDIN (FORMAT BINARY)"


def _fetch(name: str, parameters: Mapping[str, Any]) -> list[tuple]:
    """Run a query that is prepared on first use; its rows."""
    connection = connections[router.db_for_write(Context)]
    connection.ensure_connection()
    text, names = _statement(name)
    # Django's own cursor binds parameters in the client, so its statements cannot be prepared.
    with DatabaseErrorWrapper(connection), psycopg.RawCursor(connection.connection) as cursor:
        return cursor.execute(text, [parameters[name] for name in names], prepare=True).fetchall()


def _execute(name: str, parameters: Mapping[str, Any], *, rows: bool = True) -> Any:
    """Run a query that is not for each batch; its first row."""
    connection = connections[router.db_for_write(Context)]
    connection.ensure_connection()
    text, names = _statement(name)
    with DatabaseErrorWrapper(connection), psycopg.RawCursor(connection.connection) as cursor:
        cursor.execute(text, [parameters[name] for name in names])
        return cursor.fetchone() if rows else None
