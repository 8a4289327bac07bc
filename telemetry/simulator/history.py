"""What a fleet would have sent in days past: protocol envelopes, cheap because an hour is one window."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from telemetry.histograms import SCALE, UNIT_BINS, index_of, unit_index_of
from telemetry.simulator.context import context_of
from telemetry.simulator.engine import DeviceModel, Step
from telemetry.simulator.faults import Fault
from telemetry.simulator.fleet import Traits, device_rng

SCHEMA = "ridgeline.telemetry/1"
_HISTORY = 2  # the purpose of the random stream, apart from the live fleet's
_NAMESPACE = uuid.UUID("5b0c7d0a-6f0e-4a53-9a52-7f2f0f1a9d01")
# Envelopes of the protocol hold at most this many inferences.
MAX_ROWS = 5000


def history(
    fleet: Sequence[Traits],
    *,
    workload: str,
    release_at: Callable[[str, float], str],
    bill_of_materials: Callable[[str], Mapping[str, str]],
    faults: Sequence[Fault] = (),
    since_s: float,
    until_s: float,
    seed: int,
    window_s: float = 3600.0,
    per_window: int = 600,
    form: Literal["windows", "rows"] = "windows",
    windows_per_envelope: int = 24,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Serial and envelope, device by device in order of time, over [since_s, until_s).

    Args:
        fleet: the devices.
        workload: what they run.
        release_at: release that a serial runs at a time.
        bill_of_materials: parts of a release by version.
        faults: as for the live fleet; a device that is offline sends later all the same, one that is silent does not.
        since_s, until_s: seconds since the epoch; the first window begins at a whole multiple of `window_s`.
        seed: of the fleet.
        window_s: at most an hour, the longest that the server takes.
        per_window: inferences per device and window.
        form: "windows" sends sums and histograms, "rows" every inference (role complete).
        windows_per_envelope: how many windows travel together.
    """
    if not 0 < window_s <= 3600:
        raise ValueError(f"window_s must lie between 0 and 3600, got {window_s}")
    if form == "rows":
        windows_per_envelope = min(windows_per_envelope, MAX_ROWS // per_window)
        if windows_per_envelope < 1:
            raise ValueError(f"per_window must be at most {MAX_ROWS} for rows, got {per_window}")
    start_s = -(-since_s // window_s) * window_s
    for traits in fleet:
        yield from _device_history(
            traits,
            workload,
            release_at,
            bill_of_materials,
            DeviceModel(
                traits, faults, release_at(traits.serial, start_s), start_s, device_rng(seed, traits.serial, _HISTORY)
            ),
            np.arange(start_s, until_s - window_s + 1e-6, window_s),
            window_s,
            per_window,
            form,
            windows_per_envelope,
        )


def _device_history(
    traits: Traits,
    workload: str,
    release_at: Callable[[str, float], str],
    bill_of_materials: Callable[[str], Mapping[str, str]],
    model: DeviceModel,
    starts: NDArray[np.float64],
    window_s: float,
    per_window: int,
    form: str,
    windows_per_envelope: int,
) -> Iterator[tuple[str, dict[str, Any]]]:
    if not len(starts):
        return
    boot_id = str(uuid.uuid5(_NAMESPACE, f"{traits.serial}|{starts[0]}|{form}"))
    envelope: dict[str, Any] = {}
    batch_seq = held = 0
    for start_s in starts:
        release = release_at(traits.serial, float(start_s))
        if held and (held == windows_per_envelope or release != model.release):
            yield traits.serial, envelope
            held = 0
        booted = []
        if release != model.release:
            model.release = release
            booted = [model.boot(float(start_s))]
        end_s = float(start_s) + window_s
        step = model.step(end_s, per_window)
        if step.effects.silent:
            continue
        if held == 0:
            batch_seq += 1
            context = context_of(traits, workload, release, bill_of_materials(release))
            envelope = _head(boot_id, batch_seq, context, form)
        held += 1
        envelope["sent_at"] = datetime.fromtimestamp(end_s + 5.0, UTC).isoformat().replace("+00:00", "Z")
        envelope["uptime_ms"] = round((end_s + 5.0 - model.booted_s) * 1000)
        envelope["states"].append({"time": round(end_s * 1e6), **_rounded(step.state)})
        for event in [*booted, *step.events]:
            event_id = uuid.uuid5(_NAMESPACE, f"{traits.serial}|{event.type}|{event.time_s}")
            envelope["events"].append(
                {
                    "id": str(event_id),
                    "time": round(event.time_s * 1e6),
                    "type": event.type,
                    "severity": event.severity,
                    "detail": dict(event.detail),
                }
            )
        if form == "rows":
            _append_columns(envelope["inferences"], columns_of(step))
        else:
            envelope["windows"].append(window_of(step, float(start_s), end_s))
    if held:
        yield traits.serial, envelope


def _head(boot_id: str, batch_seq: int, context: Mapping[str, str], form: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "boot_id": boot_id,
        "batch_seq": batch_seq,
        "clock": {"synced": True, "source": "ntp", "error_ms": 5},
        "context": dict(context),
        "dropped": {"inferences": 0, "windows": 0, "events": 0},
        "events": [],
        "states": [],
        **({"inferences": {}} if form == "rows" else {"inferences_role": "sample", "windows": []}),
    }


def columns_of(step: Step) -> dict[str, list[Any]]:
    """The step's inferences as the protocol's columns, rounded as a device would."""
    columns: dict[str, list[Any]] = {"time": np.rint(step.time_s * 1e6).astype(np.int64).tolist()}
    for name, values in step.columns.items():
        columns[name] = (np.round(values, 4) if values.dtype.kind == "f" else values).tolist()
    return {**columns, **step.labels}


def window_of(step: Step, start_s: float, end_s: float) -> dict[str, Any]:
    """The step's inferences as one window of the protocol."""
    window: dict[str, Any] = {
        "start": round(start_s * 1e6),
        "end": round(end_s * 1e6),
        "count": len(step),
        "throttled_ms": round((end_s - start_s) * 1000.0 * float(step.columns["throttled"].mean())) if len(step) else 0,
        "idle_energy_mj": step.idle_energy_mj,
        "outcomes": _counts(step.labels["outcome"], "ok"),
        "fallbacks": _counts(step.labels["fallback"], "none"),
        "classes": _counts(step.labels["predicted_class"]),
    }
    if len(step):
        for name in ("latency_ms", "energy_mj"):
            window[name] = _exponential(step.columns[name])
        for name in ("confidence", "input_quality"):
            values = step.columns[name]
            counts = np.bincount(unit_index_of(values), minlength=UNIT_BINS)
            window[name] = {"counts": counts.tolist(), "sum": float(values.sum())}
    return window


def _exponential(values: NDArray[np.float64]) -> dict[str, Any]:
    index = index_of(values)
    offset = int(index.min())
    return {
        "scale": SCALE,
        "offset": offset,
        "counts": np.bincount(index - offset).tolist(),
        "zero_count": 0,
        "sum": float(values.sum()),
        "min": float(values.min()),
        "max": float(values.max()),
    }


def _counts(names: list[str], without: str | None = None) -> dict[str, int]:
    return {name: count for name, count in Counter(names).items() if name != without}


def _append_columns(columns: dict[str, list[Any]], more: dict[str, list[Any]]) -> None:
    for name, values in more.items():
        columns.setdefault(name, []).extend(values)


def _rounded(state: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in state.items()}
