"""An effect with its interval and margin, and how it is written for people."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from drift.stats.metrics import METRICS, Kind

MINUS = "\N{MINUS SIGN}"
# Shape alarms have a distance, not a signed effect.
_TOKENS = {"pass": "--pass", "fail": "--fail", "hold": "--hold", "inconclusive": "--inconclusive"}
# What alarms measure beside metrics: shares of the devices that could be hit.
SHARES_OF_DEVICES = frozenset({"silence", "lost_batches", "mismatch"})


@dataclass(frozen=True)
class Effect:
    """One judged quantity, on the metric's own scale (0.05 is +5 % for relative metrics); the margin is positive."""

    metric: str
    label: str
    effect: float | None
    lower: float | None
    upper: float | None
    margin: float
    verdict: str = "inconclusive"
    n_treated: int = 0
    n_control: int = 0

    @property
    def harm(self) -> int:
        """+1 where more is worse, -1 where less is worse."""
        return METRICS[self.metric].harm if self.metric in METRICS else 1

    @property
    def token(self) -> str:
        """The CSS token of the verdict."""
        return _TOKENS.get(self.verdict, "--no-data")

    def in_margins(self, value: float | None) -> float | None:
        """A value toward harm, in units of the margin: 0 is no change, 1 the margin.

        A budget may tolerate nothing: then any change is infinitely many margins.
        """
        if value is None or value == 0.0:
            return value
        return value * self.harm / self.margin if self.margin else math.copysign(math.inf, value * self.harm)


def effect_text(metric: str, value: float | None) -> str:
    """`+6.2 %` for relative metrics, `+0.8 points` for shares, else a difference in the metric's unit; `–` for none."""
    if value is None:
        return "–"
    known = METRICS.get(metric)
    if known is not None and known.relative:
        return f"{_signed(value * 100, 1)} %"
    if metric in SHARES_OF_DEVICES:
        return f"{value * 100:.1f} %"
    if metric == "accuracy":
        return f"{_signed(value * 100, 1)} points"
    if known is not None and known.kind is Kind.SHARE:
        return f"{_signed(value * 100, 2)} points"
    unit = f" {known.unit}" if known is not None and known.unit in ("°C", "inferences") else ""
    return f"{_signed(value, 3)}{unit}"


def interval_text(metric: str, lower: float | None, upper: float | None) -> str:
    """`+4.1 % to +8.3 %`; an open end is `…`."""
    if lower is None and upper is None:
        return "no interval yet"
    low = "…" if lower is None else effect_text(metric, lower)
    high = "…" if upper is None else effect_text(metric, upper)
    return f"{low} to {high}"


def described_in_words(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Metrics that a look reports and does not test, as templates/drift/_described.html shows them."""
    return [
        {
            "row": row,
            "title": METRICS[row["metric"]].title if row["metric"] in METRICS else row["metric"],
            "effect": effect_text(row["metric"], row["effect"]),
            "interval": interval_text(row["metric"], row["lower"], row["upper"]),
        }
        for row in rows
    ]


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    if float(text) == 0:
        return text[1:]
    return text.replace("-", MINUS)
