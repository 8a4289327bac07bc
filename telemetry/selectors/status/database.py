"""Is the database well? Reachable, of the right kind, with room, and with its tiers as old as they should be."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from django.db import connection

from fleet.status import BAD, GOOD, WARN, Line, Section, Table, words_of_bytes, words_of_seconds
from telemetry.services.retention import TABLES, horizon
from telemetry.store.status import DatabaseState, TierSize, database_state, tier_sizes

SLOW_S = 0.1
LONG_STATEMENT = timedelta(minutes=5)
CROWDED = 0.8
# Retention drops chunks that lie wholly before the horizon, once a day.
SLACK = timedelta(days=2)


def database(now: datetime) -> Section:
    """The section of the status page."""
    began = time.perf_counter()
    state = database_state()
    took = time.perf_counter() - began
    tiers = tier_sizes()
    lines = [_answers(took), _version(state), _connections(state), *_pool(), _statements(state), _kept(tiers, now)]
    rows = [
        (
            tier.table,
            words_of_bytes(tier.size) if tier.size is not None else "–",
            str(tier.chunks),
            f"{tier.oldest:%Y-%m-%d}" if tier.oldest else "–",
            _kept_for(tier.table, now),
        )
        for tier in tiers
    ]
    columns = ("Tier", "Size", "Chunks", "Oldest chunk", "Kept for")
    return Section("database", "Database", lines, Table(columns, rows, numeric=(1, 2)), "Reachable, with room to work?")


def _answers(seconds: float) -> Line:
    state = GOOD if seconds < SLOW_S else WARN
    return Line(
        "Answers",
        state,
        f"in {words_of_seconds(seconds)}",
        remedy="" if state == GOOD else "Look at the load of the database's machine and at long statements.",
    )


def _version(state: DatabaseState) -> Line:
    size = words_of_bytes(state.size)
    if state.timescale is None:
        return Line(
            "Version",
            BAD,
            f"PostgreSQL {state.version}, no TimescaleDB",
            size,
            "CREATE EXTENSION timescaledb, then migrate.",
        )
    edition = "Apache edition" if state.license == "apache" else "Community edition"
    return Line(
        "Version", GOOD, f"PostgreSQL {state.version}, TimescaleDB {state.timescale} ({edition})", f"{size} in all"
    )


def _connections(state: DatabaseState) -> Line:
    crowded = state.connections > CROWDED * state.most_connections
    return Line(
        "Connections",
        WARN if crowded else GOOD,
        f"{state.connections} of {state.most_connections}",
        remedy="Raise max_connections, or put PgBouncer in front." if crowded else "",
    )


def _pool() -> list[Line]:
    """The connection pool of the process that answers; without a pool there is nothing to say."""
    pool = getattr(connection, "pool", None)
    if pool is None:
        return []
    stats = pool.get_stats()
    used, most = stats.get("pool_size", 0) - stats.get("pool_available", 0), stats.get("pool_max", 0)
    waiting, errors = stats.get("requests_waiting", 0), stats.get("requests_errors", 0)
    state = BAD if waiting and used >= most else WARN if errors else GOOD
    note = f"{waiting} requests wait" if waiting else ""
    if errors:
        note = f"{errors} requests were answered 503 for want of a connection since this process began"
    remedy = "Raise RIDGELINE_DB_POOL, or find what holds connections." if state != GOOD else ""
    return [Line("Pool of this web process", state, f"{used} of {most} in use", note, remedy)]


def _statements(state: DatabaseState) -> Line:
    if state.slowest is None or state.slowest < LONG_STATEMENT:
        return Line(
            "Longest statement", GOOD, words_of_seconds(state.slowest.total_seconds()) if state.slowest else "none runs"
        )
    return Line(
        "Longest statement",
        WARN,
        words_of_seconds(state.slowest.total_seconds()),
        remedy="Look it up in pg_stat_activity; a rebuild or an export may take long, a page may not.",
    )


def _kept(tiers: list[TierSize], now: datetime) -> Line:
    """Whether retention keeps up: no tier has a chunk that should be gone."""
    overdue = [
        tier.table
        for tier in tiers
        if tier.oldest_ends is not None
        and tier.table in TABLES
        and tier.oldest_ends < horizon(TABLES[tier.table], now) - SLACK
    ]
    if overdue:
        return Line(
            "Retention keeps up",
            WARN,
            "no",
            f"older than they are kept: {', '.join(overdue)}",
            "See whether “drop chunks past their retention” runs, below.",
        )
    total = sum(tier.size or 0 for tier in tiers)
    return Line(
        "Retention keeps up",
        GOOD,
        "yes",
        f"{words_of_bytes(total)} of time series in {sum(t.chunks for t in tiers)} chunks",
    )


def _kept_for(table: str, now: datetime) -> str:
    return f"{(now - horizon(TABLES[table], now)).days} d" if table in TABLES else "ever"
