"""How the store talks to PostgreSQL: queries from telemetry/sql, binary results, COPY."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from django.db import connections, router
from django.db.utils import DatabaseErrorWrapper
from numpy.typing import NDArray
from psycopg import sql

from telemetry import columns, histograms
from telemetry.histograms import HistogramRows
from telemetry.models import Context
from telemetry.rollups import Rollups

SQL_DIRECTORY = Path(__file__).resolve().parent.parent / "sql"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# PostgreSQL counts binary times from the year 2000.
_POSTGRES_EPOCH_US = 946_684_800_000_000


@cache
def query(name: str) -> sql.SQL:
    """The query in `telemetry/sql/<name>.sql`, whose {placeholders} are filled with `format`."""
    return sql.SQL((SQL_DIRECTORY / f"{name}.sql").read_text())


@contextmanager
def writing() -> Iterator[psycopg.Cursor]:
    """A binary cursor on the primary, inside whatever transaction Django has open."""
    with _cursor(router.db_for_write(Context)) as cursor:
        yield cursor


@contextmanager
def reading() -> Iterator[psycopg.Cursor]:
    """A binary cursor on the database that serves reads (a replica, where a router names one)."""
    with _cursor(router.db_for_read(Context)) as cursor:
        yield cursor


@contextmanager
def _cursor(alias: str) -> Iterator[psycopg.Cursor]:
    connection = connections[alias]
    # Django's own cursor() opens the connection and checks the transaction's state. It binds in the client, which
    # cannot give binary results, so the query runs on a plain psycopg cursor of the same connection.
    with connection.cursor(), DatabaseErrorWrapper(connection), psycopg.Cursor(connection.connection) as cursor:
        cursor.format = psycopg.pq.Format.BINARY
        yield cursor


def microseconds(moment: datetime) -> int:
    """Microseconds since the epoch."""
    return (moment - EPOCH) // _MICROSECOND


def moment(us: int) -> datetime:
    """The time that many microseconds after the epoch."""
    return EPOCH + timedelta(microseconds=int(us))


def copy_rollups(table: str, rollups: Rollups) -> int:
    """COPY roll-up rows into a tier; returns how many."""
    layout = columns.TABLES[table]
    rows = rollups.rows(layout)
    return copy_rows(table, ((moment(row[0]), *row[1:]) for row in rows))


def copy_rows(table: str, rows: Iterable[Sequence[Any]]) -> int:
    """COPY rows, in the order of telemetry.columns, into a time-series table; returns how many."""
    layout = columns.TABLES[table]
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns.names(layout)))
    )
    written = 0
    with writing() as cursor, cursor.copy(statement) as copy:
        copy.set_types(columns.types(layout))
        for row in rows:
            copy.write_row(row)
            written += 1
    return written


# --- roll-up columns in SQL -----------------------------------------------------------------------------------------


def value_columns(values: Sequence[str], alias: str = "") -> sql.Composed:
    """The value columns as a select list."""
    prefix = [alias] if alias else []
    return sql.SQL(", ").join(sql.Identifier(*prefix, name) for name in values)


def merged_columns(values: Sequence[str], alias: str = "") -> sql.Composed:
    """The value columns merged over a GROUP BY, as `read_rollups` expects them.

    Histograms come end to end with the length of each, and are merged in numpy: eight times as fast as unnest and sum.
    """
    prefix = [alias] if alias else []
    parts: list[sql.Composable] = []
    for name in values:
        column = columns.ROLLUP_VALUE[name]
        identifier = sql.Identifier(*prefix, name)
        match column.merge:
            case "histogram" | "classes":
                parts.append(sql.SQL("string_agg({}, ''::bytea)").format(identifier))
                parts.append(sql.SQL("string_agg(int4send(octet_length({})), ''::bytea)").format(identifier))
            case "sum":
                parts.append(sql.SQL("sum({})::{}").format(identifier, sql.SQL(column.type)))
            case _:
                parts.append(sql.SQL("{}({})").format(sql.SQL(column.merge), identifier))
    return sql.SQL(", ").join(parts)


def single_columns(values: Sequence[str], alias: str = "") -> sql.Composed:
    """The value columns of single rows, in the shape that `read_rollups` expects of merged ones."""
    prefix = [alias] if alias else []
    parts: list[sql.Composable] = []
    for name in values:
        identifier = sql.Identifier(*prefix, name)
        column = columns.ROLLUP_VALUE[name]
        # partial rows hold shorter integers than the tiers
        parts.append(sql.SQL("{}::int8").format(identifier) if column.type == "int8" else identifier)
        if column.merge in ("histogram", "classes"):
            parts.append(sql.SQL("coalesce(octet_length({}), 0)").format(identifier))
    return sql.SQL(", ").join(parts)


def packed_columns(values: Sequence[str]) -> sql.Composed:
    """All rows' value columns as one array each, as `read_packed` expects them.

    A result row then costs a few bytes to append and no object in memory: of thousands of rows, making and sorting
    their values into columns took longer than reading them.
    """
    parts: list[sql.Composable] = []
    for name in values:
        column, identifier = columns.ROLLUP_VALUE[name], sql.Identifier(name)
        if column.merge in ("histogram", "classes"):
            parts.append(packed(identifier))
            parts.append(packed(sql.SQL("int4send(coalesce(octet_length({}), 0))").format(identifier)))
        elif column.type == "int8":
            # partial rows hold shorter integers than the tiers
            parts.append(packed(sql.SQL("int8send({}::int8)").format(identifier)))
        else:
            parts.append(packed(sql.SQL("float8send(coalesce({}::float8, 'NaN'))").format(identifier)))
    return sql.SQL(", ").join(parts)


def packed(expression: sql.Composable) -> sql.Composed:
    """The bytes of an expression of all rows end to end; every such column has the rows in the same order."""
    return sql.SQL("string_agg({}, ''::bytea)").format(expression)


def read_packed(row: tuple, keys: Sequence[str], times: Sequence[str], values: Sequence[str]) -> Rollups:
    """The one row of `count(*)`, packed keys and `packed_columns(values)` as columns in memory.

    Args:
        keys: names of keys, sent by int8send; those of them in `times` by timestamptz_send.
    """
    n_rows, *taken = row
    if not n_rows:
        return Rollups.empty(keys, values)
    packed_ones = iter(taken)
    key_columns = {
        name: np.frombuffer(next(packed_ones), dtype=">i8").astype(np.int64)
        + (_POSTGRES_EPOCH_US if name in times else 0)
        for name in keys
    }
    numbers: dict[str, NDArray] = {}
    merged: dict[str, HistogramRows] = {}
    for name in values:
        column = columns.ROLLUP_VALUE[name]
        if column.merge in ("histogram", "classes"):
            blob, lengths = next(packed_ones) or b"", np.frombuffer(next(packed_ones), dtype=">i4").astype(np.int64)
            decode = histograms.classes_from_blob if column.merge == "classes" else HistogramRows.from_blob
            merged[name] = decode(blob, lengths)
        else:
            kind = np.int64 if column.type == "int8" else np.float64
            numbers[name] = np.frombuffer(next(packed_ones), dtype=np.dtype(kind).newbyteorder(">")).astype(kind)
    return Rollups(key_columns, numbers, merged, n_rows)


def read_rollups(rows: Sequence[tuple], keys: Sequence[str], values: Sequence[str], *, single: bool = False) -> Rollups:
    """Rows of `keys` and `merged_columns(values)`, or `single_columns(values)`, as columns in memory."""
    if not rows:
        return Rollups.empty(keys, values)
    n_rows = len(rows)
    # column by column: zip(*rows) would hold an iterator for each of many thousand rows
    taken = ([row[k] for row in rows] for k in range(len(rows[0])))
    key_columns = {name: _key_column(next(taken)) for name in keys}
    numbers: dict[str, NDArray] = {}
    merged: dict[str, HistogramRows] = {}
    for name in values:
        column = columns.ROLLUP_VALUE[name]
        if column.merge in ("histogram", "classes"):
            merged[name] = _histogram_column(next(taken), next(taken), column.merge, single)
        elif column.type == "int8":
            numbers[name] = np.array(next(taken), dtype=np.int64)
        else:
            # None becomes nan
            numbers[name] = np.array(next(taken), dtype=np.float64)
    return Rollups(key_columns, numbers, merged, n_rows)


def _key_column(values: Sequence) -> NDArray[np.int64]:
    """Keys as integers; times, which come as datetimes or as seconds, in microseconds."""
    if isinstance(values[0], datetime):
        values = [value.timestamp() for value in values]
    if isinstance(values[0], float):
        # exact: a double has microseconds to spare until the year 2242
        return np.rint(np.array(values) * 1e6).astype(np.int64)
    return np.array(values, dtype=np.int64)


def _histogram_column(
    blobs: Sequence[bytes | None], lengths: Sequence[bytes | None] | Sequence[int], merge: str, single: bool
) -> HistogramRows:
    """One merged histogram per result row, from the stored ones of its group end to end."""
    decode = histograms.classes_from_blob if merge == "classes" else HistogramRows.from_blob
    blob = b"".join(filter(None, blobs))
    if single:
        return decode(blob, np.array(lengths, dtype=np.int64))
    per_row = np.array([0 if item is None else len(item) // 4 for item in lengths], dtype=np.int64)
    length = np.frombuffer(b"".join(filter(None, lengths)), dtype=">i4").astype(np.int64)
    return decode(blob, length).regroup(np.repeat(np.arange(per_row.size), per_row), per_row.size)


def execute(cursor: psycopg.Cursor, statement: sql.Composable, parameters: Mapping[str, Any]) -> list[tuple]:
    """Run a query and fetch all of its rows."""
    return cursor.execute(statement, parameters).fetchall()
