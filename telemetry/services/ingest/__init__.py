"""Ingest: from a request's body to committed rows, exactly once (see `batches`)."""

from telemetry.services.ingest.batches import Received, take_batch
from telemetry.services.ingest.requests import Request, receive
from telemetry.services.ingest.senders import known_sender
from telemetry.services.ingest.together import receive_together

__all__ = ["Received", "Request", "known_sender", "receive", "receive_together", "take_batch"]
