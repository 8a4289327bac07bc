"""How often an address may try to enrol, and how often which answer was given; kept in the cache, by whole minutes.

Keys cannot be guessed (256 bits), so the limit is there for broken devices that try again and again, and for the one
address that would keep everyone busy. When the cache is away nothing is refused: the key is what protects enrolment.
"""

import logging
import math
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest

logger = logging.getLogger(__name__)

OUTCOMES = ("enrolled", "bad_key", "refused", "too_many")
_MINUTE = 60
_HOURS_COUNTED = 24


def address_of(request: HttpRequest) -> str:
    """The address that sent a request; behind a proxy the one that the proxy saw."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.SECURE_PROXY_SSL_HEADER else ""
    return forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", "")


def seconds_to_wait(address: str, now: datetime) -> int:
    """Count an attempt; how long the address must wait before the next, 0 when it may go on."""
    try:
        attempts = _count_up(_key("tried", address, now), _MINUTE)
        failures = cache.get(_key("failed", address, now), 0)
    except Exception:
        # Whatever the cache's client raises when its server is away.
        logger.warning("The cache is away; enrolment is not limited.")
        return 0
    if attempts <= settings.ENROLL_PER_MINUTE and failures < settings.ENROLL_FAILURES_PER_MINUTE:
        return 0
    return max(1, math.ceil(_MINUTE - now.timestamp() % _MINUTE))


def note(outcome: str, address: str, now: datetime) -> None:
    """Count an answer, one of OUTCOMES; a bad key also counts against the address."""
    try:
        _count_up(_hour_key(outcome, now), (_HOURS_COUNTED + 1) * 3600)
        if outcome == "bad_key":
            _count_up(_key("failed", address, now), _MINUTE)
    except Exception:
        logger.warning("The cache is away; enrolments are not counted.")


def counts(now: datetime) -> Mapping[str, int]:
    """How often each answer was given within the last day, to the hour; empty while the cache is away."""
    hours = [now - timedelta(hours=back) for back in range(_HOURS_COUNTED)]
    keys = {_hour_key(outcome, hour): outcome for outcome in OUTCOMES for hour in hours}
    try:
        found = cache.get_many(list(keys))
    except Exception:
        return {}
    totals = dict.fromkeys(OUTCOMES, 0)
    for key, count in found.items():
        totals[keys[key]] += count
    return totals


def _key(what: str, address: str, now: datetime) -> str:
    return f"enroll:{what}:{address}:{int(now.timestamp()) // _MINUTE}"


def _hour_key(outcome: str, now: datetime) -> str:
    return f"enroll:{outcome}:{now:%Y%m%d%H}"


def _count_up(key: str, lifetime_s: int) -> int:
    if cache.add(key, 1, timeout=lifetime_s):
        return 1
    try:
        return cache.incr(key)
    except ValueError:
        # it expired in between
        cache.set(key, 1, timeout=lifetime_s)
        return 1
