"""Reading whole rows of any time-series table, with public names in the place of ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from telemetry import columns
from telemetry.store.connection import execute, query, reading

# What stands in the place of each id: (name of the public column, expression, join that it needs).
_DEVICE = "JOIN fleet_device device ON device.id = source.device_id"
_PLACES = (
    "JOIN fleet_hardwaretarget target ON target.id = {place}.hardware_target_id "
    "JOIN fleet_region region ON region.id = {place}.region_id"
)
_CONTEXT = (
    "LEFT JOIN telemetry_context context ON context.id = source.context_id "
    "LEFT JOIN fleet_workload workload ON workload.id = context.workload_id "
    "LEFT JOIN fleet_release release ON release.id = context.release_id"
)
_CLASS = "LEFT JOIN telemetry_classlabel label ON label.id = source.predicted_class"
_PUBLIC = {
    "device_id": (("device", "device.serial"), ("hardware_target", "target.slug"), ("region", "region.slug")),
    "context_id": (
        ("workload", "workload.slug"),
        ("release", "release.version"),
        ("power_mode", "context.power_mode"),
    ),
    "hardware_target_id": (("hardware_target", "target.slug"),),
    "region_id": (("region", "region.slug"),),
    "predicted_class": (("predicted_class", "label.name"),),
}


@dataclass(frozen=True)
class Rows:
    """Rows of a table as tuples; `names` are the public names of their columns."""

    names: tuple[str, ...]
    rows: list[tuple]


def time_column(table: str) -> str:
    """The name of a table's time column."""
    return columns.TABLES[table][0].name


def row_names(table: str) -> tuple[str, ...]:
    """The public names of a table's columns."""
    return tuple(name for name, _ in _columns(table))


def _columns(table: str) -> list[tuple[str, sql.Composable]]:
    """The public names of a table's columns, and what gives each."""
    chosen: list[tuple[str, sql.Composable]] = []
    for column in columns.TABLES[table]:
        if column.name in _PUBLIC:
            chosen += [(name, sql.SQL(expression)) for name, expression in _PUBLIC[column.name]]
        else:
            chosen.append((column.name, sql.Identifier("source", column.name)))
    return chosen


def export_rows(
    table: str,
    start: datetime,
    end: datetime,
    *,
    device_id: int | None = None,
    context_ids: Sequence[int] | None = None,
    hardware_target_ids: Sequence[int] | None = None,
    region_ids: Sequence[int] | None = None,
) -> Rows:
    """The rows of a table over [start, end), packed histograms as bytes.

    Args:
        device_id: the device, for tables by device; the other places are for tables by cohort.
    """
    present = set(columns.names(columns.TABLES[table]))
    chosen = _columns(table)
    joins = [_DEVICE] if "device_id" in present else []
    joins.append(_PLACES.format(place="device" if "device_id" in present else "source"))
    joins += [_CONTEXT] if "context_id" in present else []
    joins += [_CLASS] if "predicted_class" in present else []
    wanted: dict[str, Any] = {
        "device_id": None if device_id is None else [device_id],
        "context_id": context_ids,
        "hardware_target_id": hardware_target_ids if "hardware_target_id" in present else None,
        "region_id": region_ids if "region_id" in present else None,
    }
    filters = {name: list(ids) for name, ids in wanted.items() if ids is not None and name in present}
    condition = sql.SQL(" AND ").join(
        sql.SQL("source.{} = ANY({}::int4[])").format(sql.Identifier(name), sql.Placeholder(name)) for name in filters
    )
    statement = query("export_rows").format(
        columns=sql.SQL(", ").join(expression for _, expression in chosen),
        table=sql.Identifier(table),
        joins=sql.SQL(" ").join(map(sql.SQL, joins)),
        time=sql.Identifier(time_column(table)),
        filter=condition if filters else sql.SQL("true"),
    )
    with reading() as cursor:
        rows = execute(cursor, statement, {**filters, "start": start, "end": end})
    return Rows(tuple(name for name, _ in chosen), rows)
