"""Alarms that need no statistics: silence, lost batches, silence after updates, mismatches, fallbacks, throttling.

Each rule is an absolute limit on single devices, so that looking every minute raises no false alarm by chance. What
noise can bring about must hold on two or more devices; a lost batch and a wrong part are facts on one. Changes too
small for such a limit are the drift board's business.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db.models import Q, QuerySet
from numpy.typing import NDArray
from scipy import stats

from drift.models import Alarm, Label
from drift.periods import device_period
from drift.selectors.accuracy import ReleaseAccuracy, accuracy_by_release, signal_between
from drift.services.alarms import Sighting, raise_alarm
from drift.services.concentration import concentration
from drift.stats.metrics import METRICS
from drift.stats.proportions import wilson
from drift.stats.summaries import metric_values
from fleet.models import Device, Workload
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
LABELS_WITHIN = timedelta(days=30)


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
    return _raised(found, now)


def detect_accuracy(*, now: datetime) -> list[Alarm]:
    """Compare releases by their labels, once a day; returns the alarms that are new."""
    return _raised(accuracy_drops(now=now), now)


def _raised(found: Iterable[Sighting], now: datetime) -> list[Alarm]:
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
            _on_a_share(
                _ids(silent),
                _ids(known),
                kind=Alarm.Kind.TELEMETRY_GAP,
                severity=Alarm.Severity.CRITICAL if 2 * len(silent) >= len(known) else Alarm.Severity.WARNING,
                summary=f"{len(silent)} of {len(known)} devices on {target} with {workload} fell silent",
                started_at=min(latest.last_seen_at for latest in silent),
                workload_id=workload_id,
                hardware_target_id=target_id,
                metric="silence",
                evidence={"devices": _serials(silent), "heard_from_within_a_day": len(known)},
            )
        )
    return found


def silent_after_update(*, now: datetime) -> list[Sighting]:
    """Devices whose last word came within two hours of their first record on a release."""
    found = []
    recent = _accepted().filter(release_since__gte=now - SEEN_WITHIN)
    for (workload_id, release_id, target_id), updated in _by_release_and_target(recent):
        silent = [
            latest
            for latest in updated
            if latest.last_seen_at <= latest.release_since + UPDATE_WITHIN and _is_silent(latest, now)
        ]
        if len(silent) < MINIMUM_DEVICES:
            continue
        found.append(
            _on_a_share(
                _ids(silent),
                _ids(updated),
                kind=Alarm.Kind.SILENT_AFTER_UPDATE,
                severity=Alarm.Severity.CRITICAL,
                summary=(
                    f"{len(silent)} of {len(updated)} devices on {silent[0].device.hardware_target.slug} fell silent "
                    f"after the update to {silent[0].workload.slug} {silent[0].release.version}"
                ),
                started_at=min(latest.last_seen_at for latest in silent),
                workload_id=workload_id,
                release_id=release_id,
                hardware_target_id=target_id,
                metric="silence",
                evidence={"devices": _serials(silent), "updated_within_a_day": len(updated)},
            )
        )
    return found


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
        devices = {gap.device_id for gap in lost}
        heard = set(
            _accepted()
            .filter(last_seen_at__gte=now - SEEN_WITHIN, device__hardware_target_id=target_id)
            .values_list("device_id", flat=True)
        )
        found.append(
            _on_a_share(
                devices,
                heard | devices,
                kind=Alarm.Kind.TELEMETRY_GAP,
                severity=Alarm.Severity.WARNING,
                summary=(
                    f"{batches} batches of {len(serials)} devices on {lost[0].device.hardware_target.slug} never came"
                ),
                started_at=min(gap.after_time or gap.found_at for gap in lost),
                hardware_target_id=target_id,
                metric="lost_batches",
                evidence={"devices": serials[:NAMED_DEVICES], "batches": batches},
            )
        )
    return found


def mismatches(*, now: datetime) -> list[Sighting]:
    """Devices that run a release with another part than its bill of materials names; one device is enough."""
    heard = _accepted().filter(last_seen_at__gte=now - SEEN_WITHIN)
    contradicting = heard.exclude(
        Q(context__mismatches={}) | Q(context__mismatches=[]) | Q(context__mismatches=None)
    ).select_related("context")
    found = []
    for (workload_id, release_id, target_id), wrong in _by_release_and_target(contradicting):
        known = heard.filter(
            workload_id=workload_id, release_id=release_id, device__hardware_target_id=target_id
        ).values_list("device_id", flat=True)
        found.append(
            _on_a_share(
                _ids(wrong),
                set(known),
                kind=Alarm.Kind.BOM_MISMATCH,
                severity=Alarm.Severity.WARNING,
                summary=(
                    f"{len(wrong)} of {len(known)} devices on {wrong[0].device.hardware_target.slug} run "
                    f"{wrong[0].workload.slug} {wrong[0].release.version} with other parts than registered"
                ),
                started_at=min(latest.release_since or latest.last_seen_at for latest in wrong),
                workload_id=workload_id,
                release_id=release_id,
                hardware_target_id=target_id,
                metric="mismatch",
                evidence={"devices": _serials(wrong), "mismatches": wrong[0].context.mismatches},
            )
        )
    return found


def over_threshold(*, now: datetime) -> list[Sighting]:
    """Shares that rose above an absolute limit within the last hour on two or more devices."""
    # The newest batch is one indexed row per device; the roll-ups are read for the suspects alone.
    suspects = _accepted().filter(
        Q(fallback_rate__gte=min(rule.lately for rule in THRESHOLDS)) | Q(throttled=True),
        last_seen_at__gte=now - RECENT,
    )
    found: list[Sighting] = []
    for key, members in _by_release_and_target(suspects):
        found.extend(_exceeding(key, members, now))
    return found


def accuracy_drops(*, now: datetime) -> list[Sighting]:
    """Workloads whose newest labelled release is shown to be right less often than the one before it.

    From labels drawn at random within thirty days; both intervals must part by more than the tolerated drop.
    """
    found = []
    for workload in Workload.objects.all():
        span = {"start": now - LABELS_WITHIN, "end": now}
        labelled = [row for row in accuracy_by_release(workload, **span) if row.random is not None]
        if len(labelled) < 2:
            continue
        newer, older = labelled[0], labelled[1]
        signal = signal_between(older, newer)
        if signal["signal"] != "retrain":
            continue
        first = Label.objects.filter(release=newer.release, time__gte=span["start"]).earliest("time").time
        found.append(
            Sighting(
                kind=Alarm.Kind.ACCURACY_DROP,
                severity=Alarm.Severity.WARNING,
                summary=f"Accuracy of {workload.slug} fell with {newer.release.version}: {signal['reason']}",
                started_at=first,
                workload_id=workload.pk,
                release_id=newer.release.pk,
                metric="accuracy",
                effect=newer.random.estimate - older.random.estimate,
                # both intervals hold at once, so their ends bound the difference
                lower=newer.random.lower - older.random.upper,
                upper=newer.random.upper - older.random.lower,
                devices_affected=newer.random.devices,
                evidence={"before": older.to_dict(), "now": newer.to_dict()},
                attribution=_accuracy_by_target(older, newer),
            )
        )
    return found


def _accuracy_by_target(older: ReleaseAccuracy, newer: ReleaseAccuracy) -> dict[str, Any]:
    """How accuracy changed on each hardware target that has labels of both releases."""
    readings = [
        {
            "cause": "hardware target",
            "words": f"{slug}: {found.estimate:.1%} after {older.targets[slug].estimate:.1%}",
            "share": None,
        }
        for slug, found in sorted(newer.targets.items())
        if slug in older.targets
    ]
    return {"readings": readings, "caveat": "By hardware target, from labels drawn at random."}


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
        # what a device did before is not known to be nothing, but it stayed under the lower limit if it was known
        rise, lower, upper = _mean_with_interval(new[exceeding] - np.nan_to_num(old[exceeding]))
        known = (
            _accepted()
            .filter(
                workload_id=workload_id,
                release_id=release_id,
                device__hardware_target_id=target_id,
                last_seen_at__gte=now - RECENT,
            )
            .values_list("device_id", flat=True)
        )
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
                effect=rise,
                lower=lower,
                upper=upper,
                devices_affected=len(hit),
                evidence={
                    "devices": _serials(hit),
                    "limit": rule.lately,
                    "limit_before": rule.before,
                    "metric": METRICS[rule.metric].title,
                    "share": share,
                },
                attribution=concentration(_ids(hit), workload_id, known),
            )
        )
    return found


def _mean_with_interval(changes: NDArray[np.float64]) -> tuple[float, float, float]:
    """The mean over devices with Student's 95 % interval; the mean alone where two devices changed exactly alike."""
    mean = float(changes.mean())
    error = float(changes.std(ddof=1)) / np.sqrt(len(changes))
    half = float(stats.t.ppf(0.975, len(changes) - 1)) * error
    return mean, mean - half, mean + half


