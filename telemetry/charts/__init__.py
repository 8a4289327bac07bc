"""Plotly figures from plain arrays, one file per picture; each has a table of the same numbers and a footing."""

from telemetry.charts.adoption import adoption_area
from telemetry.charts.bands import BandSeries, percentile_bands
from telemetry.charts.classes import class_mix_bars
from telemetry.charts.ecdf import EcdfSeries, ecdf_overlay
from telemetry.charts.energy import EnergySeries, energy_over_time
from telemetry.charts.figure import Chart, Empty, Footing, Marker, Span, Table
from telemetry.charts.heatmap import Outline, value_heatmap
from telemetry.charts.ridgeline import Ridge, confidence_ridgeline
from telemetry.charts.sparkline import Sparkline, sparkline
from telemetry.charts.temperature import TemperatureSeries, energy_by_temperature
from telemetry.charts.throttling import throttled_minutes

__all__ = [
    "BandSeries",
    "Chart",
    "EcdfSeries",
    "Empty",
    "EnergySeries",
    "Footing",
    "Marker",
    "Outline",
    "Ridge",
    "Span",
    "Sparkline",
    "Table",
    "TemperatureSeries",
    "adoption_area",
    "class_mix_bars",
    "confidence_ridgeline",
    "ecdf_overlay",
    "energy_by_temperature",
    "energy_over_time",
    "percentile_bands",
    "sparkline",
    "throttled_minutes",
    "value_heatmap",
]
