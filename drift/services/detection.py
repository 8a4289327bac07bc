"""Alarms that need no statistics: silence, lost batches, silence after updates, mismatches, fallbacks, throttling.

Each rule is an absolute limit on single devices that must hold on two or more of them, so that looking every minute
raises no false alarm by chance. Changes too small for such a limit are the drift board's business.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.db.models import F, Q

from drift.models import Alarm
from drift.periods import device_period
from drift.services.alarms import Sighting, raise_alarm
from drift.stats.metrics import METRICS
from drift.stats.summaries import metric_values
from fleet.models import Device
from telemetry.models import BatchGap, DeviceLatest
from telemetry.selectors import summaries

MINIMUM_DEVICES = 2
# A device is silent when nothing came for this many of its workload's expected intervals.
SILENT_INTERVALS = 10
SILENT_AT_LEAST = timedelta(minutes=10)
# Devices count for the silence of a cohort only while they were heard from within a day: older ones are known.
SEEN_WITHIN = timedelta(hours=24)
SILENT_SHARE = 0.10
UPDATE_WITHIN = timedelta(hours=2)
# A gap may be filled by a late batch; before this it is a delay, not a loss.
GAP_GRACE = timedelta(minutes=15)
RECENT = timedelta(hours=1)
BASELINE = timedelta(hours=24)
NAMED_DEVICES = 50


@dataclass(frozen=True)
class Threshold:
    """A share that a device must exceed lately while it stayed under `before` in the day before."""

    kind: str
    metric: str
    title: str
    lately: float
    before: float


THRESHOLDS = (
    Threshold(Alarm.Kind.CPU_FALLBACK, "fallback_cpu_rate", "Inferences fall back to the CPU", 0.05, 0.01),
    Threshold(Alarm.Kind.THERMAL_SOAK, "throttled_share", "Devices throttle", 0.20, 0.05),
)


def detect(*, now: datetime) -> list[Alarm]:
    """Apply every rule to the fleet as it is known now; returns the alarms that are new."""
    found = [
        *silent_cohorts(now=now),
        *silent_after_update(now=now),
        *lost_batches(now=now),
        *mismatches(now=now),
        *over_threshold(now=now),
    ]
    return [alarm for alarm, new in (raise_alarm(sighting, now=now) for sighting in found) if new]


def silent_cohorts(*, now: datetime) -> list[Sighting]:
    """Hardware targets of a workload on which at least a tenth of the devices heard from today fell silent."""
    cohorts: dict[tuple[int, int], list[DeviceLatest]] = defaultdict(list)
    for latest in _accepted().filter(last_seen_at__gte=now - SEEN_WITHIN):
        cohorts[latest.workload_id, latest.device.hardware_target_id].append(latest)
    found = []
    for (workload_id, target_id), known in sorted(cohorts.items()):
        silent = [latest for latest in known if _is_silent(latest, now)]
        if len(silent) < max(MINIMUM_DEVICES, SILENT_SHARE * len(known)):
            continue
        target, workload = silent[0].device.hardware_target.slug, silent[0].workload.slug
        found.append(
            Sighting(
                kind=Alarm.Kind.TELEMETRY_GAP,
                severity=Alarm.Severity.CRITICAL if 2 * len(silent) >= len(known) else Alarm.Severity.WARNING,
                summary=f"{len(silent)} of {len(known)} devices on {target} with {workload} fell silent",
                started_at=min(latest.last_seen_at for latest in silent),
                workload_id=workload_id,
                hardware_target_id=target_id,
                metric="silence",
                effect=len(silent) / len(known),
                devices_affected=len(silent),
                evidence={"devices": _serials(silent), "heard_from_within_a_day": len(known)},
            )
        )
    return found


def silent_after_update(*, now: datetime) -> list[Sighting]:
    """Devices whose last word came within two hours of their first record on a release."""
    fresh = _accepted().filter(
        release_since__gte=now - SEEN_WITHIN, last_seen_at__lte=F("release_since") + UPDATE_WITHIN
    )
    groups: dict[tuple[int, int, int], list[DeviceLatest]] = defaultdict(list)
    for latest in fresh:
        if _is_silent(latest, now):
            groups[latest.workload_id, latest.release_id, latest.device.hardware_target_id].append(latest)
    return [
        Sighting(
            kind=Alarm.Kind.SILENT_AFTER_UPDATE,
            severity=Alarm.Severity.CRITICAL,
            summary=(
                f"{len(silent)} devices on {silent[0].device.hardware_target.slug} fell silent "
                f"after the update to {silent[0].workload.slug} {silent[0].release.version}"
            ),
            started_at=min(latest.last_seen_at for latest in silent),
            workload_id=workload_id,
            release_id=release_id,
            hardware_target_id=target_id,
            metric="silence",
            devices_affected=len(silent),
            evidence={"devices": _serials(silent)},
        )
        for (workload_id, release_id, target_id), silent in sorted(groups.items())
        if len(silent) >= MINIMUM_DEVICES
    ]


def lost_batches(*, now: datetime) -> list[Sighting]:
    """Batch numbers that never came and are older than the grace: one alarm per hardware target."""
    groups: dict[int, list[BatchGap]] = defaultdict(list)
    gaps = BatchGap.objects.filter(
        filled_at=None, found_at__lte=now - GAP_GRACE, found_at__gte=now - SEEN_WITHIN
    ).select_related("device__hardware_target")
    for gap in gaps:
        groups[gap.device.hardware_target_id].append(gap)
    found = []
    for target_id, lost in sorted(groups.items()):
        batches = sum(gap.missing_to - gap.missing_from + 1 for gap in lost)
        serials = sorted({gap.device.serial for gap in lost})
        found.append(
            Sighting(
                kind=Alarm.Kind.TELEMETRY_GAP,
                severity=Alarm.Severity.WARNING,
                summary=(
                    f"{batches} batches of {len(serials)} devices on {lost[0].device.hardware_target.slug} never came"
                ),
                started_at=min(gap.after_time or gap.found_at for gap in lost),
                hardware_target_id=target_id,
                metric="lost_batches",
                effect=float(batches),
                devices_affected=len(serials),
                evidence={"devices": serials[:NAMED_DEVICES], "batches": batches},
            )
        )
    return found


def mismatches(*, now: datetime) -> list[Sighting]:
    """Devices that run a release with another part than its bill of materials names; one device is enough."""
    groups: dict[tuple[int, int, int], list[DeviceLatest]] = defaultdict(list)
    contradicting = (
        _accepted()
        .filter(last_seen_at__gte=now - SEEN_WITHIN)
        .exclude(Q(context__mismatches={}) | Q(context__mismatches=[]) | Q(context__mismatches=None))
    )
    for latest in contradicting.select_related("context"):
        groups[latest.workload_id, latest.release_id, latest.device.hardware_target_id].append(latest)
    return [
        Sighting(
            kind=Alarm.Kind.BOM_MISMATCH,
            severity=Alarm.Severity.WARNING,
            summary=(
                f"{len(found)} devices on {found[0].device.hardware_target.slug} run "
                f"{found[0].workload.slug} {found[0].release.version} with other parts than registered"
            ),
            started_at=min(latest.release_since or latest.last_seen_at for latest in found),
            workload_id=workload_id,
            release_id=release_id,
            hardware_target_id=target_id,
            devices_affected=len(found),
            evidence={"devices": _serials(found), "mismatches": found[0].context.mismatches},
        )
        for (workload_id, release_id, target_id), found in sorted(groups.items())
    ]


def over_threshold(*, now: datetime) -> list[Sighting]:
    """Shares that rose above an absolute limit within the last hour on two or more devices."""
    # The newest batch is one indexed row per device; the roll-ups are read for the suspects alone.
    suspects = _accepted().filter(
        Q(fallback_rate__gte=min(rule.lately for rule in THRESHOLDS)) | Q(throttled=True),
        last_seen_at__gte=now - RECENT,
    )
    groups: dict[tuple[int, int, int], list[DeviceLatest]] = defaultdict(list)
    for latest in suspects:
        groups[latest.workload_id, latest.release_id, latest.device.hardware_target_id].append(latest)
    found: list[Sighting] = []
    for key, members in sorted(groups.items()):
        found.extend(_exceeding(key, members, now))
    return found


def _exceeding(key: tuple[int, int, int], members: Sequence[DeviceLatest], now: datetime) -> list[Sighting]:
    """The rules that enough devices of one release on one hardware target exceed."""
    workload_id, release_id, target_id = key
    device_ids = [latest.device_id for latest in members]
    before, lately = (
        device_period(
            summaries.device_summaries(device_ids, workload_id=workload_id, release_ids=None, start=start, end=end)
        )
        for start, end in ((now - RECENT - BASELINE, now - RECENT), (now - RECENT, now))
    )
    found = []
    for rule in THRESHOLDS:
        old, new = metric_values(before, rule.metric), metric_values(lately, rule.metric)
        # A device with no history is judged by the limit alone: what is not known to be old is not excused as old.
        exceeding = (new >= rule.lately) & ~(old >= rule.before)
        hit = [latest for latest, over in zip(members, exceeding, strict=True) if over]
        if len(hit) < MINIMUM_DEVICES:
            continue
        first = hit[0]
        share = float(np.nanmean(new[exceeding]))
        found.append(
            Sighting(
                kind=rule.kind,
                severity=Alarm.Severity.CRITICAL if share >= 0.5 else Alarm.Severity.WARNING,
                summary=(
                    f"{rule.title} on {len(hit)} devices of {first.device.hardware_target.slug} with "
                    f"{first.workload.slug} {first.release.version}: {share:.0%} in the last hour"
                ),
                started_at=now - RECENT,
                workload_id=workload_id,
                release_id=release_id,
                hardware_target_id=target_id,
                metric=rule.metric,
                effect=share
                - float(np.nan_to_num(np.nanmean(old[exceeding])) if np.isfinite(old[exceeding]).any() else 0),
                devices_affected=len(hit),
                evidence={
                    "devices": _serials(hit),
                    "limit": rule.lately,
                    "limit_before": rule.before,
                    "metric": METRICS[rule.metric].title,
                },
            )
        )
    return found


def _accepted():
    return DeviceLatest.objects.filter(device__status=Device.Status.ACCEPTED).select_related(
        "device__hardware_target", "workload", "release"
    )


def _is_silent(latest: DeviceLatest, now: datetime) -> bool:
    patience = max(timedelta(seconds=SILENT_INTERVALS * latest.workload.expected_interval_s), SILENT_AT_LEAST)
    return now - latest.last_seen_at > patience


def _serials(latest: Iterable[DeviceLatest]) -> list[str]:
    """At most fifty serials in order; the count stands beside them."""
    return sorted({row.device.serial for row in latest})[:NAMED_DEVICES]
