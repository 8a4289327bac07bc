"""Slow drift without a control: a daily, device-paired CUSUM whose limit is simulated for its baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

CAVEAT = "cannot separate environment from model"
"""Stands beside every figure of this file: without a control a hot week looks like a worse release."""

MINIMUM_BASELINE_DAYS = 7
REFERENCE = 0.5
"""Drift per day, in standard deviations, that is not accumulated (k of the tabular CUSUM, Page 1954)."""
CORRELATION_ERRORS = 2.0
"""Standard errors by which the correlation that limits are made for lies above its estimate."""
HIGHEST_CORRELATION = 0.95
SIMULATIONS = 4_000
"""Paths behind a limit: at a tail of 0.7 % some thirty lie beyond it."""


@dataclass(frozen=True)
class Cusum:
    """A run: the statistic per monitored day, its limit, and the first day above it (index, None for never)."""

    path: Floats
    limit: float
    alarm_day: int | None
    started_day: int | None
    """Where the run that led to the alarm left zero: the estimated start of the drift."""
    baseline_mean: float
    baseline_deviation: float
    correlation: float
    """Of one day with the next, as the baseline shows it."""
    cautious_correlation: float
    """As high as it may be, see `correlation_bound`: the limit and the interval are made for this one."""
    change: Floats
    """The fleet's mean change per day, baseline days first, in the direction of the values; NaN without any device."""
    caveat: str = CAVEAT


def daily_changes(values: Floats, baseline_days: int) -> Floats:
    """The fleet's daily change, shape (days,), from device values (devices, days); NaN where a device is absent.

    Every device is its own control: its baseline mean is taken off before averaging, so devices that come and go do not
    move the average. Devices without half of the baseline days are left out; a day without any device is NaN.
    Raises ValueError with fewer than seven baseline days.
    """
    if baseline_days < MINIMUM_BASELINE_DAYS:
        raise ValueError(f"baseline_days must be at least {MINIMUM_BASELINE_DAYS}, got {baseline_days}")
    known = np.isfinite(values)
    base = known[:, :baseline_days]
    usable = base.sum(axis=1) >= math.ceil(baseline_days / 2)
    filled = np.where(known, values, 0.0)
    level = filled[:, :baseline_days].sum(axis=1) / np.maximum(base.sum(axis=1), 1)
    change = np.where(known, values - level[:, None], 0.0)[usable]
    count = known[usable].sum(axis=0)
    return np.divide(change.sum(axis=0), count, out=np.full(values.shape[1], np.nan), where=count > 0)


def lag_one_correlation(series: Floats) -> float:
    """Lag-one autocorrelation with Kendall's (1954) correction for short series, r + (1 + 3r) / n, within [0, 0.95].

    0 for fewer than three days or days without variance. A missing day is passed over: its neighbours then count as
    following one another, which makes the estimate a little lower.
    """
    series = series[np.isfinite(series)]
    centred = series - series.mean() if len(series) else series
    square = float((centred**2).sum())
    if len(series) < 3 or square <= 0.0:
        return 0.0
    r = float((centred[1:] * centred[:-1]).sum()) / square
    return float(np.clip(r + (1.0 + 3.0 * r) / len(series), 0.0, HIGHEST_CORRELATION))


def correlation_bound(correlation: float, days: int, *, errors: float = CORRELATION_ERRORS) -> float:
    """How high a correlation estimated from so many days may be: tanh(atanh r + errors / sqrt(days - 3)), at most 0.95.

    The standard error is that of Fisher's z (Metron 1, 1921). Two weeks say little about a correlation: limits made for
    the estimate itself were crossed by 5 % of drift-free series where 0.7 % was promised (correlation 0.6, 14 baseline
    and 90 watched days); made for two standard errors more they hold up to a correlation of 0.6
    (`python -m benchmarks.watching`).
    """
    if days <= 3:
        return HIGHEST_CORRELATION
    # full correlation has no z
    z = math.atanh(min(correlation, HIGHEST_CORRELATION)) + errors / math.sqrt(days - 3)
    return min(math.tanh(z), HIGHEST_CORRELATION)


def cusum_path(standardised: Floats, *, reference: float = REFERENCE) -> Floats:
    """C_d = max(0, C_{d-1} + z_d - k), along the last axis; a missing day leaves C where it was."""
    steps = np.where(np.isfinite(standardised), standardised - reference, 0.0)
    path = np.empty_like(steps)
    level = np.zeros(steps.shape[:-1])
    for day in range(steps.shape[-1]):
        level = np.maximum(0.0, level + steps[..., day])
        path[..., day] = level
    return path


