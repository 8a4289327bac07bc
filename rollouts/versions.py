"""The order of versions, by which an install never goes backwards."""

import re
from datetime import datetime

_NUMBERS = re.compile(r"v?(\d+(?:\.\d+)*)(.*)", re.ASCII)


def version_key(version: str) -> tuple[tuple[int, ...], bool, str] | None:
    """A sortable key: the dotted numbers, then whether nothing follows them (1.2.0-rc1 comes before 1.2.0); None where
    the version does not begin with a number."""
    match = _NUMBERS.fullmatch(version)
    if match is None:
        return None
    numbers = [int(part) for part in match[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), match[2] == "", match[2]


def is_newer(version: str, created_at: datetime, than_version: str, than_created_at: datetime) -> bool:
    """Whether one release is newer than another: by version where both have an order, else by when they were made."""
    mine, other = version_key(version), version_key(than_version)
    if mine is not None and other is not None and mine != other:
        return mine > other
    return created_at > than_created_at
