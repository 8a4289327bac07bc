"""Batch gaps: numbers of batches that never came, worked out again from the ledger.

Ingest does not look for gaps: two connections of one device would each see the other's batch as missing, and every
batch would pay for it. This task reads the ledger instead, around the batches that came lately, so it is idempotent and
sees only what is committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.cache import cache

from telemetry import store

# A pass looks at batches received since the one before, and this much earlier, which covers transactions that were
# open then. Where the time of the last pass is lost it looks further back.
OVERLAP = timedelta(minutes=2)
LOOK_BACK = timedelta(hours=6)
_LAST_PASS = "telemetry.gaps.last_pass"


@dataclass(frozen=True, slots=True)
class GapResult:
    """What a pass did: gaps opened, and gaps that are filled or were replaced by smaller ones."""

    opened: int
    closed: int


def find_gaps(now: datetime, since: datetime | None = None) -> GapResult:
    """Bring the gaps of all devices heard of lately up to date.

    A gap is a longest run of missing numbers between two stored ones of the same boot. A late batch closes the gap it
    falls into; what remains missing on either side is opened as gaps of their own, found now.

    Args:
        now: time of the pass.
        since: batches received from here on are looked at; by default since the last pass.
    """
    if since is None:
        last = cache.get(_LAST_PASS)
        since = now - LOOK_BACK if last is None else min(last, now) - OVERLAP
    result = GapResult(*store.renew_gaps(now, since))
    cache.set(_LAST_PASS, now, timeout=None)
    return result
