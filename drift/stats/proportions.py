"""Proportions of devices and of inferences: Wilson intervals, reporting rates, sample ratios."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

REPORTING_LEVEL = 0.05
"""One-sided level at which fewer reporting canaries hold up a pass; it never rolls anything back."""


@dataclass(frozen=True)
class Proportion:
    """An estimate with its interval; `effective_n` is the sample size after clustering."""

    estimate: float
    lower: float
    upper: float
    effective_n: float


def wilson(successes: float, n: float, *, confidence: float = 0.95) -> Proportion:
    """Wilson's score interval (Wilson 1927); with n = 0 nothing is known: the interval is [0, 1].

    `successes` and `n` may be fractions, as they are after a division by a design effect.
    """
    if n < 0 or not 0 <= successes <= max(n, 0):
        raise ValueError(f"successes must lie between 0 and n, got {successes} of {n}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence}")
    if n == 0:
        return Proportion(math.nan, 0.0, 1.0, 0.0)
    z = float(stats.norm.ppf(0.5 + confidence / 2.0))
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Proportion(share, max(0.0, centre - half), min(1.0, centre + half), float(n))


def wilson_clustered(successes: NDArray[np.integer], n: NDArray[np.integer], *, confidence: float = 0.95) -> Proportion:
    """Wilson's interval for a share over inferences that cluster in devices; arrays have shape (devices,).

    n is divided by the design effect: the variance of the ratio estimate between devices over the binomial one, never
    below one (Kish 1965; Rao and Scott 1992). With a single device the clustering cannot be seen: that device counts
    as one observation. Where every answer agrees the binomial variance is zero and the effect is taken as one inference
    per device, the most cautious reading.
    """
    successes, n = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if successes.shape != n.shape:
        raise ValueError(f"successes {successes.shape} and n {n.shape} disagree")
    heard = n > 0
    successes, n = successes[heard], n[heard]
    devices, count = len(n), float(n.sum())
    if devices == 0:
        return wilson(0, 0, confidence=confidence)
    share = float(successes.sum() / count)
    binomial = share * (1.0 - share) / count
    if devices == 1 or binomial == 0.0:
        effective = float(devices)
    else:
        residual = successes - share * n
        between = devices / (devices - 1) * float((residual**2).sum()) / count**2
        effective = count / max(between / binomial, 1.0)
    return wilson(share * effective, effective, confidence=confidence)


def share_error_floor(shares: NDArray[np.float64], n: NDArray[np.integer], treated: NDArray[np.bool_]) -> float:
    """The standard error that counting leaves in a difference of shares, however well the devices agree.

    sqrt(p (1 - p) (1/N_T + 1/N_C)) with p = (events + 1) / (inferences + 2) over both arms (Laplace), N inferences per
    arm; arrays have shape (devices,), NaN shares are left out. Infinite without inferences in both arms. Where a device
    counts more events than inferences (retries) they are no share, and their variance is Poisson's, p for p (1 - p).
    """
    heard = np.isfinite(shares) & (n > 0)
    arms = [float(n[heard & arm].sum()) for arm in (treated, ~treated)]
    if min(arms) <= 0.0:
        return math.inf
    p = (float((shares[heard] * n[heard]).sum()) + 1.0) / (sum(arms) + 2.0)
    variance = p if (shares[heard] > 1.0).any() else p * (1.0 - p)
    return math.sqrt(variance * (1.0 / arms[0] + 1.0 / arms[1]))


@dataclass(frozen=True)
class Reporting:
    """Devices heard from in each arm, Fisher's one-sided p-value for fewer among the treated, and a judgement."""

    treated: int
    treated_reporting: int
    control: int
    control_reporting: int
    p_value: float
    reason: str
    """Why silence holds up a pass; empty when reporting is in order."""

    @property
    def in_order(self) -> bool:
        """Whether the devices heard from can speak for the cohort."""
        return not self.reason


def reporting_rate(
    treated: int, treated_reporting: int, control: int, control_reporting: int, *, what: str = "report"
) -> Reporting:
    """Silence as a metric: Fisher's exact test on devices, one-sided toward fewer treated ones reporting.

    Out of order: p below 0.05; or more treated devices silent than the control's rate explains, by over a tenth of the
    cohort and more than one device; or fewer than half of the treated heard from, whatever the control does. `what` is
    the verb in the reason.
    """
    counts = (treated, treated_reporting, control, control_reporting)
    if min(counts) < 0 or treated_reporting > treated or control_reporting > control:
        raise ValueError(f"reporting devices cannot outnumber devices: {counts}")
    table = [
        [treated_reporting, treated - treated_reporting],
        [control_reporting, control - control_reporting],
    ]
    p_value = float(stats.fisher_exact(table, alternative="less").pvalue) if treated and control else 1.0
    silent = treated - treated_reporting
    expected = treated * (1.0 - control_reporting / control) if control else 0.0
    words = f"{treated_reporting} of {treated} treated devices {what}, {control_reporting} of {control} control devices"
    reason = ""
    if treated == 0 or treated_reporting == 0:
        reason = f"{words}: nothing to judge by"
    elif p_value < REPORTING_LEVEL:
        reason = f"{words}: fewer than chance explains (p = {p_value:.3g})"
    elif silent - expected > max(1.0, 0.1 * treated):
        reason = f"{words}: the silent ones may be the harmed ones"
    elif 2 * treated_reporting < treated:
        reason = f"{words}: fewer than half can be judged"
    return Reporting(treated, treated_reporting, control, control_reporting, p_value, reason)


def sample_ratio_p_value(treated: int, control: int, planned_share: float) -> float:
    """Two-sided binomial p-value of the cohort sizes that arrived against the share that was planned to be treated.

    A small value (below 0.001, say) means that devices got lost on the way into the comparison, and that its result
    should not be read before it is known which ones.
    """
    if not 0.0 < planned_share < 1.0:
        raise ValueError(f"planned_share must lie strictly between 0 and 1, got {planned_share}")
    if treated + control == 0:
        return 1.0
    return float(stats.binomtest(treated, treated + control, planned_share).pvalue)
