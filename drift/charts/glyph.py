"""The smallest picture of a finding: interval, estimate and margin on one line, drawn as SVG coordinates."""

from dataclasses import dataclass

from drift.charts.effects import Effect, effect_text, interval_text

WIDTH, INSET = 176.0, 6.0
# The line spans this many margins to either side of no change.
LEFT, RIGHT = -1.5, 2.5


@dataclass(frozen=True)
class IntervalGlyph:
    """Positions on the line of templates/_interval.html, and the finding in words for those who cannot see it."""

    zero: float
    margin: float
    lower: float
    upper: float
    effect: float
    label: str


def interval_glyph(effect: Effect) -> IntervalGlyph | None:
    """The glyph of an effect; harm is always to the right. None when there is no estimate."""
    if effect.effect is None:
        return None
    ends = sorted(
        _place(effect.in_margins(end), side)
        for end, side in ((effect.lower, -effect.harm), (effect.upper, effect.harm))
    )
    words = (
        f"{effect.label} {effect_text(effect.metric, effect.effect)}, "
        f"{interval_text(effect.metric, effect.lower, effect.upper)}, "
        f"margin {effect_text(effect.metric, effect.margin * effect.harm)}"
    )
    return IntervalGlyph(
        _place(0.0, 1), _place(1.0, 1), ends[0], ends[1], _place(effect.in_margins(effect.effect), 1), words
    )


def _place(margins: float | None, side: int) -> float:
    if margins is None:
        margins = RIGHT if side > 0 else LEFT
    inside = min(RIGHT, max(LEFT, margins))
    return round(INSET + (inside - LEFT) / (RIGHT - LEFT) * (WIDTH - 2 * INSET), 1)