def _by_release_and_target(rows: Iterable[DeviceLatest]) -> list[tuple[tuple[int, int, int], list[DeviceLatest]]]:
    """Devices by the ids of their workload, release and hardware target, in that order."""
    groups: dict[tuple[int, int, int], list[DeviceLatest]] = defaultdict(list)
    for latest in rows:
        groups[latest.workload_id, latest.release_id, latest.device.hardware_target_id].append(latest)
    return sorted(groups.items())


def _on_a_share(hit: set[int], known: set[int], **what: Any) -> Sighting:
    """A sighting on some of the known devices, both by id: their share with Wilson's interval, and where they are."""
    share = wilson(len(hit), len(known))
    return Sighting(
        **what,
        effect=share.estimate,
        lower=share.lower,
        upper=share.upper,
        devices_affected=len(hit),
        attribution=concentration(hit, what.get("workload_id"), known),
    )


def _accepted() -> QuerySet[DeviceLatest]:
    return DeviceLatest.objects.filter(device__status=Device.Status.ACCEPTED).select_related(
        "device__hardware_target", "workload", "release"
    )


def _is_silent(latest: DeviceLatest, now: datetime) -> bool:
    patience = max(timedelta(seconds=SILENT_INTERVALS * latest.workload.expected_interval_s), SILENT_AT_LEAST)
    return now - latest.last_seen_at > patience


def _ids(latest: Iterable[DeviceLatest]) -> set[int]:
    return {row.device_id for row in latest}


def _serials(latest: Iterable[DeviceLatest]) -> list[str]:
    """At most fifty serials in order; the count stands beside them."""
    return sorted({row.device.serial for row in latest})[:NAMED_DEVICES]
