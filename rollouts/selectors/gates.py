"""Reads of device CI: the runs that count, and the gate that they open or leave closed."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from fleet.models import HardwareTarget, Release
from rollouts.gate import GateResult, GateVerdict, Run, decide_gate
from rollouts.models import CalibrationResult, Qualification
from rollouts.selectors.budgets import bounds_for
from rollouts.versions import is_newer

_ANCHOR = "anchor"
# Usual inputs first, rare ones last.
_KINDS = tuple(CalibrationResult.Set.values)


def current_runs(release: Release, target: HardwareTarget) -> list[Qualification]:
    """The newest qualification per mode, board and accelerator revision."""
    return list(
        Qualification.objects.filter(release=release, hardware_target=target)
        .order_by("mode", "board", "accelerator_revision", "-created_at", "-id")
        .distinct("mode", "board", "accelerator_revision")
    )


def as_run(row: Qualification) -> Run:
    """A stored qualification as the gate reads it."""
    board = " ".join(part for part in (row.board, row.accelerator_revision) if part)
    return Run(row.mode, board, row.measurements, row.checks, tuple(row.unsupported_operators))


def _qualified_releases(release: Release, target: HardwareTarget) -> list[Release]:
    """Older published releases of the workload that have a nominal qualification on the target."""
    rows = Release.objects.filter(
        workload=release.workload_id,
        status__in=[Release.Status.PUBLISHED, Release.Status.WITHDRAWN],
        qualifications__hardware_target=target,
        qualifications__mode=Qualification.Mode.NOMINAL,
    ).distinct()
    return [
        row
        for row in rows
        if row.pk != release.pk and is_newer(release.version, release.created_at, row.version, row.created_at)
    ]


def last_release(release: Release, target: HardwareTarget) -> Release | None:
    """The newest older release that was qualified on the target."""
    found: Release | None = None
    for row in _qualified_releases(release, target):
        if found is None or is_newer(row.version, row.created_at, found.version, found.created_at):
            found = row
    return found


def anchor_release(release: Release, target: HardwareTarget) -> Release | None:
    """The release that creep is measured from.

    The newest one marked `"anchor": true` in its metadata, else the oldest that was qualified on the target.
    """
    rows = sorted(_qualified_releases(release, target), key=lambda row: (row.published_at or row.created_at, row.pk))
    marked = [row for row in rows if row.metadata.get(_ANCHOR) is True]
    if marked:
        return marked[-1]
    return rows[0] if rows else None


def gate_for(release: Release, target: HardwareTarget, now: datetime) -> GateResult:
    """The gate of one hardware target as it stands now."""
    bounds = bounds_for(release, target, now)
    previous, anchor = last_release(release, target), anchor_release(release, target)
    margins = {
        measured: bounds.margins[metric]
        for measured, metric in (
            ("latency_p95_ms", "latency_p95"),
            ("latency_p99_ms", "latency_p99"),
            ("latency_p50_ms", "latency_p50"),
            ("energy_mj", "energy_mean"),
        )
        if metric in bounds.margins
    }
    return decide_gate(
        target.slug,
        [as_run(row) for row in current_runs(release, target)],
        limits=bounds.limits,
        previous=[as_run(row) for row in current_runs(previous, target)] if previous else (),
        previous_version=previous.version if previous else "",
        anchor=[as_run(row) for row in current_runs(anchor, target)] if anchor else (),
        anchor_version=anchor.version if anchor else "",
        waived=bounds.waived,
        margins=margins,
    )


def targets_of(release: Release) -> list[HardwareTarget]:
    """The hardware targets that a release must be qualified on: those it names, else those with a qualification."""
    named = list(release.hardware_targets.order_by("slug"))
    if named:
        return named
    return list(HardwareTarget.objects.filter(qualifications__release=release).distinct().order_by("slug"))


def gate(release: Release, now: datetime, targets: Iterable[HardwareTarget] | None = None) -> dict[str, Any]:
    """The gate of a release over its hardware targets: the worst of them, with every reason.

    `{"release", "verdict": "pass"|"fail"|"missing", "reasons": [str], "targets": [GateResult.to_dict()]}`
    """
    results = [gate_for(release, target, now) for target in (targets_of(release) if targets is None else targets)]
    found = {result.verdict for result in results}
    verdict = next(
        (verdict for verdict in (GateVerdict.FAIL, GateVerdict.MISSING) if verdict in found),
        GateVerdict.PASS if results else GateVerdict.MISSING,
    )
    closing = [
        f"{r.hardware_target}: {text}" for r in results if r.verdict is not GateVerdict.PASS for text in r.reasons
    ]
    reasons = closing or [f"{r.hardware_target}: {text}" for r in results for text in r.reasons]
    return {
        "release": str(release),
        "verdict": str(verdict),
        "reasons": reasons or ["no hardware target has a qualification"],
        "targets": [result.to_dict() for result in results],
    }


def matrix(releases: Iterable[Release]) -> list[dict[str, Any]]:
    """Newest qualifications of releases by board and mode, for the qualification matrix.

    One row per release, hardware target, board, accelerator revision and mode, with its "precision", "measurements",
    "checks", "unsupported_operators", "created_at" and "id".
    """
    rows = (
        Qualification.objects.filter(release__in=list(releases))
        .select_related("release__workload", "hardware_target")
        .order_by("release_id", "hardware_target__slug", "board", "accelerator_revision", "mode", "-created_at", "-id")
        .distinct("release_id", "hardware_target__slug", "board", "accelerator_revision", "mode")
    )
    return [
        {
            "id": row.pk,
            "release": row.release,
            "hardware_target": row.hardware_target,
            "board": row.board,
            "accelerator_revision": row.accelerator_revision,
            "mode": row.mode,
            "precision": row.precision,
            "measurements": row.measurements,
            "checks": row.checks,
            "unsupported_operators": row.unsupported_operators,
            "created_at": row.created_at,
        }
        for row in rows
    ]


def calibration(release: Release) -> list[dict[str, Any]]:
    """Calibration results of a release: one row per set and hardware target, precisions side by side.

    `change` is what quantization did: the accuracy of a precision less that of the most precise one measured.
    """
    rank = {"fp64": 0, "fp32": 1, "tf32": 2, "bf16": 3, "fp16": 3, "fp8": 4, "int16": 4, "int8": 5, "int4": 6}
    cells: dict[tuple[str, str, str], dict[str, CalibrationResult]] = {}
    rows = (
        CalibrationResult.objects.filter(release=release).select_related("hardware_target").order_by("created_at", "id")
    )
    for row in rows:
        target = row.hardware_target.slug if row.hardware_target else ""
        cells.setdefault((row.kind, row.calibration_set, target), {})[row.precision] = row
    found = []
    ordered = sorted(cells.items(), key=lambda item: (_KINDS.index(item[0][0]), item[0]))
    for (kind, name, target), by_precision in ordered:
        precisions = sorted(by_precision, key=lambda precision: (rank.get(precision.lower(), 9), precision))
        reference = by_precision[precisions[0]]
        found.append(
            {
                "calibration_set": name,
                "kind": kind,
                "hardware_target": target or None,
                "precisions": [
                    {
                        "precision": precision,
                        "samples": by_precision[precision].samples,
                        "accuracy": by_precision[precision].accuracy,
                        "change": by_precision[precision].accuracy - reference.accuracy,
                        "measurements": by_precision[precision].measurements,
                    }
                    for precision in precisions
                ],
            }
        )
    return found
