"""Batches that come at the same time, from distinct devices, taken in one transaction.

A transaction costs about as much as a small batch, and so does each pass of numpy over a few records: of sixteen
batches of 60 records taken at once, each needs a quarter of the processor time that it needs alone, and a fifth of the
time of the database (measured in one process).
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

# So much is read and stored in a fraction of a second, even on a small machine.
_MOST_BATCHES, _MOST_BYTES = 64, 1 << 20
# A compressed body is about so many times as large as it came.
_UNPACKED = 10
# While one group waits for the database, another one is read.
_GROUPS = 2


@dataclass(frozen=True, slots=True)
class _Entry:
    """A body that is taken together with others."""

    token: SeenToken
    raw: bytes
    encoding: str
    now: datetime
    uptime_now_ms: float | None

    @property
    def key(self) -> int:
        """Of a device, one batch at a time."""
        return self.token.row.device_id

    @property
    def weight(self) -> int:
        """Bytes to read, roughly."""
        return len(self.raw) * (_UNPACKED if self.encoding else 1)


Outcome = dict[str, Any] | Exception | None


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
    return token and _gathering.take(_Entry(token, raw_body, encoding, now, uptime_now_ms))


def _take(entries: Sequence[_Entry]) -> list[Outcome]:
    """Store batches of distinct devices; what `receive_together` returns or raises for each."""
    outcomes: list[Outcome] = [None] * len(entries)
    works: list[tuple[int, Work]] = []
    try:
        with store.batch_transaction():
            for place in _admitted(entries):
                try:
                    work = _read(entries[place])
                except TooMany as refusal:
                    outcomes[place] = refusal
                else:
                    if work is not None:
                        works.append((place, work))
            if works:
                Together([work for _, work in works]).write()
    except Exception as error:
        if len(entries) == 1 or _concerns_all(error):
            return [error] * len(entries)
        logger.exception("%d batches could not be stored together; each is taken by itself", len(entries))
        return [None] * len(entries)
    for place, work in works:
        try:
            outcomes[place] = answer(work)
        except Exception as error:
            outcomes[place] = error
    return outcomes


def _admitted(entries: Sequence[_Entry]) -> list[int]:
    """Places of those whose tokens are good at this moment."""
    now = max(entry.now for entry in entries)
    return [place for place, good in enumerate(still_good([entry.token for entry in entries], now)) if good]


def _read(entry: _Entry) -> Work | None:
    """A batch ready to be written; None where it has to be taken by itself.

    Raises:
        TooMany: the device sends too often.
    """
    row = entry.token.row
    try:
        body = protocol.decompress(entry.raw, entry.encoding, settings.TELEMETRY_MAX_BYTES)
        batch = protocol.read_batch(body, settings.TELEMETRY_MAX_INFERENCES)
    except (UnknownEncoding, TooLarge, BadBody):
        return None
    # new labels are registered in a transaction of their own
    if batch.envelope.device not in (None, row.serial) or not labels_are_known(batch, entry.now):
        return None
    require_allowance(row.device_id, bulk=len(batch.inferences) > 0)
    return prepare(row.device_id, Received(batch, body, len(entry.raw), entry.now, entry.uptime_now_ms))


def _concerns_all(error: Exception) -> bool:
    """Whether the database is away or slow, which no batch has brought about."""
    if isinstance(error.__cause__, psycopg.errors.DeadlockDetected):
        return False
    return isinstance(error, (OperationalError, InterfaceError, psycopg.OperationalError))


_gathering: Gathering[_Entry, dict[str, Any] | None] = Gathering(
    _take, most=_MOST_BATCHES, most_weight=_MOST_BYTES, groups=_GROUPS
)
