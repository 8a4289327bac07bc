"""Partial roll-ups are the plain sums of their records, and of the windows of the same records."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry import columns
from telemetry.histograms import Histogram, HistogramRows, unpack
from telemetry.partials import (
    MINUTE_US,
    Records,
    WindowColumns,
    cell_partials,
    minute_partials,
    window_partials,
)
from tests.telemetry.records import Records as Plain
from tests.telemetry.records import aggregate

START = 1_772_452_800_000_000
HOUR_US = 60 * MINUTE_US


def draw(
    rng: np.random.Generator, n: int, minutes: int = 5, missing: float = 0.2, class_ids: tuple[int, ...] = (0, 1, 2, 3)
) -> Records:
    """Records of every kind, in no order, with gaps in every measure but latency."""
    measures = rng.lognormal(3, 1, (len(columns.MEASURES), n)).astype(np.float32)
    for share in ("accelerator_utilization", "input_quality", "confidence"):
        measures[columns.MEASURES.index(share)] = rng.beta(5, 2, n)
    absent = rng.random(measures.shape) < missing
    absent[0] = False
    measures[absent] = np.nan
    measures[0, rng.random(n) < 0.05] = 0
    return Records(
        START + rng.integers(0, minutes * MINUTE_US, n),
        measures,
        rng.integers(0, 5, n).astype(np.int16),
        rng.integers(0, 4, n).astype(np.int16),
        rng.integers(0, 3, n).astype(np.int16),
        rng.random(n) < 0.3,
        rng.choice([-1, *class_ids], n).astype(np.int32),
    )


def plain(records: Records) -> Plain:
    """The same records as the tests of the tiers hold them."""
    return Plain(
        records.time_us,
        {name: records.measures[row] for row, name in enumerate(columns.MEASURES)},
        records.fallback,
        records.retries,
        records.throttled,
        records.outcome,
        records.class_id,
    )


@settings(max_examples=40)
@given(
    n=st.integers(1, 400),
    minutes=st.integers(1, 90),
    seed=st.integers(0, 1000),
    missing=st.sampled_from([0, 0.2, 1]),
    # near each other, and far apart
    class_ids=st.sampled_from([(0, 1, 2, 3), (7, 4_102), (5, 4_103, 2_000_000_000)]),
)
def test_each_minute_holds_what_its_records_sum_up_to(n, minutes, seed, missing, class_ids):
    records = draw(np.random.default_rng(seed), n, minutes, missing, class_ids)
    partials = minute_partials(records)
    minute = records.time_us // MINUTE_US * MINUTE_US
    assert partials.bucket_us.tolist() == np.unique(minute).tolist()
    for row, bucket in enumerate(partials.bucket_us):
        chosen = plain(records).where(minute == bucket)
        classified = chosen.where(chosen.predicted_class >= 0)
        expected = aggregate(chosen)
        expected["class_counts"] = aggregate(classified)["class_counts"] if len(classified) else None
        for column in columns.PARTIAL_VALUES:
            value = partials.values[column.name][row]
            if column.type == "bytea":
                assert value == expected[column.name], column.name
            elif expected[column.name] is None:
                assert np.isnan(value), column.name
            else:
                assert value == pytest.approx(expected[column.name], rel=1e-12), column.name


@settings(max_examples=40)
@given(n=st.integers(1, 300), seed=st.integers(0, 1000), minutes=st.sampled_from([200, 20_000]))
def test_each_cell_holds_the_records_of_its_hour_and_condition(n, seed, minutes):
    records = draw(np.random.default_rng(seed), n, minutes)
    temperature = records.measures[columns.MEASURES.index("temperature")]
    quality = records.measures[columns.MEASURES.index("input_quality")]
    energy = records.measures[columns.MEASURES.index("energy")].astype(float)
    latency = records.measures[0].astype(float)
    bands = np.where(np.isnan(temperature), -1, np.clip(np.nan_to_num(temperature) // 10, 0, 20))
    tenths = np.where(np.isnan(quality), -1, np.clip(np.nan_to_num(quality) * 10 // 1, 0, 9))
    keys = list(
        zip(records.time_us // HOUR_US * HOUR_US, records.throttled, bands, tenths, records.fallback, strict=True)
    )
    cells = cell_partials(records)
    v = cells.values
    found = list(
        zip(cells.bucket_us, v["throttled"], v["temperature_band"], v["quality_band"], v["fallback"], strict=True)
    )
    assert sorted(found) == sorted(set(keys))
    for row, cell in enumerate(found):
        mine = np.array([key == cell for key in keys])
        known = mine & ~np.isnan(energy)
        assert v["count"][row] == mine.sum()
        assert v["latency_sum"][row] == pytest.approx(latency[mine].sum())
        assert v["latency_log_sum"][row] == pytest.approx(np.log(np.maximum(latency[mine], 2.0**-20)).sum())
        assert (v["energy_n"][row], v["energy_sum"][row]) == (known.sum(), pytest.approx(energy[known].sum()))


def test_bands_below_and_beyond_the_usual_range_are_the_outermost_and_no_reading_is_minus_one():
    records = draw(np.random.default_rng(1), 4, missing=0)
    records.measures[columns.MEASURES.index("temperature")] = [-25, 9.9, 555, np.nan]
    records.measures[columns.MEASURES.index("input_quality")] = [0, 0.3, 1.0, np.nan]
    v = cell_partials(records).values
    assert sorted(zip(v["temperature_band"].tolist(), v["quality_band"].tolist(), strict=True)) == [
        (-1, -1),
        (0, 0),
        (0, 3),
        (20, 9),
    ]


@given(seed=st.integers(0, 500), cut=st.integers(1, 199))
def test_two_halves_merge_to_the_whole(seed, cut):
    records = draw(np.random.default_rng(seed), 200, minutes=1)
    first, second = (
        Records(
            records.time_us[part],
            records.measures[:, part],
            *(getattr(records, name)[part] for name in ("fallback", "outcome", "retries", "throttled", "class_id")),
        )
        for part in (slice(None, cut), slice(cut, None))
    )
    whole, parts = minute_partials(records), [minute_partials(first), minute_partials(second)]
    for column in columns.PARTIAL_VALUES:
        values = [part.values[column.name][0] for part in parts]
        if column.merge == "sum":
            assert sum(values) == pytest.approx(whole.values[column.name][0])
        elif column.merge == "histogram":
            merged = HistogramRows.from_packed(values).regroup(np.zeros(2, dtype=int), 1).pack()[0]
            assert merged == whole.values[column.name][0]


def test_windows_of_one_minute_are_one_row_and_their_histograms_add_up():
    values = [np.array([10.0, 12.0]), np.array([12.0, 0.0])]
    histograms = [Histogram.of(v) for v in values]
    width = max(h.offset + h.counts.size for h in histograms)
    rows = HistogramRows(
        np.array([0, 0, 1]),
        np.array([*(histograms[0].offset + np.flatnonzero(histograms[0].counts)), histograms[1].offset]),
        np.array([1, 1, 1]),
        np.array([0, 1]),
    )
    windows = WindowColumns(
        np.array([START, START + 30_000_000]),
        {"count": np.array([2, 2]), "latency_max": np.array([12.0, 12.0]), "latency_sum": np.array([22.0, 12.0])},
        {"latency_hist": rows},
    )
    partials = window_partials(windows)
    assert partials.bucket_us.tolist() == [START]
    assert (partials.values["count"].tolist(), partials.values["latency_sum"].tolist()) == ([4], [34.0])
    offset, counts, zero = unpack(partials.values["latency_hist"][0])
    assert (offset, counts.sum(), zero, offset + counts.size) == (histograms[0].offset, 3, 1, width)
    assert np.isnan(partials.values["latency_min"]).all()
    assert partials.values["energy_hist"] == [None]


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=7),
    minutes=st.sampled_from([1, 3, 200, 100_000]),
    seed=st.integers(0, 1000),
    missing=st.sampled_from([0, 0.3, 1]),
    class_ids=st.sampled_from([(0, 1, 2, 3), (5, 4_103, 2_000_000_000)]),
)
@pytest.mark.parametrize("roll_up", [minute_partials, cell_partials])
def test_batches_rolled_up_at_once_get_the_very_rows_that_each_gets_alone(
    roll_up, sizes, minutes, seed, missing, class_ids
):
    rng = np.random.default_rng(seed)
    batches = [draw(rng, n, minutes, missing, class_ids) for n in sizes]
    joined = Records(
        *(
            np.concatenate([getattr(batch, name) for batch in batches], axis=-1)
            for name in ("time_us", "measures", "fallback", "outcome", "retries", "throttled", "class_id")
        ),
        batch=np.repeat(np.arange(len(sizes)), sizes),
    )
    together = roll_up(joined)
    assert (np.diff(together.batch) >= 0).all()
    for place, batch in enumerate(batches):
        alone, mine = roll_up(batch), together.select(together.batch == place)
        np.testing.assert_array_equal(mine.bucket_us, alone.bucket_us)
        for name, values in alone.values.items():
            np.testing.assert_array_equal(mine.values[name], values, err_msg=name)


def test_windows_of_several_batches_are_kept_apart():
    starts = START + MINUTE_US * np.array([0, 0, 0, 1])
    numbers = {"count": np.array([1, 2, 4, 8])}
    partials = window_partials(WindowColumns(starts, numbers, {}, batch=np.array([0, 0, 1, 1])))
    assert partials.batch.tolist() == [0, 1, 1]
    assert partials.bucket_us.tolist() == [START, START, START + MINUTE_US]
    assert partials.values["count"].tolist() == [3, 4, 8]
