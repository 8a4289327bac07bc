"""Allowances: token buckets in Redis that hold across all processes, and what they guard.

A bucket refills at a steady rate up to its size; whoever takes more than is there is told how long to wait. When Redis
is away nothing is refused: the ledger keeps data right, and losing data over a lost throttle would be the worse fault.

Each process lets a tenth through by itself before it asks Redis, so that a fleet of quiet devices costs no round trips.
With p processes a sender may thus have up to 1 + p/10 of what its bucket says.
"""

from __future__ import annotations

import logging
import time
from functools import cache

import redis
from django.conf import settings
from django.db import connection

logger = logging.getLogger(__name__)

# KEYS: bucket. ARGV: rate per second, size, amount. Returns the seconds to wait as text, "0" when the amount was taken.
# Redis' own clock is used, so that machines need not agree on theirs.
_TAKE = """
local now = redis.call('TIME')
local at = now[1] + now[2] / 1000000
local rate, size, amount = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local level, since = size, at
local held = redis.call('HMGET', KEYS[1], 'level', 'at')
if held[1] then
  level, since = tonumber(held[1]), tonumber(held[2])
  level = math.min(size, level + math.max(0, at - since) * rate)
end
local wait = 0
if level >= amount then
  level = level - amount
else
  wait = (amount - level) / rate
end
redis.call('HSET', KEYS[1], 'level', level, 'at', at)
redis.call('EXPIRE', KEYS[1], math.ceil(size / rate) + 1)
return tostring(wait)
"""
_RETRY_S = 10.0
OWN_SHARE = 0.1
_MAX_OWN = 50_000
_own: dict[str, tuple[float, float]] = {}


@cache
def _client() -> redis.Redis:
    # A request must not hang because Redis does.
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=0.25, socket_connect_timeout=0.25)


def _prefix() -> str:
    """Ids of devices mean something in one database only, and a Redis may serve several."""
    return f"allowance:{connection.settings_dict['NAME']}:"


@cache
def _script() -> redis.commands.core.Script:
    return _client().register_script(_TAKE)


_away_until = 0.0


def take(bucket: str, *, rate: float, size: float, amount: float = 1.0) -> float:
    """Take an amount from a bucket.

    Args:
        bucket: its name.
        rate: what flows in per second.
        size: what it holds when full.
        amount: what is taken; nothing is taken when there is less.

    Returns:
        seconds until the amount will be there; 0.0 when it was taken.
    """
    global _away_until
    if _take_here(bucket, rate * OWN_SHARE, size * OWN_SHARE, amount):
        return 0.0
    # The monotonic clock only spaces out attempts; no result depends on it.
    if time.monotonic() < _away_until:
        return 0.0
    try:
        return float(_script()(keys=[_prefix() + bucket], args=[rate, size, amount]))
    except redis.RedisError:
        logger.warning("Redis is away; allowances are not enforced for a while.")
        _away_until = time.monotonic() + _RETRY_S
        return 0.0


def _take_here(bucket: str, rate: float, size: float, amount: float) -> bool:
    """Take from what this process may let through by itself; whether there was enough."""
    now = time.monotonic()
    level, since = _own.get(bucket, (size, now))
    level = min(size, level + (now - since) * rate)
    taken = level >= amount
    if len(_own) >= _MAX_OWN:
        _own.clear()
    _own[bucket] = (level - amount if taken else level, now)
    return taken


def refill() -> None:
    """Make every bucket of this database full again."""
    _own.clear()
    for key in _client().scan_iter(_prefix() + "*"):
        _client().delete(key)
