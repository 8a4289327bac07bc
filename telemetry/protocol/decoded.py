"""What decoding hands on: the envelope, and its records by section with their places in the body."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from telemetry.protocol import wire
from telemetry.protocol.errors import Rejection


@dataclass(slots=True)
class Section:
    """The well-typed records of one section.

    Attributes:
        records: they, in the order sent.
        index: the position of each in the section as sent; None where no record was left out.
    """

    records: list[Any] = field(default_factory=list)
    index: list[int] | None = None


@dataclass(slots=True)
class Decoded:
    """An envelope whose records have the right types; ranges and consistency are not checked yet.

    `inferences` is a section of rows or the columns.
    """

    envelope: wire.Envelope
    inferences: Section | wire.InferenceColumns
    windows: Section
    events: Section
    states: Section
    counters: wire.Counters | None
    rejections: list[Rejection]
    unknown_fields: int
