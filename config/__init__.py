"""Ridgeline's configuration: settings, URLs, Celery and the error table."""

import os

# One thread per process for the matrix products of the statistics, said before NumPy is loaded: web and task processes
# take every core already, and threads of several of them that wait for one another cost more than they give.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from config.celery import app as celery_app

__all__ = ["celery_app"]
