"""Celery tasks of the drift app: thin calls of services, with the clock read here."""

from celery import shared_task
from django.utils import timezone

from drift.services import detection


@shared_task
def raise_alarms() -> None:
    """Look for what needs no statistics: silence, gaps, mismatches."""
    detection.detect(now=timezone.now())
