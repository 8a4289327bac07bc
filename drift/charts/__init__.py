"""Plotly figures of findings: effects with intervals and margins, at one look and over looks."""

from drift.charts.effects import Effect, described_in_words, effect_text, interval_text
from drift.charts.forest import forest_plot
from drift.charts.glyph import IntervalGlyph, interval_glyph
from drift.charts.looks import Look, interval_over_looks

__all__ = [
    "Effect",
    "IntervalGlyph",
    "Look",
    "described_in_words",
    "effect_text",
    "forest_plot",
    "interval_glyph",
    "interval_over_looks",
    "interval_text",
]
