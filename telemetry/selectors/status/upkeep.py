"""Are the tiers kept in order? The last retention, audit and rebuild, with what each did."""

from __future__ import annotations

from datetime import datetime, timedelta

from fleet.status import BAD, GOOD, WARN, Line, Section, words_of_seconds
from telemetry.models import MaintenanceRun

# What runs every night, and what is done by hand.
NIGHTLY = (MaintenanceRun.Kind.RETENTION, MaintenanceRun.Kind.AUDIT)
OVERDUE = timedelta(hours=36)
# A run without an end is taken for one that was killed after so long.
KILLED = timedelta(hours=6)


def upkeep(now: datetime) -> Section:
    """The section of the status page."""
    newest = {run.kind: run for run in MaintenanceRun.objects.order_by("kind", "-started_at", "-id").distinct("kind")}
    lines = [run_line(kind, newest.get(kind), now) for kind in MaintenanceRun.Kind]
    return Section("upkeep", "Upkeep of the tiers", lines, None, "Do ledger, raw rows and roll-ups say the same?")


def run_line(kind: MaintenanceRun.Kind, run: MaintenanceRun | None, now: datetime) -> Line:
    """The newest run of a kind; one that is over and one that goes on alike."""
    title = kind.label
    if run is None:
        by_hand = kind not in NIGHTLY
        return Line(title, GOOD, "never needed" if by_hand else "not run yet", "" if by_hand else "it runs at night")
    age = now - run.started_at
    when = f"{words_of_seconds(max(age.total_seconds(), 0))} ago"
    if run.finished_at is None:
        progress = _progress(run)
        if age > KILLED:
            return Line(title, BAD, f"began {when} and never ended", progress, "It was killed; run it again.")
        return Line(title, GOOD, f"runs since {when}", progress)
    note = _result(run)
    if not run.succeeded:
        return Line(title, BAD, f"failed {when}", note, _remedy(kind))
    if kind in NIGHTLY and age > OVERDUE:
        return Line(title, WARN, f"last {when}", note, "It should run every night: see the task scheduler.")
    took = (run.finished_at - run.started_at).total_seconds()
    return Line(
        title, GOOD, when, f"{note}; took {words_of_seconds(took)}" if note else f"took {words_of_seconds(took)}"
    )


def progress_of(run: MaintenanceRun) -> tuple[float, str] | None:
    """How far a run is (share of 1) and what it does, where it says so."""
    share = run.result.get("progress")
    return (float(share), str(run.result.get("doing", ""))) if share is not None else None


def _progress(run: MaintenanceRun) -> str:
    found = progress_of(run)
    return f"{100 * found[0]:.0f} %, {found[1]}".rstrip(", ") if found else ""


def _result(run: MaintenanceRun) -> str:
    """What a run did, in one line."""
    result = run.result
    if "error" in result:
        return str(result["error"])[:200]
    if run.kind == MaintenanceRun.Kind.AUDIT:
        spans = sum(result.get("compared", {}).values())
        found = result.get("n_differences", 0)
        first = f": {result['differences'][0]}" if result.get("differences") else ""
        return f"{spans} spans compared, {found} differences{first}"[:300]
    if run.kind == MaintenanceRun.Kind.RETENTION:
        chunks = sum(len(names) for names in result.get("dropped_chunks", {}).values())
        rows = sum(result.get("deleted_rows", {}).values())
        compressed = result.get("compressed_chunks")
        told = "" if compressed is None else f", {sum(map(len, compressed.values()))} chunks compressed"
        return f"{chunks} chunks dropped, {rows} rows deleted{told}"
    rows = sum(result.get("rows", {}).values())
    return f"{', '.join(result.get('rows', {}))}: {rows:,} rows" if rows else ""


def _remedy(kind: MaintenanceRun.Kind) -> str:
    if kind == MaintenanceRun.Kind.AUDIT:
        return "The tiers disagree: manage.py rebuild_tiers over the days named, then audit again."
    return "See the worker's log, and run it again."
