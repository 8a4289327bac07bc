"""What can be wrong with a body: a whole that cannot be read, a body that is too large, a single record that is bad."""

from __future__ import annotations

from dataclasses import dataclass


class BadBody(Exception):
    """The whole body is refused (400): its syntax, its schema name, unequal columns, or a missing identity.

    `field` names the place in the envelope where that is known.
    """

    def __init__(self, code: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.field = code, message, field


class TooLarge(Exception):
    """The body exceeds a limit (413); the device splits the batch and sends the parts."""


class UnknownEncoding(Exception):
    """The content encoding is none that the server reads (415)."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One bad record of a batch whose other records are stored.

    Attributes:
        section: the section of the envelope ("inferences", "windows", …).
        index: position of the record in its section as sent; None for a part of the envelope that is no list.
        field: the field to blame, "" where it is the record as a whole.
        code: type, missing, enum, range, length, character, inconsistent, future or too_old.
        message: one sentence for the person who mends the device.
    """

    section: str
    index: int | None
    field: str
    code: str
    message: str
