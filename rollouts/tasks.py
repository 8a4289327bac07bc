"""Periodic work: evaluate what is due, move what waits for time."""

from typing import Any

from celery import shared_task
from django.utils import timezone

from rollouts.services import advancing, evaluating


@shared_task(name="rollouts.tasks.evaluate_rollouts")
def evaluate_rollouts() -> list[dict[str, Any]]:
    """One look at each stage run that is due."""
    found = evaluating.evaluate_due(timezone.now())
    return [{"run": row.run, "look": row.look, "recommendations": row.recommendations} for row in found]


@shared_task(name="rollouts.tasks.advance_deliveries")
def advance_deliveries() -> dict[str, int]:
    """Confirmations, time-outs, retries, expiries, watch periods, webhooks."""
    return advancing.advance(timezone.now()).done
