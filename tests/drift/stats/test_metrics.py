"""The registry of metrics: effects, margins and least sample sizes."""

import math

import pytest

from drift.stats import metrics
from drift.stats.metrics import GUARDRAILS, METRICS, SHAPES, margin_for, quantile_minimum_n


@pytest.mark.parametrize(("p", "n"), [(0.5, 40), (0.95, 400), (0.99, 2000)])
def test_a_quantile_needs_twenty_inferences_beyond_it(p: float, n: int) -> None:
    assert quantile_minimum_n(p) == n


@pytest.mark.parametrize("p", [0.0, 1.0, -0.1])
def test_a_quantile_outside_the_open_interval_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        quantile_minimum_n(p)


@pytest.mark.parametrize("name", list(METRICS))
def test_every_effect_and_level_comes_back_from_the_scale_of_device_values(name: str) -> None:
    metric = METRICS[name]
    assert metric.to_effect(metric.from_effect(0.07)) == pytest.approx(0.07, rel=1e-12)
    assert metric.level(metric.from_level(42.5)) == pytest.approx(42.5, rel=1e-12)
    assert metric.margin > 0.0
    assert metric.harm in (1, -1)


def test_a_five_per_cent_rise_is_the_same_effect_at_every_level() -> None:
    metric = METRICS["latency_p95"]
    for level in (0.5, 20.0, 900.0):
        theta = metric.from_level(1.05 * level) - metric.from_level(level)
        assert metric.to_effect(theta) == pytest.approx(0.05, rel=1e-12)


def test_a_logarithm_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(ValueError, match="latency_p95"):
        METRICS["latency_p95"].from_level(0.0)
    with pytest.raises(ValueError, match="energy_mean"):
        METRICS["energy_mean"].from_effect(-1.0)


def test_the_guardrails_cover_latency_energy_confidence_fallback_and_errors() -> None:
    expected = {"latency_p50", "latency_p95", "latency_p99", "energy_mean", "confidence_mean"}
    assert set(GUARDRAILS) == expected | {"fallback_rate", "error_rate"}
    assert {name for name, shape in SHAPES.items() if shape.guardrail} == {"confidence_shape", "class_mix"}


def test_the_margin_is_the_default_or_the_room_left_to_the_hard_limit() -> None:
    latency, fallback = METRICS["latency_p95"], METRICS["fallback_rate"]
    assert margin_for(latency) == 0.05
    assert margin_for(latency, budget_limit=50.0, control_level=40.0) == 0.05
    assert margin_for(latency, budget_limit=50.0, control_level=49.0) == pytest.approx(50 / 49 - 1)
    assert margin_for(fallback, budget_limit=0.012, control_level=0.010) == pytest.approx(0.002)


def test_a_control_over_the_limit_leaves_no_margin_at_all() -> None:
    assert margin_for(METRICS["latency_p95"], budget_limit=50.0, control_level=55.0) == 0.0


def test_an_unknown_name_is_named_in_the_error() -> None:
    with pytest.raises(ValueError, match="latency_p42"):
        metrics.metric("latency_p42")
    with pytest.raises(ValueError, match="weather"):
        metrics.shape("weather")


def test_an_absurd_difference_stays_finite() -> None:
    assert math.isfinite(METRICS["latency_p95"].to_effect(1e6))
