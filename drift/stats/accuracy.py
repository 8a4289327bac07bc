"""Accuracy in the field: from labels drawn at random, from labels drawn where doubt was, and without any labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import isotonic_regression

from drift.stats.proportions import Proportion, wilson_clustered

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Accuracy:
    """An accuracy with its interval, how it was obtained, and what must hold for it to be true."""

    estimate: float
    lower: float
    upper: float
    labels: int
    devices: int
    method: str
    assumption: str


def random_sample_accuracy(
    correct: NDArray[np.bool_], device: NDArray[np.integer], *, confidence: float = 0.95
) -> Accuracy:
    """Labels sampled at random: the plain rate, with Wilson's interval clustered by device; shapes (labels,)."""
    devices, index = np.unique(device, return_inverse=True)
    n = np.bincount(index, minlength=len(devices))
    right = np.bincount(index, weights=correct.astype(np.float64), minlength=len(devices))
    interval: Proportion = wilson_clustered(right, n, confidence=confidence)
    return Accuracy(
        interval.estimate,
        interval.lower,
        interval.upper,
        len(correct),
        len(devices),
        "random sample",
        "labels were drawn at random among the inferences of the period",
    )


def weighted_sample_accuracy(
    correct: NDArray[np.bool_],
    probability: Floats,
    device: NDArray[np.integer],
    *,
    confidence: float = 0.95,
) -> Accuracy:
    """Labels sampled with known unequal probabilities (doubtful inferences more often): weighted by their inverse.

    Hajek's ratio estimate sum(w y) / sum(w), w = 1 / probability, its variance linearised and clustered by device
    (Sarndal, Swensson and Wretman 1992, section 5.7), with a t interval on devices - 1 degrees of freedom, cut to
    [0, 1]. With one device, or when every label agrees, that variance says nothing: the interval is Wilson's with one
    observation per device.
    Raises ValueError when a probability is not in (0, 1].
    """
    if len(correct) != len(probability) or len(correct) != len(device):
        raise ValueError("correct, probability and device must have equal lengths")
    if len(probability) and not ((probability > 0.0) & (probability <= 1.0)).all():
        raise ValueError("probability: every sampling probability must lie in (0, 1]")
    devices, index = np.unique(device, return_inverse=True)
    how = "sample weighted by inverse probability"
    assumption = "the recorded sampling probabilities are those that were used, and none was zero"
    if len(devices) == 0:
        return Accuracy(math.nan, 0.0, 1.0, 0, 0, how, assumption)
    weight = 1.0 / probability
    estimate = float((weight * correct).sum() / weight.sum())
    residual = np.bincount(index, weights=weight * (correct - estimate), minlength=len(devices))
    if len(devices) == 1 or estimate in (0.0, 1.0):
        cautious = wilson_clustered(np.array([round(estimate)]), np.array([1]), confidence=confidence)
        if len(devices) > 1:
            per_device = np.ones(len(devices), dtype=np.int64)
            cautious = wilson_clustered(per_device * round(estimate), per_device, confidence=confidence)
        return Accuracy(
            estimate, cautious.lower, cautious.upper, len(correct), len(devices), how, assumption
        )  # fmt: skip
    variance = len(devices) / (len(devices) - 1) * float((residual**2).sum()) / float(weight.sum()) ** 2
    half = float(stats.t.ppf(0.5 + confidence / 2.0, len(devices) - 1)) * math.sqrt(variance)
    return Accuracy(
        estimate,
        max(0.0, estimate - half),
        min(1.0, estimate + half),
        len(correct),
        len(devices),
        how,
        assumption,
    )


@dataclass(frozen=True)
class Calibration:
    """A map from confidence to the chance of being right: steps by bins of equal count, made increasing."""

    edges: Floats
    rates: Floats
    labels: Floats
    """How many labels each rate was learnt from."""

    def bins(self, confidence: Floats) -> NDArray[np.intp]:
        """The bin of each confidence."""
        return np.clip(np.searchsorted(self.edges, confidence, side="right") - 1, 0, len(self.rates) - 1)

    def apply(self, confidence: Floats) -> Floats:
        """The calibrated chance of each confidence."""
        return self.rates[self.bins(confidence)]

    @property
    def cautious_rates(self) -> Floats:
        """The rates with half a label right and half a label wrong added (Jeffreys' prior): never 0 or 1.

        For variances alone: a bin in which every label agreed is not known without error.
        """
        return (self.rates * self.labels + 0.5) / (self.labels + 1.0)


