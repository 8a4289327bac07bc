"""How often a release is right: from labels drawn at random, from weighted ones, and estimated without labels."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from drift.models import Label
from drift.models.labels import Sampling
from drift.stats.accuracy import (
    Accuracy,
    CalibrationCheck,
    calibrate,
    check_calibration,
    random_sample_accuracy,
    retraining_signal,
    unlabelled_accuracy,
    weighted_sample_accuracy,
)
from fleet.models import Release, Workload
from telemetry.models import ReleaseSpan
from telemetry.selectors.summaries import device_summaries

MINIMUM_LABELS = 10
CALIBRATION_BINS = 100


@dataclass(frozen=True)
class ReleaseAccuracy:
    """What is known of one release; each estimate None where there are too few labels for it."""

    release: Release
    random: Accuracy | None
    weighted: Accuracy | None
    unlabelled: Accuracy | None
    # by hardware target, from random labels
    targets: dict[str, Accuracy] = field(default_factory=dict)
    # of the calibration learnt from other releases' labels, on this one's; None where there are too few of either
    calibration: CalibrationCheck | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "release": self.release.version,
            **{name: _plain(getattr(self, name)) for name in ("random", "weighted", "unlabelled")},
            "hardware_targets": {target: _plain(found) for target, found in self.targets.items()},
            "calibration": (
                asdict(self.calibration) | {"shown_to_be_off": self.calibration.shown_to_be_off}
                if self.calibration
                else None
            ),
        }


def accuracy_by_release(workload: Workload, *, start: datetime, end: datetime) -> list[ReleaseAccuracy]:
    """Every release of a workload that has labels or ran in [start, end), newest first."""
    labels = list(
        Label.objects.filter(workload=workload, time__gte=start, time__lt=end)
        .select_related("device__hardware_target")
        .only(
            "device__hardware_target__slug",
            "release_id",
            "device_id",
            "predicted_class",
            "true_class",
            "confidence",
            "sampling",
            "inclusion_probability",
        )
    )
    ran = set(
        ReleaseSpan.objects.filter(workload=workload, last_time__gte=start, first_time__lt=end)
        .order_by()
        .values_list("release_id", flat=True)
    )
    known = ran | {label.release_id for label in labels}
    releases = Release.objects.filter(pk__in=known).order_by("-created_at", "-pk")
    return [_of_release(release, labels, start, end) for release in releases.select_related("workload")]


def _of_release(release: Release, labels: Sequence[Label], start: datetime, end: datetime) -> ReleaseAccuracy:
    own = [label for label in labels if label.release_id == release.pk]
    slugs = sorted({label.device.hardware_target.slug for label in own})
    by_target = {slug: _random([label for label in own if label.device.hardware_target.slug == slug]) for slug in slugs}
    return ReleaseAccuracy(
        release,
        random=_random(own),
        weighted=_weighted(own),
        unlabelled=_unlabelled(release, labels, start, end),
        targets={slug: found for slug, found in by_target.items() if found is not None},
        calibration=_checked(release, labels),
    )


def _checked(release: Release, labels: Sequence[Label]) -> CalibrationCheck | None:
    """Whether confidence means on this release what it meant on the others."""
    known = [label for label in labels if label.sampling == Sampling.RANDOM and label.confidence is not None]
    own = [label for label in known if label.release_id == release.pk]
    others = [label for label in known if label.release_id != release.pk]
    if min(len(own), len(others)) < MINIMUM_LABELS:
        return None
    learnt = calibrate(np.array([label.confidence for label in others]), _correct(others))
    return check_calibration(
        learnt,
        np.array([label.confidence for label in own]),
        _correct(own),
        np.array([label.device_id for label in own]),
    )


def signal_between(reference: ReleaseAccuracy, current: ReleaseAccuracy) -> dict[str, str]:
    """Whether accuracy fell from one release to the next by more than is tolerated, on random labels."""
    if reference.random is None or current.random is None:
        return {"signal": "none", "reason": f"At least {MINIMUM_LABELS} random labels of both releases are needed."}
    return asdict(retraining_signal(reference.random, current.random))


def _correct(labels: Sequence[Label]) -> np.ndarray:
    return np.array([label.predicted_class == label.true_class for label in labels])


def _random(labels: Sequence[Label]) -> Accuracy | None:
    """From labels drawn at random alone: any other sampling would bias the plain rate."""
    drawn = [label for label in labels if label.sampling == Sampling.RANDOM]
    if len(drawn) < MINIMUM_LABELS:
        return None
    return random_sample_accuracy(_correct(drawn), np.array([label.device_id for label in drawn]))


def _weighted(labels: Sequence[Label]) -> Accuracy | None:
    """From every label whose chance of being drawn is known; labels that a person picked say nothing of the rest."""
    drawn = [label for label in labels if label.sampling != Sampling.OTHER and label.inclusion_probability]
    if len(drawn) < MINIMUM_LABELS:
        return None
    return weighted_sample_accuracy(
        _correct(drawn),
        np.array([label.inclusion_probability for label in drawn], dtype=np.float64),
        np.array([label.device_id for label in drawn]),
    )


def _unlabelled(release: Release, labels: Sequence[Label], start: datetime, end: datetime) -> Accuracy | None:
    """Calibrated confidence averaged over what devices recorded; the calibration is learnt from all random labels."""
    known = [label for label in labels if label.sampling == Sampling.RANDOM and label.confidence is not None]
    if len(known) < MINIMUM_LABELS:
        return None
    calibration = calibrate(np.array([label.confidence for label in known]), _correct(known))
    devices = list(
        ReleaseSpan.objects.filter(release=release, last_time__gte=start, first_time__lt=end)
        .order_by("device_id")
        .values_list("device_id", flat=True)
        .distinct()
    )
    if not devices:
        return None
    recorded = device_summaries(
        devices, workload_id=release.workload_id, release_ids=(release.pk,), start=start, end=end
    ).confidence_hist
    chances = calibration.apply((np.arange(CALIBRATION_BINS) + 0.5) / CALIBRATION_BINS)
    return unlabelled_accuracy(recorded @ chances, recorded.sum(axis=1))


def _plain(accuracy: Accuracy | None) -> dict[str, Any] | None:
    if accuracy is None:
        return None
    return {name: None if value != value else value for name, value in asdict(accuracy).items()}
