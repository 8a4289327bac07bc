"""Sending batches to the ingest service without HTTP, and reading back what it stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import connection

from fleet.models import Device
from telemetry.services.ingest import Request, receive
from tests.telemetry.envelopes import encode


def send(device: Device, body: dict[str, Any], now: datetime, *, uptime_now_ms: float | None = None) -> dict[str, Any]:
    """The answer to a batch that a device sends at `now`."""
    return receive(
        Request(
            sender=device,
            is_gateway=False,
            body=encode(body),
            encoding="",
            now=now,
            uptime_now_ms=uptime_now_ms,
        )
    )


def rows(table: str, columns: str, order: str = "1") -> list[tuple]:
    """Columns of a time-series table."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {table} ORDER BY {order}")
        return cursor.fetchall()