def calibrate(confidence: Floats, correct: NDArray[np.bool_], *, bins: int = 20) -> Calibration:
    """Learn the map from labelled inferences: bins of equal count, then pooled until the rates increase.

    Pooling adjacent violators is `scipy.optimize.isotonic_regression` on the bin rates, weighted by their counts.
    Raises ValueError with fewer than ten labels: there is nothing to learn a map from.
    """
    if len(confidence) < 10:
        raise ValueError(f"a calibration needs at least 10 labels, got {len(confidence)}")
    edges = np.unique(np.quantile(confidence, np.linspace(0.0, 1.0, min(bins, len(confidence) // 5) + 1)[:-1]))
    index = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, len(edges) - 1)
    n = np.bincount(index, minlength=len(edges)).astype(np.float64)
    right = np.bincount(index, weights=correct.astype(np.float64), minlength=len(edges))
    filled = n > 0
    rates = isotonic_regression(right[filled] / n[filled], weights=n[filled]).x
    return Calibration(edges[filled], np.asarray(rates, dtype=np.float64), n[filled])


def unlabelled_accuracy(calibrated_sum: Floats, n: NDArray[np.integer], *, confidence: float = 0.95) -> Accuracy:
    """The estimate without labels: calibrated confidence averaged over inferences, clustered by device.

    `calibrated_sum` and `n` have shape (devices,): the sum of calibrated chances and the inferences behind it. The
    interval is about sampling only; it says nothing of a calibration that has gone stale, which is the usual way for
    this number to be wrong.
    """
    heard = n > 0
    sums, counts = np.asarray(calibrated_sum, dtype=np.float64)[heard], n[heard].astype(np.float64)
    devices = len(counts)
    how, assumption = "calibrated confidence, no labels", "the calibration still holds on today's inputs"
    if devices == 0:
        return Accuracy(math.nan, 0.0, 1.0, 0, 0, how, assumption)
    estimate = float(sums.sum() / counts.sum())
    if devices == 1:
        return Accuracy(estimate, 0.0, 1.0, 0, 1, how, assumption)
    residual = sums - estimate * counts
    variance = devices / (devices - 1) * float((residual**2).sum()) / float(counts.sum()) ** 2
    half = float(stats.t.ppf(0.5 + confidence / 2.0, devices - 1)) * math.sqrt(variance)
    return Accuracy(estimate, max(0.0, estimate - half), min(1.0, estimate + half), 0, devices, how, assumption)


@dataclass(frozen=True)
class CalibrationCheck:
    """What a calibration says of labelled inferences less what was true of them, with its interval over devices."""

    difference: float
    lower: float
    upper: float
    labels: int
    devices: int

    @property
    def shown_to_be_off(self) -> bool:
        """Whether the difference cannot be chance. Not shown is not the same as shown to hold: read the interval."""
        return self.lower > 0.0 or self.upper < 0.0


def check_calibration(
    calibration: Calibration,
    confidence: Floats,
    correct: NDArray[np.bool_],
    device: NDArray[np.integer],
    *,
    interval: float = 0.95,
) -> CalibrationCheck | None:
    """Hold a calibration against labels that it was not learnt from; arrays have shape (labels,).

    The mean of (calibrated chance - right), its variance the sum of two parts:

    - of these labels: the greater of the variance of a ratio estimate clustered by device (see
      `weighted_sample_accuracy`) and what chance alone gives if the calibration is true, sum p (1 - p) / n²
      (Spiegelhalter, Statistics in Medicine 5, 1986). The first alone would be nearly nothing where all labels agree.
    - of the learning: sum over bins of w² r (1 - r) / m, with w the share of these labels in the bin and m the labels
      that its rate r was learnt from.

    The interval is a t interval on devices - 1 degrees of freedom. None with fewer than two devices: one device says
    nothing of others.
    """
    devices, index = np.unique(device, return_inverse=True)
    if len(devices) < 2:
        return None
    n = len(confidence)
    gap = calibration.apply(confidence) - correct
    mean = float(gap.mean())
    residual = np.bincount(index, weights=gap - mean, minlength=len(devices))
    clustered = len(devices) / (len(devices) - 1) * float((residual**2).sum()) / n**2
    spread = calibration.cautious_rates * (1.0 - calibration.cautious_rates)
    here = np.bincount(calibration.bins(confidence), minlength=len(spread))
    by_chance = float((here * spread).sum()) / n**2
    of_learning = float(((here / n) ** 2 * spread / calibration.labels).sum())
    error = math.sqrt(max(clustered, by_chance) + of_learning)
    half = float(stats.t.ppf(0.5 + interval / 2.0, len(devices) - 1)) * error
    return CalibrationCheck(mean, mean - half, mean + half, n, len(devices))


@dataclass(frozen=True)
class RetrainingSignal:
    """Whether accuracy fell by more than is tolerated: "retrain", "watch" or "none", with the figures in words."""

    signal: str
    reason: str


TOLERATED_DROP = 0.02
"""A fall of accuracy that calls nobody."""


def retraining_signal(
    reference: Accuracy, current: Accuracy, *, tolerated_drop: float = TOLERATED_DROP
) -> RetrainingSignal:
    """Compare two accuracies of the same kind by their intervals.

    Retrain when even the best reading of today (its upper bound) is below the worst reading of the reference less the
    tolerated drop: cautious, since two 95 % intervals must part. Watch when the estimates alone differ by more than it.
    """
    if tolerated_drop < 0.0:
        raise ValueError(f"tolerated_drop must not be negative, got {tolerated_drop}")
    if not (math.isfinite(reference.estimate) and math.isfinite(current.estimate)):
        return RetrainingSignal("none", "not enough labels to compare")
    words = (
        f"accuracy {current.estimate:.3f} ({current.lower:.3f} to {current.upper:.3f}) after "
        f"{reference.estimate:.3f} ({reference.lower:.3f} to {reference.upper:.3f}), "
        f"tolerated drop {tolerated_drop:.3f}"
    )
    if current.upper < reference.lower - tolerated_drop:
        return RetrainingSignal("retrain", words)
    if reference.estimate - current.estimate > tolerated_drop:
        return RetrainingSignal("watch", words)
    return RetrainingSignal("none", words)
