"""The vocabulary of the status page: a line is good, a warning or bad, and says what to do; sections hold lines."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

GOOD, WARN, BAD = "good", "warn", "bad"
_ORDER = {GOOD: 0, WARN: 1, BAD: 2}


@dataclass(frozen=True)
class Line:
    """One thing that can be well or not: its name, state, value in words, and what to do where it is not well."""

    name: str
    state: str
    value: str
    note: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Table:
    """Numbers that explain a section: headings, rows as text, and which columns hold numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[int] = ()


@dataclass(frozen=True)
class Section:
    """A part of the system: a slug for addresses, a title, its lines, and a table where lines are not enough."""

    name: str
    title: str
    lines: Sequence[Line] = ()
    table: Table | None = None
    question: str = ""

    @property
    def state(self) -> str:
        """The worst of its lines."""
        return worst(line.state for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        table = None
        if self.table is not None:
            table = {"columns": list(self.table.columns), "rows": [list(row) for row in self.table.rows]}
        return {
            "name": self.name,
            "title": self.title,
            "state": self.state,
            "lines": [asdict(line) for line in self.lines],
            "table": table,
        }


@dataclass(frozen=True)
class Report:
    """All sections as of one moment."""

    sections: Sequence[Section] = field(default=())

    @property
    def state(self) -> str:
        """The worst of all lines."""
        return worst(section.state for section in self.sections)

    def in_state(self, state: str) -> list[tuple[Section, Line]]:
        """The lines in a state, with their sections."""
        return [(section, line) for section in self.sections for line in section.lines if line.state == state]


def worst(states: Any) -> str:
    """The worst of some states; good where there is none."""
    return max(states, key=_ORDER.__getitem__, default=GOOD)


def words_of_bytes(size: float) -> str:
    """1536 -> 1.5 kB; binary steps, as disks are reported by the database."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1024 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError


def words_of_seconds(seconds: float) -> str:
    """0.0123 -> 12 ms; 90 -> 90 s; 5400 -> 90 min; 200000 -> 56 h."""
    if seconds < 0.9995:
        return f"{1000 * seconds:.{1 if seconds < 0.01 else 0}f} ms"
    for size, unit in ((1, "s"), (60, "min"), (3600, "h")):
        if seconds < 120 * size:
            return f"{seconds / size:.{1 if seconds < 10 * size and size == 1 else 0}f} {unit}"
    return f"{seconds / 86400:.0f} d"
