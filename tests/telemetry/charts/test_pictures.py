"""Each picture draws the numbers that it was given, and no more of them than a screen shows."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from telemetry import charts
from telemetry.charts.figure import MAX_COLUMNS, MAX_ROWS, Marker, Span

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def hours(count: int) -> list[datetime]:
    """The last `count` whole hours before noon."""
    return [NOON - timedelta(hours=count - i) for i in range(count)]


def traces(chart: charts.Chart, name: str) -> list[dict]:
    """The traces of a chart with this name."""
    return [trace for trace in chart.data if trace.get("name") == name]


def bands(**more) -> charts.Chart:
    """One release over three hours, the middle one silent."""
    series = charts.BandSeries(
        "4.2.0", hours(3), [10, None, 12], [20, None, 22], [30, None, float("nan")], [100, 0, 90]
    )
    return charts.percentile_bands([series], title="latency, ms", **more)


def test_percentile_bands_leave_a_silent_hour_empty():
    [p95] = traces(bands(), "4.2.0")
    assert p95["y"] == [20, None, 22]
    assert p95["connectgaps"] is False


def test_percentile_bands_table_has_the_numbers_of_the_lines():
    assert bands().table.rows[0] == (hours(3)[0], "4.2.0", 100, 10, 20, 30)
    assert bands().table.rows[2][5] is None


@pytest.mark.parametrize("log", [False, True])
def test_percentile_bands_draw_budget_markers_and_spans(log):
    chart = bands(log=log, budget=30, markers=[Marker(NOON, "4.2.0")], spans=[Span(NOON, None, "throttled")])
    shapes = chart.layout["shapes"]
    assert sorted(shape["type"] for shape in shapes) == ["line", "line", "rect"]
    assert {note["text"] for note in chart.layout["annotations"]} == {"4.2.0", "throttled", "budget p95 30"}
    [limit] = [note for note in chart.layout["annotations"] if note["text"].startswith("budget")]
    assert limit["y"] == pytest.approx(np.log10(30) if log else 30, rel=1e-4)


def test_percentile_bands_show_the_whole_range_that_was_asked_for():
    chart = bands(start=NOON - timedelta(days=1), end=NOON)
    assert chart.layout["xaxis"]["range"] == ["2026-03-01T12:00:00Z", "2026-03-02T12:00:00Z"]


def test_the_table_of_a_ridgeline_has_the_mean_and_quantiles_of_the_distribution():
    counts = np.zeros(100)
    counts[80] = 3
    counts[90] = 1
    chart = charts.confidence_ridgeline([charts.Ridge("4.2.0", counts)])
    [(label, count, mean, low, middle, high)] = chart.table.rows
    assert (label, count) == ("4.2.0", 4)
    assert mean == pytest.approx((3 * 0.805 + 0.905) / 4)
    assert 0.80 <= low <= middle <= 0.81 < high <= 0.91


def test_every_ridge_integrates_to_one_so_that_traffic_does_not_make_it_taller():
    shape = np.exp(-(((np.arange(100) - 80) / 8) ** 2))
    chart = charts.confidence_ridgeline([charts.Ridge("busy", shape * 1e6), charts.Ridge("quiet", shape * 10)])
    busy, quiet = (traces(chart, name)[0]["customdata"] for name in ("busy", "quiet"))
    assert busy == pytest.approx(quiet, rel=1e-3)
    assert sum(busy[1:-1]) / 50 == pytest.approx(1, abs=0.01)


def test_a_release_without_any_confidence_is_left_out_of_the_ridgeline():
    chart = charts.confidence_ridgeline([charts.Ridge("silent", np.zeros(100)), charts.Ridge("4.2.0", np.ones(100))])
    assert [row[0] for row in chart.table.rows] == ["4.2.0"]


def test_an_ecdf_is_exact_at_the_limits_that_it_keeps():
    upper, count = np.arange(1.0, 1001.0), np.ones(1000)
    chart = charts.ecdf_overlay([charts.EcdfSeries("4.2.0", upper, count)], title="latency, ms", log=False)
    [line] = traces(chart, "4.2.0")
    assert len(line["x"]) <= MAX_COLUMNS
    assert line["y"] == pytest.approx(np.array(line["x"]) / 1000, rel=1e-4)
    assert (line["x"][-1], line["y"][-1]) == (1000, 1)


def test_a_heatmap_has_at_most_300_by_120_cells_and_loses_no_inference():
    rng = np.random.default_rng(5)
    counts = rng.poisson(2.0, size=(500, 1000))
    times = [NOON + timedelta(minutes=i) for i in range(1000)]
    chart = charts.value_heatmap(times, 2 ** (np.arange(501) / 32), counts)
    z = chart.data[0]["z"]
    assert len(z) <= MAX_ROWS and len(z[0]) <= MAX_COLUMNS
    assert len(chart.data[0]["y"]) == len(z) + 1 and len(chart.data[0]["x"]) == len(z[0]) + 1
    assert sum(row[1] for row in chart.table.rows) == counts.sum()


def test_a_heatmap_column_is_the_share_of_its_own_inferences_and_a_silent_one_stays_empty():
    counts = np.array([[3, 0, 0], [1, 0, 8]])
    chart = charts.value_heatmap(hours(3), np.array([1.0, 2.0, 4.0]), counts)
    assert [list(column) for column in zip(*chart.data[0]["z"], strict=True)] == [[0.75, 0.25], [None, None], [None, 1]]


def test_energy_has_its_interval_only_where_it_is_known():
    series = charts.EnergySeries("4.2.0", hours(3), [40, 41, None], [10, 10, 0], [1, None, None])
    chart = charts.energy_over_time([series], budget=45)
    fill = chart.data[0]
    assert fill["y"] == [41, 39]
    assert chart.layout["annotations"][-1]["text"] == "budget 45"


def test_adoption_stacks_the_releases_in_the_order_given():
    chart = charts.adoption_area(hours(2), {"4.1.0": [10, 6], "4.2.0": [0, 4]})
    assert [trace["name"] for trace in chart.data] == ["4.1.0", "4.2.0"]
    assert chart.table.rows[-1] == (hours(2)[1], "4.2.0", 4)


def test_class_shares_add_up_to_one_with_rare_classes_pooled():
    chart = charts.class_mix_bars(
        {"4.1.0": {"car": 90, "sign": 9, "rare": 1}, "4.2.0": {"car": 99, "sign": 1}}, pooled_below=0.05
    )
    assert [trace["name"] for trace in chart.data] == ["car", "sign", "all others"]
    for index in range(2):
        assert sum(trace["x"][index] for trace in chart.data) == pytest.approx(1)


def test_a_sparkline_breaks_where_a_value_is_missing():
    spark = charts.sparkline([1, 2, None, 3, 4])
    assert spark.line.count("M") == 2


def test_a_sparkline_of_less_than_two_values_is_none():
    assert charts.sparkline([None, 3.0, float("nan")]) is None


def test_the_limit_of_a_sparkline_lies_above_values_that_keep_it():
    spark = charts.sparkline([10, 12, 11], limit=20)
    assert spark.limit == 2.0


def test_every_picture_is_plain_json():
    pictures = [
        bands(budget=30),
        charts.confidence_ridgeline([charts.Ridge("a", np.ones(100))]),
        charts.ecdf_overlay(
            [charts.EcdfSeries("a", np.arange(1.0, 5.0), np.ones(4), np.zeros(4), np.ones(4))], title="ms"
        ),
        charts.value_heatmap(
            hours(3), np.array([1.0, 2.0, 4.0]), np.array([[3, 0, 0], [1, 0, 8]]), quantile=[1, None, 2]
        ),
        charts.energy_over_time([charts.EnergySeries("a", hours(1), [1], [1])]),
        charts.adoption_area(hours(1), {"a": [1]}),
        charts.class_mix_bars({"a": {"x": 1}}),
    ]
    for chart in pictures:
        json.dumps(chart.to_dict(), allow_nan=False)
