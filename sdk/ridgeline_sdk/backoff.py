"""How long to wait before the next attempt: exponential backoff with full jitter, and the server's Retry-After."""

from __future__ import annotations

import random
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

BASE_S = 1.0
CAP_S = 300.0
# A server that says "wait 30 s" to a thousand devices must not be met by all of them in the 31st second.
RETRY_AFTER_SPREAD = 0.25


def full_jitter(attempt: int, rng: random.Random, base_s: float = BASE_S, cap_s: float = CAP_S) -> float:
    """Seconds to wait after the `attempt`-th failure in a row (from 1): uniform on [0, min(cap, base 2^(attempt-1))].

    Source: Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015 ("full jitter").
    """
    exponent = min(max(attempt, 1) - 1, 30)
    return rng.uniform(0.0, min(cap_s, base_s * 2.0**exponent))


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds asked for by a Retry-After header: delta-seconds or HTTP-date, RFC 9110 10.2.3; None if unreadable."""
    if header is None:
        return None
    text = header.strip()
    if text.isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    return max(0.0, (when - now).total_seconds())


def next_wait_s(attempt: int, retry_after: float | None, rng: random.Random) -> float:
    """Seconds to wait: at least what the server asked for, spread out; else the jittered backoff."""
    if retry_after is None:
        return full_jitter(attempt, rng)
    return retry_after + rng.uniform(0.0, max(1.0, retry_after) * RETRY_AFTER_SPREAD)
