"""Is the server itself well? Disk, artifact store, version, migrations and clocks."""

from __future__ import annotations

import os
import platform
import shutil
from datetime import datetime
from pathlib import Path

import django
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Sum

from fleet.models import Artifact
from fleet.status import BAD, GOOD, WARN, Line, Section, words_of_bytes, words_of_seconds
from telemetry.store.status import database_state

LOW, VERY_LOW = 0.15, 0.05
SKEW_S, LARGE_SKEW_S = 1.0, 30.0

_all_applied = False


def server(now: datetime) -> Section:
    """The section of the status page."""
    folder = Path(settings.MEDIA_ROOT)
    lines = [_version(), _migrations(), _clock(now), _artifacts(folder), _disk(folder)]
    return Section("server", "Server", lines, None, "Disk, versions and clocks")


def _version() -> Line:
    revision = settings.VERSION
    note = f"Python {platform.python_version()}, Django {django.__version__}"
    return Line("Version", GOOD, f"Ridgeline {revision}", note)


def _migrations() -> Line:
    pending = pending_migrations()
    if pending:
        first = ", ".join(pending[:3])
        return Line("Migrations", BAD, f"{len(pending)} pending", first, "Run manage.py migrate.")
    return Line("Migrations", GOOD, "all applied")


def pending_migrations() -> list[str]:
    """Migrations that the database lacks.

    Once there is none, this process need not look again: its code does not change any more.
    """
    global _all_applied
    if _all_applied:
        return []
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    _all_applied = not plan
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def _clock(now: datetime) -> Line:
    """How far this machine's clock lies from the database's."""
    skew = (database_state().clock - datetime.now(tz=now.tzinfo)).total_seconds()
    state = BAD if abs(skew) > LARGE_SKEW_S else WARN if abs(skew) > SKEW_S else GOOD
    remedy = "Let both machines follow an NTP server: times of receipt come from here." if state != GOOD else ""
    return Line(
        "Clock", state, f"{words_of_seconds(abs(skew))} from the database's", f"{now:%Y-%m-%d %H:%M:%S} UTC", remedy
    )


def _artifacts(folder: Path) -> Line:
    stored = Artifact.objects.exclude(path="").aggregate(n=Sum(1), size=Sum("size"))
    held = f"{stored['n'] or 0} files, {words_of_bytes(stored['size'] or 0)}"
    if not folder.exists():
        if not stored["n"]:
            return Line("Artifact store", GOOD, "empty", str(folder))
        return Line(
            "Artifact store",
            BAD,
            "gone",
            held,
            f"Restore {folder}, or set RIDGELINE_ARTIFACT_DIR to where the files are.",
        )
    if not os.access(folder, os.W_OK):
        return Line(
            "Artifact store", BAD, "not writable", held, f"Give the web server's user the right to write to {folder}."
        )
    return Line("Artifact store", GOOD, held, str(folder))


def _disk(folder: Path) -> Line:
    """The disk of the artifact store; that of the database is on its own machine and shows in its size above."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    usage = shutil.disk_usage(there)
    share = usage.free / usage.total
    state = BAD if share < VERY_LOW else WARN if share < LOW else GOOD
    return Line(
        "Disk",
        state,
        f"{words_of_bytes(usage.free)} free of {words_of_bytes(usage.total)}",
        f"{100 * share:.0f} % free where artifacts are kept",
        "Withdraw releases that nobody needs, shorten the retention, or add disk." if state != GOOD else "",
    )
