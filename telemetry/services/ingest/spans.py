"""Release spans: which release ran on a device when, kept with as few writes as the question needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from telemetry import store
from telemetry.services.contexts import KnownContext

# The end of a running span is written this often; pages need no better, and most batches then write nothing here.
_RESOLUTION = timedelta(minutes=1)
_MAX_REMEMBERED = 50_000


@dataclass(frozen=True, slots=True)
class _Span:
    release_id: int
    first: datetime
    last: datetime


_spans: dict[tuple[int, int], _Span] = {}


def follow_release(
    device_id: int, context: KnownContext, boot_id: str, first: datetime, last: datetime
) -> Callable[[], None] | None:
    """Note that the device ran the context's release from `first` to `last`; what to call once that is committed.

    What other processes wrote meanwhile is not known here; that costs at most a further write, or a minute's delay.
    """
    key = (device_id, context.workload_id)
    span = _spans.get(key)
    if span and span.release_id == context.release_id and span.first <= first and last <= span.last + _RESOLUTION:
        return None
    start, end = store.extend_release_span(
        device_id=device_id,
        workload_id=context.workload_id,
        release_id=context.release_id,
        boot_id=boot_id,
        start=first,
        end=last,
    )
    return partial(_remember, key, _Span(context.release_id, start, end))


def _remember(key: tuple[int, int], span: _Span) -> None:
    if len(_spans) >= _MAX_REMEMBERED:
        _spans.clear()
    _spans[key] = span


def forget() -> None:
    """Forget what is remembered."""
    _spans.clear()
