"""Ingest: from a request's body to committed rows, exactly once (see `batches`)."""

from telemetry.services.ingest.batches import Received, take_batch
from telemetry.services.ingest.requests import Request, known_sender, receive

__all__ = ["Received", "Request", "known_sender", "receive", "take_batch"]
