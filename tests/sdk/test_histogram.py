"""Device histograms: the bucket arithmetic of the OpenTelemetry data model, and what merging may not change."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ridgeline_sdk.histogram import ExponentialHistogram, UnitHistogram, bucket_index, lower_bound, upper_bound

values = st.floats(min_value=1e-9, max_value=1e9)
samples = st.lists(st.one_of(st.just(0.0), values), max_size=60)


def of(numbers, scale=5):
    histogram = ExponentialHistogram(scale)
    for number in numbers:
        histogram.add(number)
    return histogram


def content(histogram):
    return histogram.scale, histogram.zero_count, histogram.buckets, histogram.min, histogram.max


@given(values, st.integers(-4, 10))
def test_a_value_lies_above_the_lower_and_not_above_the_upper_limit_of_its_bucket(value, scale):
    index = bucket_index(value, scale)
    assert lower_bound(index, scale) < value * (1 + 1e-12)
    assert value <= upper_bound(index, scale) * (1 + 1e-12)


@given(st.integers(-60, 60), st.integers(0, 10))
def test_an_exact_power_of_two_is_the_upper_limit_of_its_bucket(exponent, scale):
    assert bucket_index(2.0**exponent, scale) == exponent * 2**scale - 1


@pytest.mark.parametrize(
    ("value", "scale", "index"),
    # Worked out by hand from index = ceil(log2(value) * 2^scale) - 1.
    [(1.0, 5, -1), (1.0001, 5, 0), (2.0, 5, 31), (17.4, 5, 131), (4.0, 0, 1), (4.1, 0, 2), (4.0, -1, 0), (4.1, -1, 1)],
)
def test_indices_worked_out_by_hand(value, scale, index):
    assert bucket_index(value, scale) == index


def test_the_smallest_and_the_largest_double_have_a_bucket():
    assert bucket_index(5e-324, 5) == -1074 * 32 - 1
    assert bucket_index(1.7976931348623157e308, 5) == 1024 * 32 - 1


@given(samples)
def test_the_count_is_zeros_plus_buckets(numbers):
    histogram = of(numbers)
    assert histogram.count == len(numbers)
    assert histogram.zero_count == numbers.count(0.0)
    assert histogram.count == histogram.zero_count + sum(histogram.to_wire()["counts"])


@given(samples, samples, samples)
def test_merging_is_commutative_and_associative(one, two, three):
    a, b, c = of(one), of(two, scale=7), of(three, scale=3)
    assert content(a.merge(b)) == content(b.merge(a))
    assert content(a.merge(b).merge(c)) == content(a.merge(b.merge(c)))


@given(samples, samples, st.integers(-2, 5))
def test_downscaling_distributes_over_merging(one, two, scale):
    a, b = of(one), of(two)
    assert content(a.merge(b).downscale(scale)) == content(a.downscale(scale).merge(b.downscale(scale)))


@given(st.lists(values, min_size=1, max_size=60), st.integers(0, 5))
def test_a_downscaled_histogram_is_the_one_built_at_that_scale(numbers, scale):
    assert content(of(numbers).downscale(scale)) == content(of(numbers, scale))


@given(st.lists(values, min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_is_within_1_1_percent_of_the_value_at_its_rank(numbers, q):
    true = sorted(numbers)[max(1, math.ceil(q * len(numbers))) - 1]
    assert of(numbers).quantile(q) == pytest.approx(true, rel=0.011)


@given(samples)
def test_the_wire_form_keeps_everything(numbers):
    histogram = of(numbers)
    returned = ExponentialHistogram.from_wire(histogram.to_wire())
    assert content(returned) == content(histogram)
    assert returned.sum == histogram.sum


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_what_is_not_a_finite_positive_number_is_refused(value):
    with pytest.raises(ValueError, match="finite"):
        ExponentialHistogram().add(value)


def test_a_histogram_is_never_refined():
    with pytest.raises(ValueError, match="cannot be refined"):
        of([1.0], scale=3).downscale(4)


@given(st.lists(st.floats(0.0, 1.0), max_size=100))
def test_unit_bins_hold_every_value_and_one_falls_into_the_last(numbers):
    histogram = UnitHistogram()
    for number in numbers:
        histogram.add(number)
    assert histogram.count == len(numbers)
    assert histogram.counts[99] >= numbers.count(1.0)


@pytest.mark.parametrize("hundredths", range(101))
def test_a_decimal_value_lands_in_the_unit_bin_that_it_names(hundredths):
    histogram = UnitHistogram()
    histogram.add(hundredths / 100)
    assert histogram.counts.index(1) == min(99, hundredths)


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan])
def test_a_unit_histogram_refuses_what_lies_outside(value):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        UnitHistogram().add(value)
