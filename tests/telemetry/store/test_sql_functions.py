"""What psql and Grafana read from packed histograms is what the product reads."""

import numpy as np
import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telemetry.histograms import Histogram, HistogramRows, lower_bounds, pack_classes, upper_bounds

pytestmark = pytest.mark.django_db

VALUES = st.lists(st.one_of(st.just(0.0), st.floats(0.001, 1e6)), min_size=1, max_size=40)
SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=40)
BRIEFLY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def asked(sql, *parameters):
    """The rows of a query."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def unit(values) -> bytes:
    """A packed histogram of shares."""
    return HistogramRows.of_unit_values(np.zeros(len(values), dtype=np.int64), np.array(values), 1).pack()[0]


@BRIEFLY
@given(values=VALUES, wide=st.booleans())
def test_the_bins_of_a_histogram_have_their_bounds_and_counts(values, wide):
    histogram = Histogram.of(values)
    if wide:
        histogram = Histogram(histogram.offset, histogram.counts + 2**33, histogram.zero)
    found = asked("SELECT bin, lower, upper, count FROM ridgeline_histogram(%s)", histogram.pack())
    bins = histogram.offset + np.flatnonzero(histogram.counts)
    counts = {int(b): int(histogram.counts[b - histogram.offset]) for b in bins}
    assert {row[0]: row[3] for row in found if row[0] is not None} == counts
    assert sum(row[3] for row in found) == histogram.count
    for number, lower, upper, _ in found:
        expected = (0, 0) if number is None else (float(lower_bounds(number)), float(upper_bounds(number)))
        assert (lower, upper) == pytest.approx(expected, rel=1e-12)


@BRIEFLY
@given(parts=st.lists(VALUES, min_size=1, max_size=4), p=st.sampled_from([0, 0.05, 0.5, 0.95, 0.99, 1]))
def test_a_quantile_lies_in_the_bin_of_the_order_statistic_of_all_values(parts, p):
    packed = [Histogram.of(part).pack() for part in parts]
    [(found,)] = asked("SELECT ridgeline_quantile(%s::bytea[], %s)", [*packed, None], p)
    true = np.quantile(np.concatenate(parts), p, method="inverted_cdf")
    assert found == pytest.approx(true, rel=0.0109)


@BRIEFLY
@given(parts=st.lists(SHARES, min_size=1, max_size=4), p=st.sampled_from([0, 0.05, 0.5, 0.95, 1]))
def test_a_quantile_of_shares_is_within_half_a_hundredth(parts, p):
    [(found,)] = asked("SELECT ridgeline_unit_quantile(%s::bytea[], %s)", [unit(part) for part in parts], p)
    assert found == pytest.approx(np.quantile(np.concatenate(parts), p, method="inverted_cdf"), abs=0.0050001)


def test_nothing_is_no_quantile():
    for function in ("ridgeline_quantile", "ridgeline_unit_quantile"):
        assert asked(f"SELECT {function}(%s::bytea[], 0.5), {function}(%s::bytea[], 0.5)", [], [None]) == [(None, None)]


def test_classes_are_counted_by_their_id():
    rows = HistogramRows(np.zeros(2, int), np.array([3, 70_000]), np.array([5, 1]), np.zeros(1, int))
    assert sorted(asked("SELECT class_id, count FROM ridgeline_classes(%s)", pack_classes(rows)[0])) == [
        (3, 5),
        (70_000, 1),
    ]
