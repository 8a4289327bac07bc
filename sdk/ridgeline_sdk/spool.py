"""Durable, bounded store-and-forward spool in one SQLite file: records wait here until the server has acknowledged."""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from . import envelope as wire
from .records import ADMITTED, COUNTERS, EVENT, INFERENCE, SECTION, STATE, WINDOW, Batch, Label, Record

# What goes first when the spool is full: bulk detail, then snapshots, then summaries, and at the very last events.
SACRIFICE_ORDER = (INFERENCE, STATE, COUNTERS, WINDOW, EVENT)
ROW_OVERHEAD = 48
MAX_RAW_BYTES = 4 * 1024 * 1024

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS label (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS record (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, label INTEGER NOT NULL, uptime_ms INTEGER NOT NULL,
    body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS record_kind ON record (kind, id);
CREATE INDEX IF NOT EXISTS record_label ON record (label, kind, id);
CREATE TABLE IF NOT EXISTS batch (
    id INTEGER PRIMARY KEY AUTOINCREMENT, boot_id TEXT NOT NULL, seq INTEGER NOT NULL, urgent INTEGER NOT NULL,
    encoding TEXT NOT NULL, body BLOB NOT NULL, counts TEXT NOT NULL, losses TEXT NOT NULL,
    unknown INTEGER NOT NULL DEFAULT 0, UNIQUE (boot_id, seq));
CREATE TABLE IF NOT EXISTS sequence (boot_id TEXT PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS loss (section TEXT PRIMARY KEY, pending INTEGER NOT NULL, total INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS draft (
    key TEXT PRIMARY KEY, label INTEGER NOT NULL, uptime_ms INTEGER NOT NULL, body TEXT NOT NULL);
"""


class SpoolBusy(RuntimeError):
    """Another process has this spool open."""


class Spool:
    """Records in, batches out, nothing lost and nothing doubled whenever the process dies.

    Every public method is one transaction. Forming a batch moves its records into immutable bytes with the next
    `batch_seq` and is flushed to the disk before it returns; the bytes stay until `acknowledge`. So a resend after a
    crash or a lost answer is byte-identical, and the server's ledger recognises it.

    Bounds: `max_rows` records and `max_bytes` of payload plus a fixed overhead per record. When full, the oldest
    inferences go first, then states and counters, then windows, then events; what went is admitted in the next batch's
    `dropped`, which counts the losses since the batch before it.
    """

    def __init__(
        self, path: str = ":memory:", *, max_bytes: int = 64 * 1024 * 1024, max_rows: int = 500_000, wait_s: float = 2.0
    ) -> None:
        self.max_bytes, self.max_rows = max_bytes, max_rows
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, timeout=wait_s, isolation_level=None, check_same_thread=False)
        try:
            # One owner per file: a second process would form batches under the same sequence.
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
            self._db.execute("INSERT OR IGNORE INTO meta VALUES ('spool_id', ?)", (str(uuid.uuid4()),))
        except sqlite3.OperationalError as error:
            self._db.close()
            if "locked" in str(error):
                raise SpoolBusy(f"the spool {path} is in use by another process") from error
            raise
        self.spool_id = uuid.UUID(self._value("SELECT value FROM meta WHERE key = 'spool_id'"))
        self._labels: dict[str, int] = {}
        self._recount()

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()

    def boot_id_for(self, system_boot_id: str) -> str:
        """`boot_id` of this spool in this boot: two spools on one machine, or one made anew, share no sequence."""
        return str(uuid.uuid5(self.spool_id, system_boot_id))

    # -- records -----------------------------------------------------------------------------------------------------

    def put(self, records: Iterable[Record], drop_drafts: Iterable[str] = ()) -> None:
        """Store records and forget the drafts that they replace; on return they survive the death of the process."""
        with self._transaction():
            for record in records:
                self._db.execute(
                    "INSERT INTO record (kind, label, uptime_ms, body) VALUES (?, ?, ?, ?)",
                    (record.kind, self._label_id(record.label), record.uptime_ms, record.body),
                )
                self._rows += 1
                self._bytes += len(record.body) + ROW_OVERHEAD
            for key in drop_drafts:
                self._db.execute("DELETE FROM draft WHERE key = ?", (key,))
            self._evict()

    def save_drafts(self, drafts: dict[str, Record]) -> None:
        """Keep unfinished windows, by key, so that a crash loses no more than what came after the last call."""
        with self._transaction():
            for key, record in drafts.items():
                self._db.execute(
                    "INSERT OR REPLACE INTO draft VALUES (?, ?, ?, ?)",
                    (key, self._label_id(record.label), record.uptime_ms, record.body),
                )

    def adopt_drafts(self) -> int:
        """Turn the unfinished windows of an earlier process into records; returns how many."""
        with self._transaction():
            adopted = self._db.execute(
                "INSERT INTO record (kind, label, uptime_ms, body)"
                " SELECT ?, label, uptime_ms, body FROM draft ORDER BY key",
                (WINDOW,),
            ).rowcount
            self._db.execute("DELETE FROM draft")
            self._recount()
        return adopted

    def admit_loss(self, section: str, count: int) -> None:
        """Count records that were lost before they reached the spool."""
        with self._transaction():
            self._lose({section: count})

    def pending(self) -> dict[str, int]:
        """Records that wait, unformed, by kind."""
        with self._lock:
            return dict(self._db.execute("SELECT kind, count(*) FROM record GROUP BY kind"))

    def dropped_total(self) -> dict[str, int]:
        """Records lost since the spool was made, by section."""
        with self._lock:
            return dict(self._db.execute("SELECT section, total FROM loss"))

    def size_bytes(self) -> int:
        """Payload held now, formed batches included."""
        return self._bytes

    def is_empty(self) -> bool:
        """Whether nothing waits, neither records nor batches."""
        with self._lock:
            return self._rows == 0 and self._value("SELECT count(*) FROM batch") == 0

    # -- batches -----------------------------------------------------------------------------------------------------

    def outstanding(self, urgent_only: bool = False) -> Batch | None:
        """The batch to send next: urgent ones first, then in the order of forming."""
        with self._lock:
            row = self._db.execute(
                "SELECT id, boot_id, seq, urgent, encoding, body, counts, unknown FROM batch"
                " WHERE urgent >= ? ORDER BY urgent DESC, id LIMIT 1",
                (int(urgent_only),),
            ).fetchone()
        return None if row is None else Batch(*row[:3], bool(row[3]), *row[4:6], json.loads(row[6]), bool(row[7]))

    def form(
        self,
        header: Callable[[Label], dict[str, Any]],
        boot_id: str,
        *,
        max_records: int = 500,
        encoding: str = wire.GZIP,
        urgent_only: bool = False,
        adjust: Callable[[Label, int, str], str] | None = None,
    ) -> Batch | None:
        """Form the next batch from the oldest records that share a label; None when nothing waits.

        `header` gives the envelope's head for a label (schema, boot_id, batch_seq and dropped are added here). `adjust`
        may rewrite a record's body from its label and uptime, to mend the times of an unsynced clock. With
        `urgent_only` a batch holds events and windows alone and is marked urgent. `max_records` bounds each section.
        """
        with self._transaction(durable=True):
            kinds = (EVENT, WINDOW) if urgent_only else tuple(SECTION)
            marks = ",".join("?" * len(kinds))
            label_id = self._value(f"SELECT label FROM record WHERE kind IN ({marks}) ORDER BY id LIMIT 1", kinds)
            if label_id is None:
                return None
            label = Label.from_key(self._value("SELECT key FROM label WHERE id = ?", (label_id,)))
            taken, sections = self._take(label_id, kinds, max_records)
            losses = dict.fromkeys(ADMITTED, 0)
            losses.update(self._db.execute("SELECT section, pending FROM loss"))
            self._db.execute("UPDATE loss SET pending = 0")
            seq = self._next_seq(boot_id)
            head = {"schema": wire.SCHEMA, "boot_id": boot_id, "batch_seq": seq, **header(label), "dropped": losses}
            texts = {
                section: [adjust(label, uptime_ms, text) if adjust else text for uptime_ms, text in records]
                for section, records in sections.items()
            }
            body = wire.compress(wire.encode(head, texts), encoding)
            counts = {section: len(records) for section, records in sections.items()}
            self._db.executemany("DELETE FROM record WHERE id = ?", taken)
            self._rows -= len(taken)
            self._bytes -= sum(len(text) + ROW_OVERHEAD for records in sections.values() for _, text in records)
            batch_id = self._insert_batch(boot_id, seq, urgent_only, encoding, body, counts, losses)
        return Batch(batch_id, boot_id, seq, urgent_only, encoding, body, counts)

    def mark_unknown(self, batch: Batch, unknown: bool) -> None:
        """Note, before a batch leaves, that its fate is unknown; take it back when the server has stored nothing."""
        with self._transaction():
            self._db.execute("UPDATE batch SET unknown = ? WHERE id = ?", (int(unknown), batch.id))

    def acknowledge(self, batch: Batch) -> None:
        """Forget a batch that the server has committed."""
        with self._transaction():
            self._delete_batch(batch)

    def refuse(self, batch: Batch) -> None:
        """Forget a batch that the server will never take, and admit its records as dropped."""
        with self._transaction():
            stored = self._value("SELECT losses FROM batch WHERE id = ?", (batch.id,))
            if stored is None:
                return
            # The losses that this batch was to admit have not been heard of either.
            self._lose(batch.counts, unheard=json.loads(stored))
            self._delete_batch(batch)

    def split(self, batch: Batch, *, by_urgency: bool = False) -> bool:
        """Replace a batch by two smaller ones; False when it cannot be split.

        Only a batch that the server has surely not stored may be split (413 or 429 at every attempt): its parts would
        be counted twice otherwise. The first part takes over its `batch_seq`. With `by_urgency` the parts are events
        and windows (urgent) and the rest.
        """
        if batch.unknown:
            return False
        raw = wire.decompress(batch.body, batch.encoding)
        parts = wire.by_urgency(raw) if by_urgency else wire.halves(raw)
        if parts is None:
            return False
        with self._transaction(durable=True):
            self._delete_batch(batch)
            for position, part in enumerate(parts):
                seq = batch.seq if position == 0 else self._next_seq(batch.boot_id)
                part["batch_seq"] = seq
                body = wire.compress(wire.reencode(part), batch.encoding)
                urgent = position == 0 if by_urgency else batch.urgent
                counts = wire.counts_of(part)
                self._insert_batch(batch.boot_id, seq, urgent, batch.encoding, body, counts, part.get("dropped", {}))
        return True

    def recode(self, batch: Batch, encoding: str) -> None:
        """Put a batch's content into another encoding, after the server has refused the first (415)."""
        body = wire.compress(wire.decompress(batch.body, batch.encoding), encoding)
        with self._transaction(durable=True):
            self._db.execute("UPDATE batch SET body = ?, encoding = ? WHERE id = ?", (body, encoding, batch.id))
            self._bytes += len(body) - len(batch.body)

    # -- inside a transaction ----------------------------------------------------------------------------------------

    def _transaction(self, durable: bool = False) -> _Transaction:
        return _Transaction(self, durable)

    def _value(self, sql: str, arguments: tuple[Any, ...] = ()) -> Any:
        row = self._db.execute(sql, arguments).fetchone()
        return row[0] if row else None

    def _recount(self) -> None:
        self._rows, self._bytes = self._db.execute(
            "SELECT count(*), coalesce(sum(length(body)), 0) + count(*) * ? FROM record", (ROW_OVERHEAD,)
        ).fetchone()
        self._bytes += self._value("SELECT coalesce(sum(length(body)), 0) FROM batch")

    def _label_id(self, label: Label) -> int:
        key = label.key()
        if key not in self._labels:
            self._db.execute("INSERT OR IGNORE INTO label (key) VALUES (?)", (key,))
            self._labels[key] = self._value("SELECT id FROM label WHERE key = ?", (key,))
        return self._labels[key]

    def _take(
        self, label_id: int, kinds: tuple[str, ...], limit: int
    ) -> tuple[list[tuple[int]], dict[str, list[tuple[int, str]]]]:
        """Ids of the oldest records of a label, and per section their (uptime, body), within the size of a body."""
        taken: list[tuple[int]] = []
        sections: dict[str, list[tuple[int, str]]] = {SECTION[kind]: [] for kind in SECTION if kind in kinds}
        size = 0
        for kind in kinds:
            rows = self._db.execute(
                "SELECT id, uptime_ms, body FROM record WHERE label = ? AND kind = ? ORDER BY id LIMIT ?",
                # An envelope has room for one snapshot of the counters.
                (label_id, kind, 1 if kind == COUNTERS else limit),
            ).fetchall()
            for row_id, uptime_ms, text in rows:
                size += len(text)
                if taken and size > MAX_RAW_BYTES:
                    return taken, sections
                taken.append((row_id,))
                sections[SECTION[kind]].append((uptime_ms, text))
        return taken, sections

    def _next_seq(self, boot_id: str) -> int:
        self._db.execute(
            "INSERT INTO sequence VALUES (?, 1) ON CONFLICT (boot_id) DO UPDATE SET last = last + 1", (boot_id,)
        )
        return self._value("SELECT last FROM sequence WHERE boot_id = ?", (boot_id,))

    def _insert_batch(
        self,
        boot_id: str,
        seq: int,
        urgent: bool,
        encoding: str,
        body: bytes,
        counts: dict[str, int],
        losses: dict[str, int],
    ) -> int:
        self._bytes += len(body)
        return self._db.execute(
            "INSERT INTO batch (boot_id, seq, urgent, encoding, body, counts, losses) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (boot_id, seq, int(urgent), encoding, body, json.dumps(counts), json.dumps(losses)),
        ).lastrowid

    def _delete_batch(self, batch: Batch) -> None:
        if self._db.execute("DELETE FROM batch WHERE id = ?", (batch.id,)).rowcount:
            self._bytes -= len(batch.body)

    def _lose(self, counts: dict[str, int], unheard: dict[str, int] | None = None) -> None:
        for section in ADMITTED:
            new = counts.get(section, 0)
            pending = new + (unheard or {}).get(section, 0)
            self._db.execute(
                "INSERT INTO loss VALUES (?1, ?2, ?3) ON CONFLICT (section)"
                " DO UPDATE SET pending = pending + ?2, total = total + ?3",
                (section, pending, new),
            )

    def _evict(self) -> None:
        lost: dict[str, int] = {}
        for kind in SACRIFICE_ORDER:
            while self._rows > self.max_rows or self._bytes > self.max_bytes:
                row = self._db.execute(
                    "SELECT id, length(body) FROM record WHERE kind = ? ORDER BY id LIMIT 1", (kind,)
                ).fetchone()
                if row is None:
                    break
                self._db.execute("DELETE FROM record WHERE id = ?", (row[0],))
                self._rows -= 1
                self._bytes -= row[1] + ROW_OVERHEAD
                lost[SECTION[kind]] = lost.get(SECTION[kind], 0) + 1
        if lost:
            self._lose(lost)


class _Transaction:
    """One SQLite transaction under the spool's lock; a `durable` one is flushed to the disk before it counts."""

    def __init__(self, spool: Spool, durable: bool) -> None:
        self._spool, self._durable = spool, durable

    def __enter__(self) -> None:
        self._spool._lock.acquire()
        try:
            self._spool._db.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
            self._spool._db.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._spool._lock.release()
            raise

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        committed = False
        try:
            if kind is None:
                self._spool._db.execute("COMMIT")
                committed = True
        finally:
            if not committed:
                if self._spool._db.in_transaction:
                    self._spool._db.execute("ROLLBACK")
                # What was kept in memory along with the rows is read anew.
                self._spool._labels.clear()
                self._spool._recount()
            self._spool._lock.release()
