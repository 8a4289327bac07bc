"""Device-built windows: what is folded, estimated and refused."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ridgeline_sdk.histogram import ExponentialHistogram, UnitHistogram

from telemetry.histograms import Histogram
from telemetry.protocol import wire
from telemetry.protocol.decoded import Section
from telemetry.protocol.windows import check_windows

START = 1_772_452_800_000_000
MINUTE = 60_000_000


def window(**changes) -> wire.Window:
    """A window of two latencies in one bin."""
    fields = {
        "start": START,
        "end": START + MINUTE,
        "count": 2,
        "latency_ms": {"scale": 5, "offset": 120, "counts": [2], "sum": 27.1},
    }
    return msgspec.convert(fields | changes, wire.Window)


def check(*windows):
    """Check windows as one section."""
    return check_windows(Section(list(windows)))


def sent(values, scale: int) -> dict:
    """The histogram that the sdk sends for these values."""
    histogram = ExponentialHistogram(scale)
    for value in values:
        histogram.add(value)
    return histogram.to_wire()


LATENCIES = st.lists(st.floats(2.0**-10, 2.0**17, width=32), min_size=1, max_size=60)


@given(values=LATENCIES, scale=st.integers(5, 20))
def test_a_finer_histogram_gives_the_bins_of_the_values_themselves(values, scale):
    # the widest histograms that a device keeps have a few hundred bins
    if (max(values) / min(values)) > 2 ** (4096 / 2**scale):
        values = values[:1]
    [checked], rejections = check(window(count=len(values), latency_ms=sent(values, scale)))
    own = Histogram.of(values)
    assert rejections == []
    assert (checked.latency.histogram.offset, checked.latency.histogram.counts.tolist()) == (
        own.offset,
        own.counts.tolist(),
    )
    assert checked.latency.count == len(values)
    assert (checked.latency.low, checked.latency.high) == (min(values), max(values))


@given(values=LATENCIES, scale=st.integers(0, 4))
def test_a_coarser_histogram_keeps_every_count_and_its_own_resolution(values, scale):
    [checked], rejections = check(window(count=len(values), latency_ms=sent(values, scale)))
    assert rejections == []
    assert checked.latency.count == checked.latency.histogram.count == len(values)
    assert checked.latency.sum == pytest.approx(sum(values))
    median = np.quantile(values, 0.5, method="inverted_cdf")
    assert abs(np.log2(checked.latency.histogram.quantile(0.5) / median)) <= 2.0**-scale or len(values) % 2 == 0


@given(values=LATENCIES, scale=st.integers(-10, -1))
def test_no_percentile_is_read_from_bins_wider_than_a_factor_of_two(values, scale):
    [checked], rejections = check(window(count=len(values), latency_ms=sent(values, scale)))
    assert rejections == []
    assert (checked.latency.count, checked.latency.histogram.count) == (len(values), 0)
    assert checked.latency.sum == pytest.approx(sum(values))
    assert (checked.latency.low, checked.latency.high) == (min(values), max(values))


def test_zeros_are_known_at_any_scale():
    [checked], _ = check(window(latency_ms={"scale": -10, "offset": 0, "counts": [], "zero_count": 2, "sum": 0.0}))
    assert (checked.latency.histogram.zero, checked.latency.count) == (2, 2)


@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_confidence_keeps_its_bins_and_sum(values):
    histogram = UnitHistogram()
    for value in values:
        histogram.add(value)
    [checked], rejections = check(window(count=len(values), latency_ms={}, confidence=histogram.to_wire()))
    assert rejections == []
    assert checked.confidence.histogram.counts.tolist() == histogram.counts
    assert checked.confidence.sum == histogram.sum


def test_the_sum_of_squares_is_near_that_of_the_values():
    values = np.random.default_rng(5).lognormal(3, 0.4, 500)
    [checked], _ = check(window(count=500, latency_ms=sent(values.tolist(), 5)))
    assert checked.latency.sumsq == pytest.approx((values**2).sum(), rel=2e-3)


def test_without_a_sum_it_is_estimated_from_the_bins():
    values = np.random.default_rng(6).lognormal(3, 0.4, 500)
    histogram = sent(values.tolist(), 5)
    del histogram["sum"], histogram["min"], histogram["max"]
    [checked], _ = check(window(count=500, latency_ms=histogram))
    assert checked.latency.sum == pytest.approx(values.sum(), rel=0.011)
    assert checked.latency.low <= values.min() <= checked.latency.low * 1.022
    assert values.max() <= checked.latency.high <= values.max() * 1.022


def test_throttled_inferences_follow_from_throttled_time():
    [checked], _ = check(window(throttled_ms=30_000))
    assert (checked.throttled, checked.throttled_ms, checked.covered_ms) == (1, 30_000, 60_000)


def test_an_idle_window_counts_its_time_and_energy():
    [checked], rejections = check(window(count=0, latency_ms={}, idle_energy_mj=900))
    assert rejections == []
    assert (checked.count, checked.idle_energy_mj, checked.covered_ms) == (0, 900.0, 60_000)


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"end": START}, "end", "range"),
        ({"end": START - 1}, "end", "range"),
        ({"end": START + 61 * MINUTE}, "end", "range"),
        ({"count": 3}, "latency_ms", "inconsistent"),
        ({"count": 1}, "latency_ms", "inconsistent"),
        ({"latency_ms": {"scale": 5, "offset": 120, "counts": [0, 0], "sum": 1.0}}, "latency_ms", "inconsistent"),
        ({"latency_ms": {"scale": 5, "offset": 120, "counts": [2], "sum": 0.0271}}, "latency_ms.sum", "inconsistent"),
        (
            {"latency_ms": {"scale": 5, "offset": 120, "counts": [2], "sum": 27.1, "min": 14, "max": 13}},
            "latency_ms.min",
            "inconsistent",
        ),
        ({"latency_ms": {"scale": -1, "offset": 1, "counts": [2]}}, "latency_ms.sum", "missing"),
        ({"energy_mj": {"scale": 5, "offset": 1, "counts": [3], "sum": 3.1}}, "energy_mj", "inconsistent"),
        ({"confidence": {"counts": [0, 3], "sum": 0.04}}, "confidence", "inconsistent"),
        ({"confidence": {"counts": [0, 2], "sum": 1.9}}, "confidence.sum", "inconsistent"),
        ({"outcomes": {"error": 3}}, "outcomes", "inconsistent"),
        ({"fallbacks": {"cpu": 2, "cloud": 1}}, "fallbacks", "inconsistent"),
        ({"classes": {"stop-sign": 3}}, "classes", "inconsistent"),
        ({"throttled_ms": 70_000}, "throttled_ms", "range"),
    ],
)
def test_a_window_that_contradicts_itself_is_rejected_and_the_others_stay(changes, field, code):
    windows, rejections = check(window(), window(**changes), window())
    assert [w.index for w in windows] == [0, 2]
    assert [(r.section, r.index, r.field, r.code) for r in rejections] == [("windows", 1, field, code)]