def simulated_limit(
    baseline_days: int,
    monitored_days: int,
    correlation: float,
    *,
    alpha: float,
    rng: np.random.Generator,
    simulations: int = SIMULATIONS,
    reference: float = REFERENCE,
) -> float:
    """The limit that a drift-free fleet exceeds within `monitored_days` with probability alpha.

    Each simulation draws a baseline and a future of the same first-order autoregression, standardises the future by the
    mean and deviation of that short baseline, and runs the CUSUM: so the limit pays for the baseline's own error, which
    textbook limits (known mean, independent days) do not.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
    if not 0.0 <= correlation < 1.0:
        raise ValueError(f"correlation must lie in [0, 1), got {correlation}")
    series = autoregression(rng, simulations, baseline_days + monitored_days, correlation)
    base = series[:, :baseline_days]
    standardised = (series[:, baseline_days:] - base.mean(axis=1, keepdims=True)) / base.std(
        axis=1, ddof=1, keepdims=True
    )
    return float(np.quantile(cusum_path(standardised, reference=reference).max(axis=1), 1.0 - alpha))


def autoregression(rng: np.random.Generator, rows: int, days: int, correlation: float) -> Floats:
    """Stationary first-order autoregressions with unit variance, shape (rows, days)."""
    noise = rng.standard_normal((rows, days))
    noise[:, 1:] *= math.sqrt(1.0 - correlation**2)
    for day in range(1, days):
        noise[:, day] += correlation * noise[:, day - 1]
    return noise


def run_cusum(
    values: Floats,
    *,
    baseline_days: int,
    harm: int,
    alpha: float,
    rng: np.random.Generator,
    reference: float = REFERENCE,
    horizon: int | None = None,
) -> Cusum:
    """Watch device values (devices, days) for slow harm after a baseline; one-sided toward `harm` (+1 or -1).

    Days, not hours: hours of a day resemble each other, and the limit would be wrong by as much. A baseline without any
    variance gives an infinite limit: nothing can be said against it. Returned `path` covers the monitored days.

    `horizon` is how many monitored days the limit is simulated for. Whoever looks again every day names the last day on
    which that will be done: a limit made anew for the days so far would be crossed by chance more often than alpha.
    """
    if harm not in (1, -1):
        raise ValueError(f"harm must be +1 or -1, got {harm}")
    daily = daily_changes(values, baseline_days)
    base, future = harm * daily[:baseline_days], harm * daily[baseline_days:]
    known = base[np.isfinite(base)]
    if len(future) == 0:
        raise ValueError("values: there is no day after the baseline")
    if horizon is not None and horizon < len(future):
        raise ValueError(f"horizon: {len(future)} days were monitored already, got {horizon}")
    mean = float(known.mean()) if len(known) else math.nan
    deviation = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    correlation = lag_one_correlation(base)
    cautious = correlation_bound(correlation, len(known))
    scale = float(np.abs(known).max()) if len(known) else 0.0
    if len(known) < MINIMUM_BASELINE_DAYS or deviation <= 1e-12 * max(scale, 1e-300):
        return Cusum(np.zeros(len(future)), math.inf, None, None, mean, deviation, correlation, cautious, daily)
    path = cusum_path((future - mean) / deviation, reference=reference)
    days = len(future) if horizon is None else horizon
    limit = simulated_limit(len(known), days, cautious, alpha=alpha, rng=rng, reference=reference)
    above = np.flatnonzero(path > limit)
    alarm = int(above[0]) if len(above) else None
    started = None
    if alarm is not None:
        zeros = np.flatnonzero(path[: alarm + 1] == 0.0)
        started = int(zeros[-1]) + 1 if len(zeros) else 0
    return Cusum(path, limit, alarm, started, mean, deviation, correlation, cautious, daily)


@dataclass(frozen=True)
class Shift:
    """How far recent days lie from the baseline, with a two-sided interval; NaN where it cannot be said."""

    mean: float
    lower: float
    upper: float
    standard_error: float
    days: int


def shift(run: Cusum, baseline_days: int, recent_days: int, *, confidence: float = 0.95) -> Shift:
    """The mean of the last `recent_days` less the baseline's, from the spread of the baseline's days.

    The days are a first-order autoregression with correlation r = `run.cautious_correlation`: R_ij = r^|i - j|. With
    weights w (1/m on the m recent days, -1/n on the n of the baseline) SE = s sqrt(w'Rw / b), where b = (n - 1'R1/n) /
    (n - 1) over the baseline is how much its variance s^2 falls short when days resemble each other; a t interval on
    n - 1 degrees of freedom. Days are the unit, so weather that all devices share is in the interval; what else the
    weather did is not taken off.
    """
    days = np.flatnonzero(np.isfinite(run.change))
    base, recent = days[days < baseline_days], days[days >= max(baseline_days, len(run.change) - recent_days)]
    n, m = len(base), len(recent)
    if m == 0 or n < 2:
        return Shift(math.nan, math.nan, math.nan, math.nan, m)
    mean = float(run.change[recent].mean() - run.change[base].mean())
    both = np.concatenate([base, recent])
    alike = run.cautious_correlation ** np.abs(both[:, None] - both[None, :])
    weights = np.concatenate([np.full(n, -1.0 / n), np.full(m, 1.0 / m)])
    shortfall = (n - float(alike[:n, :n].sum()) / n) / (n - 1)
    error = float(run.change[base].std(ddof=1)) * math.sqrt(float(weights @ alike @ weights) / shortfall)
    half = float(stats.t.ppf(0.5 + confidence / 2.0, n - 1)) * error
    return Shift(mean, mean - half, mean + half, error, m)
