"""Effects as people read them: signs, units, forest plot, interval over looks, the glyph of a board cell."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from drift import charts
from drift.charts import Effect, Look

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("latency_p95", 0.062, "+6.2 %"),
        ("energy_mean", -0.031, "\N{MINUS SIGN}3.1 %"),
        ("fallback_rate", 0.008, "+0.80 points"),
        ("confidence_mean", -0.0213, "\N{MINUS SIGN}0.021"),
        ("temperature_mean", 2.5, "+2.500 °C"),
        ("latency_p95", -0.0001, "0.0 %"),
        ("latency_p95", None, "–"),
    ],
)
def test_an_effect_is_written_in_its_metrics_unit(metric, value, text):
    assert charts.effect_text(metric, value) == text


def test_harm_lies_to_the_right_also_where_less_is_worse():
    drop = Effect("confidence_mean", "Mean confidence", -0.03, -0.04, -0.02, 0.02)
    chart = charts.forest_plot([drop])
    bar, point = chart.data
    assert bar["x"] == [1, 2]
    assert point["x"] == [1.5]


def test_an_interval_with_an_open_end_reaches_the_edge_of_the_plot():
    chart = charts.forest_plot([Effect("fallback_rate", "Fallback rate", 0.001, None, 0.004, 0.005)])
    assert chart.data[0]["x"] == [-4.0, 0.8]


def test_a_metric_without_an_estimate_is_in_the_table_and_not_in_the_plot():
    chart = charts.forest_plot([Effect("latency_p99", "Latency p99", None, None, None, 0.1)])
    assert chart.data == []
    assert chart.table.rows[0][0] == "Latency p99"


def test_the_margin_of_a_metric_where_less_is_worse_is_drawn_below_zero():
    looks = [Look(NOON, -0.01, -0.03, 0.01, "inconclusive")]
    chart = charts.interval_over_looks(looks, metric="confidence_mean", margin=0.02)
    [line] = [shape for shape in chart.layout["shapes"] if shape["type"] == "line"]
    assert line["y0"] == -0.02


def test_looks_are_drawn_in_per_cent_and_tabled_on_the_metrics_scale():
    looks = [Look(NOON + timedelta(hours=i), 0.05, 0.01, None, "hold", 20, 40) for i in range(2)]
    chart = charts.interval_over_looks(looks, metric="energy_mean", margin=0.05)
    assert chart.data[2]["y"] == [5, 5]
    assert chart.data[1]["y"] == [None, None]
    assert chart.table.rows[0][2] == 0.05
    json.dumps(chart.to_dict(), allow_nan=False)


def test_a_glyph_orders_its_ends_and_says_the_finding_in_words():
    glyph = charts.interval_glyph(Effect("confidence_mean", "Mean confidence", -0.01, -0.03, 0.01, 0.02, "hold"))
    assert glyph.lower < glyph.effect < glyph.upper
    assert glyph.zero < glyph.effect < glyph.margin < glyph.upper
    assert glyph.label == (
        "Mean confidence \N{MINUS SIGN}0.010, \N{MINUS SIGN}0.030 to +0.010, margin \N{MINUS SIGN}0.020"
    )


def test_a_wild_effect_stays_inside_the_glyph():
    glyph = charts.interval_glyph(Effect("energy_mean", "Energy", 3.0, 2.0, 4.0, 0.05, "fail"))
    assert glyph.effect == glyph.upper == glyph.lower == 170.0


def test_there_is_no_glyph_without_an_estimate():
    assert charts.interval_glyph(Effect("energy_mean", "Energy", None, None, None, 0.05)) is None


def test_where_a_budget_tolerates_nothing_any_change_lies_beyond_the_margin():
    """A margin of zero is no scale: the glyph and the plot are cut at their edges instead of failing."""
    harm = Effect("energy_mean", "Energy", 0.01, 0.0, 0.02, margin=0.0)
    assert charts.forest_plot([harm]).data[0]["x"] == [0.0, 4.0]
    assert charts.interval_glyph(harm).effect == charts.interval_glyph(harm).upper
