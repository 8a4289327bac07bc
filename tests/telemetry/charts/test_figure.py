"""What every chart has in common: JSON without NaN, gaps that stay gaps, axes, tables."""

import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from telemetry.charts.classes import class_mix_bars
from telemetry.charts.figure import Chart, Empty, Footing, Table, filled_between, instant, log_axis, number, numbers

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        (17.4375, 17.438),
        (2.0, 2),
        (np.float32(0.5), 0.5),
        (123456.7, 123460),
    ],
)
def test_a_number_has_five_significant_digits_and_a_missing_one_is_null(value, expected):
    assert number(value) == expected


def test_an_instant_is_written_in_utc_whatever_zone_it_came_in():
    assert instant(NOON.astimezone(timezone(timedelta(hours=9)))) == "2026-03-02T12:00:00Z"


def test_a_chart_of_numpy_values_is_plain_json():
    table = Table(["a"], [(np.int64(3), np.float64("nan"), NOON, np.bool_(True), "x")])
    chart = Chart([], {}, table, Footing(as_of=NOON, count=3, completeness=0.5))
    answer = json.loads(json.dumps(chart.to_dict(), allow_nan=False))
    assert answer["table"]["rows"] == [[3, None, "2026-03-02T12:00:00Z", True, "x"]]
    assert answer["foot"]["as_of"] == "2026-03-02T12:00:00Z"
    assert answer["empty"] is None


def test_an_empty_chart_names_its_cause_and_its_remedy():
    empty = Chart.nothing(Empty.rejected(12, "/ingest/")).to_dict()["empty"]
    assert (empty["cause"], empty["remedy_url"]) == ("rejected", "/ingest/")
    assert "12 records" in empty["text"]


def test_a_fill_is_one_outline_per_stretch_and_never_crosses_a_gap():
    trace = filled_between([1, 2, 3, 4], numbers([1, 1, None, 1]), numbers([2, 2, 2, 2]), "fill")
    assert trace["x"] == [1, 2, 2, 1, None, 4, 4]
    assert trace["y"] == [2, 2, 1, 1, None, 2, 1]


@pytest.mark.parametrize(("low", "high"), [(14, 60), (0.3, 900), (1e-3, 1e6), (20, 21)])
def test_a_logarithmic_axis_has_few_ticks_written_in_full(low, high):
    axis = log_axis("latency, ms", low, high)
    shown = [text for value, text in zip(axis["tickvals"], axis["ticktext"], strict=True) if low <= value <= high]
    assert len(shown) <= 10
    assert axis["tickvals"] == sorted(axis["tickvals"])
    assert all(
        float(text) == pytest.approx(value) for value, text in zip(axis["tickvals"], axis["ticktext"], strict=True)
    )


def test_names_from_outside_show_as_the_text_that_they_are_and_not_as_markup():
    name = '<a href="https://x">y</a> & <i>z</i>'
    chart = class_mix_bars({name: {name: 3, "cat": 1}})
    answer = chart.to_dict()
    shown = '&lt;a href="https://x"&gt;y&lt;/a&gt; &amp; &lt;i&gt;z&lt;/i&gt;'
    assert answer["figure"]["data"][0]["name"] == shown
    assert answer["figure"]["data"][0]["y"] == [shown]
    assert answer["figure"]["data"][0]["hovertemplate"].startswith("<b>%{y}</b> &lt;a href")
    assert answer["table"]["rows"][0][0] == name, "a table is no markup"
    assert "<a" not in json.dumps(answer["figure"])


def test_an_address_behind_a_point_stays_as_it_is():
    chart = Chart([{"customdata": [{"url": "/x/?a=1&b=2", "word": "a&b"}]}], {}, Table([], []))
    assert chart.to_dict()["figure"]["data"][0]["customdata"] == [{"url": "/x/?a=1&b=2", "word": "a&amp;b"}]
