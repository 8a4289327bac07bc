"""Template filters for the figures of two releases: values with their unit, differences as ratios or in points."""

from django import template

from drift.selectors.release_comparison import Figure, Row
from fleet.templatetags.numbers import DASH, MINUS, percent, signed_percent

register = template.Library()


@register.filter
def figure_value(value: float | None, figure: Figure) -> str:
    """41.27 with figure latency -> 41.3; a share in per cent."""
    if value is None:
        return DASH
    if figure.is_share:
        return percent(value, 2)
    if abs(value) < 1000:
        return f"{value:#.3g}".removesuffix(".")
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


@register.filter
def figure_interval(row: Row) -> str:
    """+4.1 to +8.3 %, with the unit once; a dash where there is none."""
    if row.lower is None or row.upper is None:
        return DASH
    lower, upper = (figure_difference(end, row.figure) for end in (row.lower, row.upper))
    return f"{lower.split(' ')[0]} to {upper}"


@register.filter
def figure_difference(value: float | None, figure: Figure) -> str:
    """+6.2 % for relative figures, +0.8 points for shares, else a difference in the figure's unit."""
    if value is None:
        return DASH
    if figure.relative:
        return signed_percent(value)
    if figure.is_share:
        return f"{signed_percent(value, 2).removesuffix(' %')} points"
    text = f"{value:+.1f}" if figure.unit else f"{value:+.3f}"
    unit = f" {figure.unit}" if figure.unit else ""
    return f"{text if float(text) else text[1:]}{unit}".replace("-", MINUS)
