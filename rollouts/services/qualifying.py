"""Writers of device CI: qualifications and calibration results."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from fleet.actors import Actor
from fleet.exceptions import InvalidInput
from fleet.models import HardwareTarget, Release, User
from fleet.services import audit
from rollouts.gate import MEASUREMENTS
from rollouts.models import CalibrationResult, Qualification
from telemetry.histograms import from_otel

# A histogram under this name stands for the quantiles.
HISTOGRAM = "latency_ms"
_QUANTILES = {"latency_p50_ms": 0.50, "latency_p95_ms": 0.95, "latency_p99_ms": 0.99}
_SHARES = frozenset(name for name, unit in MEASUREMENTS.items() if unit == "share")
MAX_OPERATORS = 200


def measurements_from(data: Any) -> dict[str, float]:
    """Measurements as numbers; an exponential histogram of latency becomes its three quantiles.

    Raises `InvalidInput` naming each one that is unknown, not a finite number, negative, or a share above 1.
    """
    if not isinstance(data, Mapping):
        raise InvalidInput({"measurements": "This must be an object of numbers."})
    errors: dict[str, str] = {}
    found: dict[str, float] = {}
    for name, value in data.items():
        place = f"measurements.{name}"
        if name == HISTOGRAM:
            try:
                found |= _quantiles_of(value)
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                errors[place] = f"This is no exponential histogram: {error}"
        elif name not in MEASUREMENTS:
            errors[place] = f"There is no such measurement; known: {', '.join((*MEASUREMENTS, HISTOGRAM))}."
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            errors[place] = "This must be a number."
        elif name in _SHARES and not (-1.0 if name == "accuracy_drop" else 0.0) <= value <= 1.0:
            errors[place] = "This is a share and lies between 0 and 1."
        elif value < 0 and name not in ("accuracy_drop", "temperature_c"):
            errors[place] = "This cannot be negative."
        else:
            found[name] = float(value)
    if errors:
        raise InvalidInput(errors)
    return found


def _quantiles_of(value: Any) -> dict[str, float]:
    histogram = from_otel(
        int(value.get("scale", 5)), int(value["offset"]), list(value["counts"]), int(value.get("zero_count", 0))
    )
    if histogram.count == 0:
        raise ValueError("it is empty")
    return {name: histogram.quantile(p) for name, p in _QUANTILES.items()}


@transaction.atomic
def record_qualification(
    *,
    release: Release,
    hardware_target: HardwareTarget,
    mode: str,
    measurements: Any,
    checks: Mapping[str, bool],
    unsupported_operators: Sequence[str],
    by: User | None,
    actor: Actor,
    now: datetime,
    board: str = "",
    accelerator_revision: str = "",
    precision: str = "",
    source: Mapping[str, Any] | None = None,
) -> Qualification:
    """Keep the result of one hardware-in-the-loop run. Earlier runs stay, and count no more."""
    supported = release.hardware_targets.all()
    if supported and hardware_target not in supported:
        raise InvalidInput({"hardware_target": f"Release {release} is not for {hardware_target.slug}."})
    row = Qualification.objects.create(
        release=release,
        hardware_target=hardware_target,
        mode=mode,
        board=board,
        accelerator_revision=accelerator_revision,
        precision=precision,
        measurements=measurements_from(measurements),
        checks=dict(checks),
        unsupported_operators=sorted(set(unsupported_operators))[:MAX_OPERATORS],
        source=dict(source or {}),
        submitted_by=by,
        created_at=now,
    )
    audit.record(
        actor=actor,
        action="qualification.recorded",
        obj=row,
        now=now,
        new={
            "release": str(release),
            "hardware_target": hardware_target.slug,
            "mode": mode,
            "measurements": row.measurements,
            "checks": row.checks,
            "unsupported_operators": row.unsupported_operators,
        },
    )
    return row


@transaction.atomic
def record_calibration(
    *,
    release: Release,
    calibration_set: str,
    kind: str,
    precision: str,
    samples: int,
    accuracy: float,
    by: User | None,
    actor: Actor,
    now: datetime,
    hardware_target: HardwareTarget | None = None,
    measurements: Mapping[str, float] | None = None,
) -> CalibrationResult:
    """Keep how a release does on one calibration set in one precision."""
    row = CalibrationResult.objects.create(
        release=release,
        hardware_target=hardware_target,
        calibration_set=calibration_set,
        kind=kind,
        precision=precision,
        samples=samples,
        accuracy=accuracy,
        measurements=dict(measurements or {}),
        submitted_by=by,
        created_at=now,
    )
    audit.record(
        actor=actor,
        action="calibration.recorded",
        obj=row,
        now=now,
        new={"set": calibration_set, "precision": precision, "accuracy": accuracy, "samples": samples},
    )
    return row
