"""Sparklines: a small inline SVG line, drawn on the server so that a list needs no chart library."""

from collections.abc import Sequence
from dataclasses import dataclass

from telemetry.charts.figure import number

WIDTH, HEIGHT, INSET = 120.0, 32.0, 2.0


@dataclass(frozen=True)
class Sparkline:
    """SVG paths in a box of 120 by 32, for templates/_sparkline.html; `limit` is the height of the budget's line."""

    line: str
    area: str
    limit: float | None = None


def sparkline(
    values: Sequence[float | None], *, limit: float | None = None, from_zero: bool = False
) -> Sparkline | None:
    """The line of `values`, evenly spaced, broken where a value is missing; None with fewer than two values."""
    clean = [number(value) for value in values]
    known = [value for value in clean if value is not None]
    if len(known) < 2:
        return None
    low, high = min(known), max(known)
    if limit is not None:
        high = max(high, limit)
    if from_zero:
        low = min(0.0, low)
    reach = (high - low) or 1.0

    def height(value: float) -> float:
        return round(HEIGHT - INSET - (value - low) / reach * (HEIGHT - 2 * INSET), 1)

    runs: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(clean):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((round(index / (len(clean) - 1) * WIDTH, 1), height(value)))
    drawn = [run for run in runs if run]
    line = "".join("M" + "L".join(f"{x:g} {y:g}" for x, y in (run if len(run) > 1 else run * 2)) for run in drawn)
    area = "".join(
        "M" + "L".join(f"{x:g} {y:g}" for x, y in run) + f"L{run[-1][0]:g} {HEIGHT:g}L{run[0][0]:g} {HEIGHT:g}Z"
        for run in drawn
        if len(run) > 1
    )
    return Sparkline(line, area, height(limit) if limit is not None else None)
