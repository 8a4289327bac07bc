"""Ridgeline's configuration: settings, URLs, Celery and the error table."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
