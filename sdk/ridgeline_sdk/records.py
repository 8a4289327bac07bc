"""What the spool holds: records with the label they share, and formed batches."""

from __future__ import annotations

import json
from dataclasses import dataclass

INFERENCE, WINDOW, EVENT, STATE, COUNTERS = "inference", "window", "event", "state", "counters"
SECTION = {INFERENCE: "inferences", WINDOW: "windows", EVENT: "events", STATE: "states", COUNTERS: "counters"}
# The sections whose losses the envelope's `dropped` block admits.
ADMITTED = ("inferences", "windows", "events")


@dataclass(frozen=True)
class Label:
    """What the records of one batch have in common: which boot, which context, and how they are to be read.

    `context` is canonical JSON; `role` the envelope's `inferences_role`; `synced` whether the wall clock could be
    trusted when the records were made.
    """

    boot_id: str
    context: str
    role: str = "complete"
    synced: bool = True

    def key(self) -> str:
        """Canonical text under which the label is stored once."""
        return json.dumps([self.boot_id, self.context, self.role, self.synced])

    @classmethod
    def from_key(cls, key: str) -> Label:
        """Inverse of `key`."""
        return cls(*json.loads(key))


@dataclass(frozen=True)
class Record:
    """One record as it is spooled: `body` is its JSON text, `uptime_ms` the monotonic time at which it happened."""

    kind: str
    label: Label
    uptime_ms: int
    body: str


@dataclass(frozen=True)
class Batch:
    """A formed batch: bytes that never change until the server has answered for them.

    `unknown` tells that an attempt ended without an answer, so that the server may have stored it.
    """

    id: int
    boot_id: str
    seq: int
    urgent: bool
    encoding: str
    body: bytes
    counts: dict[str, int]
    unknown: bool = False
