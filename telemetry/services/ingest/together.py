"""Batches that come at the same time, from distinct devices, taken in one transaction.

A transaction costs about as much as a small batch, and so does each pass of numpy over a few records. Taken sixteen at
once, a batch of 60 records needs a third of the processor time that it needs alone (measured; see benchmarks).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from django.conf import settings
from django.db import InterfaceError, OperationalError

from telemetry import protocol, store
from telemetry.exceptions import TooMany
from telemetry.protocol import BadBody, TooLarge, UnknownEncoding
from telemetry.services.ingest.batches import Received, Together, Work, answer, labels_are_known, prepare
from telemetry.services.ingest.gathering import Gathering
from telemetry.services.ingest.requests import require_allowance
from telemetry.services.ingest.senders import SeenToken, seen_token, still_good

logger = logging.getLogger(__name__)

# So much is done by one transaction in a fraction of a second, even on a small machine.
_MOST_BATCHES, _MOST_ROWS = 64, 10_000
# A window brings a wide row and some histograms.
_ROWS_PER_WINDOW = 10


@dataclass(slots=True, eq=False)
class _Entry:
    """A batch that is taken together with others."""

    token: SeenToken
    work: Work

    @property
    def key(self) -> int:
        """Of a device, one batch at a time."""
        return self.work.device_id

    @property
    def weight(self) -> int:
        """Rows to write, roughly."""
        return 1 + len(self.work.placed.inferences) + _ROWS_PER_WINDOW * len(self.work.placed.windows)


def receive_together(
    raw_token: str, raw_body: bytes, encoding: str, now: datetime, uptime_now_ms: float | None
) -> dict[str, Any] | None:
    """Store a batch along with those of other devices that come at this time; the answer to it.

    None where it has to be taken by itself (`known_sender` and `receive`): its token has not been seen here before or
    is no longer good, its labels have not been seen, it is for another device, it cannot be read, or something went
    wrong with the whole group. What is refused in such a case is refused there.

    Args:
        raw_token: as sent.
        raw_body: as received.
        encoding: the Content-Encoding header.
        now: receive time.
        uptime_now_ms: the header Ridgeline-Uptime-Ms.

    Raises:
        TooMany: the device sends too often.
        BatchConflict: see `take_batch`.
    """
    token = seen_token(raw_token)
    if token is None:
        return None
    try:
        body = protocol.decompress(raw_body, encoding, settings.TELEMETRY_MAX_BYTES)
        batch = protocol.read_batch(body, settings.TELEMETRY_MAX_INFERENCES)
    except (UnknownEncoding, TooLarge, BadBody):
        return None
    # new labels would be registered, which only a sender may cause whose token is known to be good
    if batch.envelope.device not in (None, token.row.serial) or not labels_are_known(batch, now):
        return None
    work = prepare(token.row.device_id, Received(batch, body, len(raw_body), now, uptime_now_ms))
    return _gathering.take(_Entry(token, work))


def _take(entries: Sequence[_Entry]) -> list[dict[str, Any] | Exception | None]:
    """Store batches of distinct devices; what `receive_together` returns or raises for each."""
    outcomes: list[dict[str, Any] | Exception | None] = [None] * len(entries)
    try:
        with store.batch_transaction():
            admitted = _admitted(entries, outcomes)
            if admitted:
                Together([entries[place].work for place in admitted]).write()
    except Exception as error:
        if len(entries) == 1 or _concerns_all(error):
            return [error] * len(entries)
        logger.exception("%d batches could not be stored together; each is taken by itself", len(entries))
        return [None] * len(entries)
    for place in admitted:
        try:
            outcomes[place] = answer(entries[place].work)
        except Exception as error:
            outcomes[place] = error
    return outcomes


def _admitted(entries: Sequence[_Entry], outcomes: list[dict[str, Any] | Exception | None]) -> list[int]:
    """Places of the batches whose senders may send now; refusals go into `outcomes`."""
    now = max(entry.work.received.now for entry in entries)
    admitted: list[int] = []
    for place, is_good in enumerate(still_good([entry.token for entry in entries], now)):
        if not is_good:
            continue
        work = entries[place].work
        try:
            require_allowance(work.device_id, bulk=len(work.received.batch.inferences) > 0)
        except TooMany as refusal:
            outcomes[place] = refusal
        else:
            admitted.append(place)
    return admitted


def _concerns_all(error: Exception) -> bool:
    """Whether the database is away or slow, which no batch has brought about."""
    if isinstance(error.__cause__, psycopg.errors.DeadlockDetected):
        return False
    return isinstance(error, (OperationalError, InterfaceError, psycopg.OperationalError))


_gathering: Gathering[_Entry, dict[str, Any] | None] = Gathering(_take, most=_MOST_BATCHES, most_weight=_MOST_ROWS)
