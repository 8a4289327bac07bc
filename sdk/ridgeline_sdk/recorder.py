"""The device as an application sees it: record inferences, events, counters and states; the spool keeps them."""

from __future__ import annotations

import json
import logging
import random
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from . import fields
from .clock import SystemClock, rfc3339
from .envelope import dumps
from .records import COUNTERS, EVENT, INFERENCE, SECTION, STATE, WINDOW, Label, Record
from .spool import Spool
from .windows import WindowBuilder

log = logging.getLogger("ridgeline")

COMPLETE, SAMPLE = "complete", "sample"
STAGES = ("preprocess", "inference", "postprocess", "queue")


class Inference:
    """One inference while it runs: set `confidence`, `predicted_class` and other fields on it, time its stages."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.values: dict[str, Any] = {}
        self._now_s = now_s

    def __setattr__(self, name: str, value: Any) -> None:
        if name in fields.INFERENCE_FIELDS:
            self.values[name] = value
        elif name in ("values", "_now_s"):
            object.__setattr__(self, name, value)
        else:
            raise AttributeError(f"{name}: no such field; known are {', '.join(fields.INFERENCE_FIELDS)}")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a part: "preprocess", "inference", "postprocess" or "queue"."""
        if name not in STAGES:
            raise ValueError(f"{name}: no such stage; known are {', '.join(STAGES)}")
        began = self._now_s()
        try:
            yield
        finally:
            self.values[f"{name}_ms"] = (self._now_s() - began) * 1000.0


