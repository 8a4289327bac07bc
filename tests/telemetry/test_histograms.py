"""What histograms promise, over many data sets."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from telemetry import histograms
from telemetry.histograms import Histogram, HistogramRows

SMALLEST, LARGEST = 2.0**-20, 2.0**40
positive = st.floats(SMALLEST, LARGEST, exclude_min=True)
values = st.lists(st.one_of(st.just(0.0), positive, st.sampled_from([2.0**k for k in range(-10, 20)])), max_size=60)
some_values = values.filter(bool)
steps = st.integers(0, 8)


def same(a: Histogram, b: Histogram) -> bool:
    """Equal as multisets of bins, wherever the arrays begin."""
    return (a.scale, a.zero, filled(a)) == (b.scale, b.zero, filled(b))


def filled(histogram: Histogram) -> dict[int, int]:
    return {histogram.offset + k: int(n) for k, n in enumerate(histogram.counts) if n}


@given(values)
def test_the_count_is_the_zeros_plus_all_bins(data):
    histogram = Histogram.of(data)
    assert histogram.count == histogram.zero + histogram.counts.sum() == len(data)
    assert histogram.zero == data.count(0.0)


@given(values, values)
def test_merging_is_commutative_and_the_histogram_of_both(a, b):
    merged = Histogram.of(a).merge(Histogram.of(b))
    assert same(merged, Histogram.of(b).merge(Histogram.of(a)))
    assert same(merged, Histogram.of(a + b))


@given(values, values, values)
def test_merging_is_associative(a, b, c):
    x, y, z = Histogram.of(a), Histogram.of(b), Histogram.of(c)
    assert same(x.merge(y).merge(z), x.merge(y.merge(z)))


@given(values, values, steps)
def test_downscaling_distributes_over_merging(a, b, k):
    x, y = Histogram.of(a), Histogram.of(b)
    coarse = histograms.downscale(x, k).merge(histograms.downscale(y, k))
    assert same(coarse, histograms.downscale(x.merge(y), k))


@given(values, values, steps)
def test_histograms_of_different_scales_merge_at_the_coarser_one(a, b, k):
    fine, coarse = Histogram.of(a), histograms.downscale(Histogram.of(b), k)
    assert same(fine.merge(coarse), histograms.downscale(Histogram.of(a + b), k))


@given(positive)
@example(1.0)
@example(2.0)
@example(float(np.nextafter(2.0, 3.0)))
@example(float(np.nextafter(2.0, 1.0)))
@example(float(np.float32(2 ** (7 / 32))))
def test_a_value_lies_in_its_bin_above_the_lower_and_up_to_the_upper_bound(value):
    index = histograms.index_of([value])
    assert histograms.lower_bounds(index)[0] < value <= histograms.upper_bounds(index)[0]


@given(st.integers(-15, 30))
def test_a_power_of_two_closes_its_bin(exponent):
    assert histograms.index_of([2.0**exponent])[0] == exponent * 32 - 1


@given(st.integers(histograms.MIN_INDEX, histograms.MAX_INDEX))
def test_a_bound_belongs_to_the_bin_that_it_closes(index):
    bound = histograms.upper_bounds([index])
    assert histograms.index_of(bound)[0] == index
    assert histograms.upper_bounds([index])[0] == histograms.lower_bounds([index + 1])[0]


def test_the_bins_are_those_of_the_formula():
    index = np.arange(-200, 400)
    inside = histograms.midpoints(index)
    assert (histograms.index_of(inside) == np.ceil(np.log2(inside) * 32) - 1).all()
    assert np.allclose(histograms.upper_bounds(index), 2.0 ** ((index + 1) / 32), rtol=1e-15)


@given(some_values, st.floats(0, 1))
def test_the_true_order_statistic_lies_in_the_bin_of_the_quantile(data, p):
    """With a rank that is whole, numpy.quantile is an order statistic and the estimate the midpoint of its bin."""
    p = round(p * (len(data) - 1)) / max(len(data) - 1, 1)
    true = np.sort(data)[round(p * (len(data) - 1))]
    estimate = Histogram.of(data).quantile(p)
    if true == 0:
        assert estimate == 0
    else:
        index = histograms.index_of([true])
        assert histograms.lower_bounds(index)[0] < estimate <= histograms.upper_bounds(index)[0]


@given(some_values, st.floats(0, 1))
@example([1.0, 1000.0], 0.5)
@example([float(np.nextafter(1.0, 2.0))] * 20, 0.95)
def test_a_quantile_is_within_the_stated_error_of_numpy_on_the_values(data, p):
    true = np.quantile(np.array(data), p)
    assert Histogram.of(data).quantile(p) == pytest.approx(true, rel=histograms.RELATIVE_ERROR + 1e-9, abs=1e-12)


def test_the_stated_error_is_below_one_point_one_percent():
    assert histograms.RELATIVE_ERROR < 0.011


@given(arrays(np.float32, st.integers(1, 300), elements=st.floats(0.125, 8192, width=32)))
def test_the_95th_percentile_from_roll_ups_is_within_1_1_percent_of_the_raw_values(raw):
    """As ingest, folding and series do it: values split over minutes, packed, stored, merged."""
    rows = HistogramRows.of_values(np.arange(raw.size) % 7, raw, 7)
    stored = rows.pack()
    merged = histograms.merge_packed(stored)
    assert merged.quantile(0.95) == pytest.approx(np.quantile(raw.astype(np.float64), 0.95), rel=0.011)


@given(values)
def test_packing_loses_nothing(data):
    histogram = Histogram.of(data)
    assert same(Histogram.from_packed(histogram.pack()), histogram)


@given(st.lists(values, max_size=8))
def test_many_stored_histograms_merge_to_the_one_of_all_values(parts):
    packed = [Histogram.of(part).pack() if part else None for part in parts]
    assert same(histograms.merge_packed(packed), Histogram.of([value for part in parts for value in part]))


@given(st.lists(st.tuples(values, st.integers(0, 3)), max_size=8))
def test_regrouping_rows_is_merging_each_group(parts):
    packed = [Histogram.of(part).pack() if part else None for part, _ in parts]
    groups = np.array([group for _, group in parts], dtype=np.int64)
    regrouped = HistogramRows.from_packed(packed).regroup(groups, 4)
    for group in range(4):
        expected = Histogram.of([value for part, g in parts if g == group for value in part])
        assert same(Histogram.from_packed(regrouped.pack()[group]), expected)


@given(st.lists(st.tuples(values, st.integers(0, 3)), max_size=8), st.integers(0, 8))
def test_summing_up_and_joining_parts_changes_no_histogram(parts, cut):
    packed = [Histogram.of(part).pack() if part else None for part, _ in parts]
    groups = np.array([group for _, group in parts], dtype=np.int64)
    merged = HistogramRows.from_packed(packed).regroup(groups, 4)
    assert merged.summed().pack() == merged.pack()
    assert merged.summed().totals().tolist() == merged.totals().tolist()
    rows = [HistogramRows.from_packed(part) for part in (packed[:cut], packed[cut:])]
    assert HistogramRows.concatenated(rows).pack() == packed
    # one part as runs, the other as single counts
    assert HistogramRows.concatenated([rows[0].compact(), rows[1]]).pack() == packed


def test_counts_beyond_32_bits_survive_packing_and_merging():
    huge = Histogram(-3, np.array([1, 2**33, 0, 5]), 2**32)
    small = Histogram(2, np.array([4]), 1)
    assert same(Histogram.from_packed(huge.pack()), huge)
    assert same(histograms.merge_packed([huge.pack(), small.pack(), huge.pack()]), huge.merge(small).merge(huge))
    rows = HistogramRows.from_packed([small.pack(), huge.pack(), None, small.pack()])
    assert rows.totals().tolist() == [small.count, huge.count, 0, small.count]
    assert rows.pack() == [small.pack(), huge.pack(), None, small.pack()]


def test_two_histograms_whose_sum_needs_64_bits_are_stored_wide():
    near = Histogram(0, np.array([2**32 - 1]), 0)
    merged = HistogramRows.from_packed([near.pack(), near.pack()]).regroup(np.zeros(2, dtype=int), 1)
    assert Histogram.from_packed(merged.pack()[0]).count == 2**33 - 2


@given(some_values, st.integers(5, 14))
def test_a_finer_opentelemetry_histogram_is_folded_down_exactly(data, scale):
    base = 2.0 ** (2.0**-scale)
    inside = [v for v in data if v and 2.0**-15 < v < 2.0**30]
    # one value per fine bin, well inside of it, so that both sides agree on where it lies
    index = np.array([int(np.ceil(np.log(v) / np.log(base))) - 1 for v in inside], dtype=np.int64)
    middle = base ** (index + 0.5)
    if not index.size or scale > 12:
        return
    offset = int(index.min())
    sent = np.bincount(index - offset)
    assert same(histograms.from_otel(scale, offset, sent, 2), Histogram.of([*middle, 0.0, 0.0]))


def test_a_coarser_opentelemetry_histogram_keeps_its_count_within_its_own_bins():
    # scale 2: bin i covers (2^(i/4), 2^((i+1)/4)], eight bins of the server
    folded = histograms.from_otel(2, 3, [10, 0, 7])
    assert filled(folded) == {3 * 8 + 4: 10, 5 * 8 + 4: 7}


@pytest.mark.parametrize("scale", [-11, 21])
def test_a_scale_outside_of_opentelemetry_is_refused(scale):
    with pytest.raises(ValueError, match="scale"):
        histograms.from_otel(scale, 0, [1])


def test_absurd_values_are_kept_in_the_outermost_bins():
    histogram = Histogram.of([1e-30, 1.0, 1e30])
    assert filled(histogram) == {histograms.MIN_INDEX: 1, -1: 1, histograms.MAX_INDEX: 1}
    assert histograms.from_otel(0, -1000, [1]).offset == histograms.MIN_INDEX


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_value_that_is_no_positive_number_is_refused(value):
    with pytest.raises(ValueError, match="positive"):
        histograms.index_of([1.0, value])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=80), st.floats(0, 1))
def test_a_unit_quantile_is_within_half_a_bin_of_numpy(data, p):
    rows = HistogramRows.of_unit_values(np.zeros(len(data), dtype=int), np.array(data), 1)
    estimate = histograms.unit_quantiles(rows.dense_unit(), [p])[0, 0]
    assert estimate == pytest.approx(np.quantile(data, p), abs=0.005 + 2e-7)


@given(st.integers(0, 100), st.booleans())
def test_a_whole_hundredth_lies_in_the_bin_that_it_opens_in_either_precision(hundredths, single):
    value = np.float32(hundredths / 100) if single else hundredths / 100
    assert histograms.unit_index_of([value])[0] == min(hundredths, 99)


def test_one_belongs_to_the_last_unit_bin():
    assert histograms.unit_index_of([0.0, 0.01, 0.999, 1.0]).tolist() == [0, 1, 99, 99]


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_a_share_outside_of_its_interval_is_refused(value):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        histograms.unit_index_of([value])


@given(st.lists(st.dictionaries(st.integers(1, 50), st.integers(1, 1000), max_size=5), max_size=6))
def test_class_counts_survive_packing_and_merge_by_addition(rows):
    row = np.array([r for r, counts in enumerate(rows) for _ in counts], dtype=np.int64)
    index = np.array([c for counts in rows for c in counts], dtype=np.int64)
    count = np.array([n for counts in rows for n in counts.values()], dtype=np.int64)
    packed = histograms.pack_classes(HistogramRows(row, index, count, np.zeros(len(rows), dtype=np.int64)))
    merged = histograms.unpack_classes(packed).regroup(np.zeros(len(rows), dtype=int), 1).compact()
    expected: dict[int, int] = {}
    for counts in rows:
        for c, n in counts.items():
            expected[c] = expected.get(c, 0) + n
    assert dict(zip(merged.index.tolist(), merged.count.tolist(), strict=True)) == expected


def test_a_class_count_beyond_32_bits_survives_packing():
    one = np.zeros(1, dtype=np.int64)
    packed = histograms.pack_classes(HistogramRows(one, one + 7, one + 3 * 2**32, one))
    back = histograms.unpack_classes(packed)
    assert (back.index.tolist(), back.count.tolist()) == ([7], [3 * 2**32])
