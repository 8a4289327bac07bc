"""Device values from histograms, sums and counters."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.stats.summaries import (
    BUCKETS_PER_OCTAVE,
    DevicePeriod,
    ExponentialHistograms,
    from_nullable,
    metric_values,
    nullable,
    pooled_quantile,
    quantiles,
    shape_counts,
)

BUCKET = 2 ** (1 / BUCKETS_PER_OCTAVE)


def histograms(values: list[np.ndarray]) -> ExponentialHistograms:
    """Exponential histograms of some devices' values, by the definition of the protocol."""
    indices = [np.ceil(np.log2(v[v > 0]) * BUCKETS_PER_OCTAVE).astype(int) - 1 for v in values]
    everything = np.concatenate(indices) if any(len(i) for i in indices) else np.zeros(1, dtype=int)
    offset = int(everything.min())
    counts = np.zeros((len(values), int(everything.max()) - offset + 1), dtype=np.int64)
    for row, index in enumerate(indices):
        np.add.at(counts[row], index - offset, 1)
    return ExponentialHistograms(offset, counts, np.array([int((v == 0).sum()) for v in values]))


@given(
    seed=st.integers(0, 2**31), n=st.integers(40, 3000), p=st.sampled_from([0.5, 0.9, 0.95, 0.99]),
    spread=st.floats(0.01, 1.0),
)  # fmt: skip
def test_the_quantile_lies_within_one_bucket_of_the_order_statistic(seed: int, n: int, p: float, spread: float) -> None:
    values = np.random.default_rng(seed).lognormal(3.0, spread, n)
    exact = np.quantile(values, p, method="inverted_cdf")
    ratio = quantiles(histograms([values]), p)[0] / exact
    assert ratio * (1 + 1e-9) >= 1 / BUCKET
    assert ratio <= BUCKET * (1 + 1e-9)


def test_a_shift_much_finer_than_a_bucket_is_seen() -> None:
    values = np.random.default_rng(3).lognormal(3.0, 0.3, 200_000)
    before, after = quantiles(histograms([values, values * 1.005]), 0.95)
    assert math.log(after / before) == pytest.approx(math.log(1.005), abs=5e-4)


def test_a_device_without_records_has_no_quantile_and_zeros_count_as_zero() -> None:
    some = np.array([0.0] * 60 + [10.0] * 40)
    found = quantiles(histograms([np.empty(0), some, some]), 0.5)
    assert math.isnan(found[0])
    assert found[1] == 0.0
    assert quantiles(histograms([some]), 0.95)[0] == pytest.approx(10.0, rel=0.03)
    assert quantiles(ExponentialHistograms(0, np.zeros((1, 0), dtype=int), np.array([5])), 0.5)[0] == 0.0


def test_pooling_merges_histograms_instead_of_averaging_quantiles() -> None:
    quick, slow = np.full(900, 10.0), np.full(100, 100.0)
    merged = histograms([quick, slow])
    assert pooled_quantile(merged, np.array([True, True]), 0.5) == pytest.approx(10.0, rel=0.03)


def test_a_quantile_outside_the_unit_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="must lie in"):
        quantiles(histograms([np.ones(3)]), 1.5)


def period(count: list[int], **more: object) -> DevicePeriod:
    return DevicePeriod(count=np.array(count), **more)  # type: ignore[arg-type]


def test_a_latency_quantile_needs_its_least_number_of_inferences() -> None:
    values = [np.full(399, 20.0), np.full(400, 20.0)]
    got = metric_values(period([399, 400], histograms={"latency": histograms(values)}), "latency_p95")
    assert math.isnan(got[0])
    assert got[1] == pytest.approx(math.log(20.0), abs=1 / 32)


def test_energy_is_the_logarithm_of_the_exact_mean() -> None:
    got = metric_values(
        period([100, 100], measure_n={"energy": np.array([100, 0])}, measure_sum={"energy": np.array([4250.0, 0.0])}),
        "energy_mean",
    )
    assert got[0] == pytest.approx(math.log(42.5), rel=1e-12)
    assert math.isnan(got[1])


def test_spread_is_the_logarithm_of_the_coefficient_of_variation() -> None:
    draws = np.random.default_rng(1).normal(40.0, 4.0, 500)
    constant = np.full(500, 40.0)
    got = metric_values(
        period(
            [500, 500],
            measure_n={"energy": np.array([500, 500])},
            measure_sum={"energy": np.array([draws.sum(), constant.sum()])},
            measure_sumsq={"energy": np.array([(draws**2).sum(), (constant**2).sum()])},
        ),
        "energy_spread",
    )
    assert got[0] == pytest.approx(math.log(draws.std() / draws.mean()), rel=1e-9)
    assert math.isnan(got[1]), "a constant signal has no spread to compare"


def test_fallbacks_and_outcomes_add_up_over_their_kinds_and_can_be_read_one_by_one() -> None:
    some = period(
        [1000],
        fallbacks={"cpu": np.array([12]), "cloud": np.array([3])},
        outcomes={"error": np.array([2]), "timeout": np.array([1])},
        retries=np.array([40]),
        throttled=np.array([100]),
    )
    expected = {"fallback_rate": 0.015, "fallback_cpu_rate": 0.012, "error_rate": 0.003, "timeout_rate": 0.001}
    expected |= {"retry_rate": 0.04, "throttled_share": 0.1}
    for name, share in expected.items():
        assert metric_values(some, name)[0] == pytest.approx(share, rel=1e-12)


@pytest.mark.parametrize("name", ["fallback_rate", "energy_mean", "latency_p95", "energy_spread", "throttled_share"])
def test_what_was_not_measured_is_absent_and_never_zero(name: str) -> None:
    assert np.isnan(metric_values(period([1000, 1000]), name)).all()


def test_a_mean_of_zero_has_no_logarithm() -> None:
    some = period([100], measure_n={"queue": np.array([100])}, measure_sum={"queue": np.array([0.0])})
    assert math.isnan(metric_values(some, "queue_mean")[0])


def test_shapes_are_folded_to_fifty_bins_and_classes_are_left_alone() -> None:
    counts = np.arange(200).reshape(2, 100)
    some = period([1, 1], bins={"confidence": counts, "classes": np.array([[3, 4], [5, 6]])})
    folded = shape_counts(some, "confidence_shape")
    assert folded is not None
    assert folded.shape == (2, 50)
    assert folded.sum() == counts.sum()
    assert folded[0, 0] == counts[0, 0] + counts[0, 1]
    classes = shape_counts(some, "class_mix")
    assert classes is not None
    assert classes.tolist() == [[3, 4], [5, 6]]
    assert shape_counts(some, "input_quality_shape") is None


def test_bins_that_do_not_fold_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be folded"):
        shape_counts(period([1], bins={"confidence": np.ones((1, 64), dtype=int)}), "confidence_shape")


def test_arrays_of_other_devices_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="fallbacks\\[cpu\\]"):
        period([1, 2], fallbacks={"cpu": np.array([1])})
    with pytest.raises(ValueError, match="disagree"):
        ExponentialHistograms(0, np.ones((2, 3), dtype=int), np.zeros(3, dtype=int))


def test_missing_values_travel_as_null() -> None:
    array = np.array([1.5, np.nan])
    assert nullable(array) == [1.5, None]
    back = from_nullable([1.5, None], "x", 2)
    assert back[0] == 1.5
    assert math.isnan(back[1])
    with pytest.raises(ValueError, match="x: 1 values for 2"):
        from_nullable([1.0], "x", 2)
    with pytest.raises(ValueError, match="infinite"):
        from_nullable([math.inf], "x", 1)