class Device:
    """Records what a device measures. Safe to use from several threads.

    With windows off (the default) every inference is spooled and the envelope's role is "complete". With
    `windows=True`, or once the server asks for a `raw_sample_rate` below 1, inferences are summed up in windows and
    only a random sample of the rows is spooled as detail (role "sample"), so nothing is counted twice.

    `serial` is for a gateway that speaks for the devices behind it: it names the device in every envelope, and each
    device has a spool of its own.

    A value that the protocol does not allow raises ValueError naming the field when `strict`; otherwise, so that
    telemetry never stops an application, the record is counted as dropped and logged.
    """

    def __init__(
        self,
        spool: Spool,
        context: dict[str, Any],
        *,
        clock: Any = None,
        serial: str | None = None,
        windows: bool = False,
        window_s: float = 60.0,
        raw_sample_rate: float = 1.0,
        counters_s: float = 60.0,
        checkpoint_s: float = 5.0,
        strict: bool = False,
        rng: random.Random | None = None,
        new_id: Callable[[], Any] = uuid.uuid4,
        perf_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.spool = spool
        self.clock = clock or SystemClock()
        self.boot_id = spool.boot_id_for(self.clock.boot_id())
        self.strict, self._serial = strict, serial
        self._always_windows = windows
        self._raw_sample_rate = raw_sample_rate
        self._builder = WindowBuilder(window_s)
        self._counters: dict[str, float] = {}
        self._counters_ms, self._checkpoint_ms = counters_s * 1000, checkpoint_s * 1000
        self._counters_at = self._checkpoint_at = self.clock.uptime_ms()
        self._counters_changed = False
        self._unspooled: dict[str, int] = {}
        self._rng = rng or random.Random()
        self._new_id, self._perf_s = new_id, perf_s
        self._lock = threading.RLock()
        self._context = json.dumps(context, sort_keys=True, separators=(",", ":"))
        spool.adopt_drafts()

    # -- what an application calls -----------------------------------------------------------------------------------

    @property
    def context(self) -> dict[str, Any]:
        """The labels that every record carries now."""
        return json.loads(self._context)

    def set_context(self, **labels: Any) -> None:
        """Change labels (a new release, another power mode); records made before keep theirs."""
        with self._lock:
            self._context = json.dumps({**self.context, **labels}, sort_keys=True, separators=(",", ":"))

    @contextmanager
    def inference(self) -> Iterator[Inference]:
        """Measure one inference as a `with` block; an exception is recorded as its outcome and raised on."""
        running = Inference(self._perf_s)
        began = self._perf_s()
        try:
            yield running
        except MemoryError:
            running.values["outcome"] = "out_of_memory"
            raise
        except TimeoutError:
            running.values["outcome"] = "timeout"
            raise
        except Exception:
            running.values["outcome"] = "error"
            raise
        finally:
            running.values.setdefault("latency_ms", (self._perf_s() - began) * 1000.0)
            self.record(**running.values)

    def record(self, latency_ms: float, *, time_us: int | None = None, **values: Any) -> None:
        """Record one inference; `time_us` (microseconds since the epoch) defaults to now, names as in the protocol."""
        self.record_many([{"latency_ms": latency_ms, "time_us": time_us, **values}])

    def record_many(self, inferences: Iterable[dict[str, Any]]) -> None:
        """Record several inferences in one transaction, each a mapping of what `record` takes."""
        with self._lock:
            label = self._label()
            label_key, with_windows, rate = label.key(), self._with_windows, self._raw_sample_rate
            records = []
            for values in inferences:
                try:
                    row = _inference_row(values)
                except ValueError as error:
                    self._reject("inferences", error)
                    continue
                moment_us, uptime_ms = self._moment(values.get("time_us"))
                if with_windows:
                    self._builder.add(label_key, moment_us, row)
                if rate >= 1.0 or self._rng.random() < rate:
                    records.append(Record(INFERENCE, label, uptime_ms, dumps({"time": moment_us, **row})))
            if records:
                self._store(records)
            self.tick()

    def event(
        self, type: str, severity: str = "info", detail: dict[str, Any] | None = None, *, time_us: int | None = None
    ) -> None:
        """Record something that happened: a boot, a driver reset, throttling, running out of memory."""
        try:
            body = {"type": str(type), "severity": fields.severity(severity), "detail": detail or {}}
            dumps(body)
        except (TypeError, ValueError) as error:
            self._reject("events", error)
            return
        with self._lock:
            moment_us, uptime_ms = self._moment(time_us)
            self._put(EVENT, self._label(), uptime_ms, {"id": str(self._new_id()), "time": moment_us, **body})

    def count(self, name: str, amount: float = 1) -> None:
        """Add to a cumulative counter; snapshots are spooled once a minute."""
        with self._lock:
            self._counters[name] = self._counters.get(name, 0) + amount
            self._counters_changed = True

    def state(self, *, time_us: int | None = None, **values: Any) -> None:
        """Record the device's state: temperature_c, power_w, memory_mb, battery_pct."""
        try:
            row = fields.checked(values, fields.STATE_FIELDS)
        except ValueError as error:
            self._reject("states", error)
            return
        with self._lock:
            moment_us, uptime_ms = self._moment(time_us)
            self._put(STATE, self._label(), uptime_ms, {"time": moment_us, **row})

    def idle_energy(self, energy_mj: float) -> None:
        """Add energy spent while nothing was inferred to the running window; without windows it has no place to go."""
        with self._lock:
            if self._with_windows:
                self._builder.add_idle_energy(self._label().key(), self.clock.wall_us(), energy_mj)

    def flush(self) -> None:
        """Close all windows and snapshot the counters now, before the application ends."""
        with self._lock:
            self._spool_windows(None)
            self._spool_counters()

    # -- what the client calls ---------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Do what is due: close windows that have ended, checkpoint open ones, snapshot counters."""
        with self._lock:
            uptime_ms = self.clock.uptime_ms()
            self._spool_windows(self.clock.wall_us())
            if uptime_ms - self._checkpoint_at >= self._checkpoint_ms:
                self._checkpoint_at = uptime_ms
                self._checkpoint()
            if self._counters_changed and uptime_ms - self._counters_at >= self._counters_ms:
                self._counters_at = uptime_ms
                self._spool_counters()

    def apply(self, directives: dict[str, Any]) -> None:
        """Follow the server's `raw_sample_rate` and `window_s`; a value that makes no sense is logged and ignored."""
        with self._lock:
            rate, window_s = directives.get("raw_sample_rate"), directives.get("window_s")
            if isinstance(rate, (int, float)) and 0.0 <= rate <= 1.0:
                self._raw_sample_rate = float(rate)
            elif rate is not None:
                log.warning("directive raw_sample_rate=%r ignored: must lie between 0 and 1", rate)
            if isinstance(window_s, (int, float)) and window_s > 0:
                self._builder.resize(float(window_s))
            elif window_s is not None:
                log.warning("directive window_s=%r ignored: must be positive", window_s)

    def header(self, label: Label) -> dict[str, Any]:
        """Head of an envelope for records with `label`, as of now."""
        quality = self.clock.quality()
        trusted = self._trusted(label, quality)
        if quality["synced"] != trusted:
            # The block speaks of the times in this batch, whatever the clock has come to since.
            quality = {"synced": trusted, "source": "earlier"}
        head = {
            **({"device": self._serial} if self._serial else {}),
            "sent_at": rfc3339(self.clock.wall_us()),
            "uptime_ms": self.clock.uptime_ms(),
            "clock": quality,
            "context": json.loads(label.context),
        }
        if label.role != COMPLETE:
            head["inferences_role"] = label.role
        return head

    def adjust(self, label: Label, uptime_ms: int, text: str) -> str:
        """Body of a record, with its times mended or its uptime added if the clock was not synced when it was made."""
        if label.synced or label.boot_id != self.boot_id:
            return text
        body = json.loads(text)
        if self.clock.quality()["synced"]:
            true_us = self.clock.wall_us() - (self.clock.uptime_ms() - uptime_ms) * 1000
            shift = true_us - body.get("time", body.get("end"))
            body.update({name: body[name] + shift for name in ("time", "start", "end") if name in body})
        else:
            body["uptime_ms"] = uptime_ms
        return dumps(body)

    # -- inside ------------------------------------------------------------------------------------------------------

    @property
    def _with_windows(self) -> bool:
        return self._always_windows or self._raw_sample_rate < 1.0

    def _trusted(self, label: Label, quality: dict[str, Any]) -> bool:
        """Whether the times that a batch of this label will carry can be believed."""
        return label.synced or (label.boot_id == self.boot_id and quality["synced"])

    def _label(self) -> Label:
        role = SAMPLE if self._with_windows else COMPLETE
        return Label(self.boot_id, self._context, role, bool(self.clock.quality()["synced"]))

    def _moment(self, time_us: int | None) -> tuple[int, int]:
        """Wall clock and uptime of a record made at `time_us`, or now."""
        now_us, uptime_ms = self.clock.wall_us(), self.clock.uptime_ms()
        if time_us is None:
            return now_us, uptime_ms
        return int(time_us), uptime_ms - (now_us - int(time_us)) // 1000

    def _put(self, kind: str, label: Label, uptime_ms: int, body: dict[str, Any]) -> None:
        self._store([Record(kind, label, uptime_ms, dumps(body))])

    def _store(self, records: list[Record], drop_drafts: Iterable[str] = ()) -> None:
        try:
            self.spool.put(records, drop_drafts)
            while self._unspooled:
                section, lost = next(iter(self._unspooled.items()))
                self.spool.admit_loss(section, lost)
                del self._unspooled[section]
        except sqlite3.Error:
            # A full disk must not stop the application; the loss is told as soon as the spool takes writes again.
            log.exception("the spool takes no records")
            for record in records:
                self._lose(SECTION[record.kind])

    def _lose(self, section: str) -> None:
        self._unspooled[section] = self._unspooled.get(section, 0) + 1

    def _reject(self, section: str, error: Exception) -> None:
        if self.strict:
            raise ValueError(str(error)) from error
        log.warning("a record of %s was not taken: %s", section, error)
        with self._lock:
            self.count("sdk_records_rejected_total")
            self._lose(section)

    def _window_record(self, label_key: str, body: dict[str, Any]) -> Record:
        uptime_ms = self._moment(body["end"])[1]
        return Record(WINDOW, Label.from_key(label_key), uptime_ms, dumps(body))

    def _spool_windows(self, now_us: int | None) -> None:
        done = self._builder.close(now_us)
        if done:
            records = [self._window_record(key, window.to_wire()) for key, window in done]
            self._store(records, [_draft_key(key, window.start_us) for key, window in done])

    def _checkpoint(self) -> None:
        drafts = {
            _draft_key(key, window.start_us): self._window_record(key, window.to_wire())
            for key, window in self._builder.open_windows()
        }
        if drafts:
            try:
                self.spool.save_drafts(drafts)
            except sqlite3.Error:
                # The windows are still in memory; the next checkpoint tries again.
                log.exception("the spool takes no checkpoint")

    def _spool_counters(self) -> None:
        if self._counters_changed:
            now_us, uptime_ms = self._moment(None)
            self._put(COUNTERS, self._label(), uptime_ms, {"time": now_us, "values": dict(self._counters)})
            self._counters_changed = False


def _inference_row(values: dict[str, Any]) -> dict[str, Any]:
    row = fields.checked({name: values[name] for name in values if name != "time_us"}, fields.INFERENCE_FIELDS)
    if "latency_ms" not in row:
        raise ValueError("latency_ms: is required")
    return row


def _draft_key(label_key: str, start_us: int) -> str:
    return f"{start_us}|{label_key}"
