"""Celery tasks of the telemetry app: thin calls of services, with the clock read here."""

from __future__ import annotations

from datetime import timedelta

import structlog
from celery import shared_task
from django.core.cache import cache
from django.utils import timezone

from telemetry.services import auditing, gaps, retention
from telemetry.services.folding import fold

logger = structlog.get_logger(__name__)

_FOLDING = "telemetry.folding"
# A worker that was killed while it folded keeps the others from it for no longer than this.
_FOLDING_S = 120
# Each night looks at the two days before: late records change yesterday.
AUDITED = timedelta(days=2)


@shared_task
def fold_tiers() -> None:
    """Fold what is marked, unless a worker is doing so: with a backlog, runs must not queue up behind one another."""
    if not cache.add(_FOLDING, True, timeout=_FOLDING_S):
        return
    try:
        fold(timezone.now())
    finally:
        cache.delete(_FOLDING)


@shared_task
def find_gaps() -> None:
    """Look for batch numbers that never came."""
    gaps.find_gaps(timezone.now())


@shared_task
def apply_retention() -> None:
    """Drop what is past its retention."""
    retention.apply_retention(timezone.now(), clock=timezone.now)


@shared_task
def audit_tiers() -> None:
    """Compare the tiers of the last days; a difference is an error that somebody must see."""
    now = timezone.now()
    result = auditing.audit_tiers(now - AUDITED, now, now=now, clock=timezone.now, progress=lambda *_: None)
    if not result["agreed"]:
        logger.error("tiers disagree", n_differences=result["n_differences"], differences=result["differences"][:5])
