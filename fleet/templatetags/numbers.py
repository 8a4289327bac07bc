"""Template filters for numbers: shares in per cent, big counts in short, ratios with their sign."""

from django import template

register = template.Library()

MINUS = "\N{MINUS SIGN}"
DASH = "–"


@register.filter
def percent(share: float | None, digits: int = 1) -> str:
    """0.0123 -> 1.2 %; a dash for no value."""
    return DASH if share is None else f"{100 * share:.{digits}f} %"


@register.filter
def milli(value: float | None) -> float | None:
    """0.0693 J -> 69.3 mJ; no value stays none."""
    return None if value is None else 1000 * value


@register.filter
def signed_percent(ratio: float | None, digits: int = 1) -> str:
    """0.083 -> +8.3 %, with a real minus sign."""
    if ratio is None:
        return DASH
    text = f"{100 * ratio:+.{digits}f}"
    if float(text) == 0:
        text = text[1:]
    return f"{text.replace('-', MINUS)} %"


@register.filter
def points(difference: float | None, digits: int = 1) -> str:
    """0.298 -> +29.8, a difference of shares in percentage points, with a real minus sign."""
    return DASH if difference is None else signed_percent(difference, digits).removesuffix(" %")


@register.filter
def signed(value: float | None, digits: int = 1) -> str:
    """3.24 -> +3.2, with a real minus sign; 0 has none."""
    return DASH if value is None else signed_percent(value / 100, digits).removesuffix(" %")


@register.filter
def short(count: float | None) -> str:
    """1284211 -> 1.28 M."""
    if count is None:
        return DASH
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= 10 * size or (abs(count) >= size and size > 1e3):
            return f"{count / size:.3g} {unit}"
    return f"{count:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


@register.filter
def against(value: float | None, other: float | None) -> float | None:
    """The relative difference of a value to another one: 1.1 against 1.0 is 0.1."""
    return None if value is None or not other else value / other - 1.0
