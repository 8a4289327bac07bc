"""What a client says about an action: read tolerantly, because clients differ and none is asked to send it again."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MAX_DETAILS = 50


class Meaning(StrEnum):
    """What a piece of feedback says of the action."""

    PROGRESS = "progress"
    DOWNLOAD = "download"
    WARNING = "warning"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"


class BadFeedback(ValueError):
    """A required field is missing or is no text; the message names it."""


@dataclass(frozen=True)
class Feedback:
    """One message: execution, result, and details as one text. `progress` in per cent where the client counts."""

    execution: str
    finished: str
    details: str
    progress: int | None

    @property
    def meaning(self) -> Meaning:
        """closed ends the action, rejected is a warning, and an execution that nobody knows is progress."""
        if self.execution == "closed":
            return Meaning.FAILURE if self.finished == "failure" else Meaning.SUCCESS
        if self.execution == "canceled":
            return Meaning.CANCELLED
        if self.execution == "rejected":
            return Meaning.WARNING
        if self.execution in ("download", "downloaded"):
            return Meaning.DOWNLOAD
        return Meaning.PROGRESS


def read(document: Any) -> Feedback:
    """Read `{"status": {"execution", "result": {"finished", "progress"}, "details"}}`; `id` and `time` are ignored."""
    status = _object(document, "status")
    result = _object(status, "result")
    execution, finished = _text(status, "execution"), _text(result, "finished")
    details = status.get("details") or []
    texts = details if isinstance(details, list) else [details]
    return Feedback(
        execution.lower(),
        finished.lower(),
        "\n".join(str(text) for text in texts[:MAX_DETAILS]),
        _progress(result.get("progress")),
    )


def _object(document: Any, name: str) -> Mapping[str, Any]:
    value = document.get(name) if isinstance(document, Mapping) else None
    if not isinstance(value, Mapping):
        raise BadFeedback(f"{name} is required")
    return value


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise BadFeedback(f"{name} is required")
    return value


def _progress(value: Any) -> int | None:
    if not isinstance(value, Mapping):
        return None
    count, of = value.get("cnt"), value.get("of")
    if not isinstance(count, int) or not isinstance(of, int) or of <= 0:
        return None
    return max(0, min(100, round(100 * count / of)))


def attributes(document: Any) -> tuple[str, dict[str, str]]:
    """Mode and attributes of a configData body; values that are no text are written as text.

    Raises BadFeedback for an unknown mode, no data, and keys or values that are too long.
    """
    if not isinstance(document, Mapping):
        raise BadFeedback("the body must be an object")
    mode = document.get("mode") or "merge"
    if mode not in ("merge", "replace", "remove"):
        raise BadFeedback("mode is one of merge, replace, remove")
    data = document.get("data")
    if not isinstance(data, Mapping) or (not data and mode == "merge"):
        raise BadFeedback("data is required")
    found = {str(key): "" if value is None else str(value) for key, value in data.items()}
    for key, value in found.items():
        if not 0 < len(key) <= 128 or len(value) > 128:
            raise BadFeedback("keys have 1 to 128 characters, values at most 128")
    return mode, found
