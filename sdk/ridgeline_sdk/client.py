"""The sender: takes batches from the spool to the server and acts on every answer the protocol knows."""

from __future__ import annotations

import logging
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from threading import Event
from typing import Any

from . import envelope as wire
from .backoff import next_wait_s, retry_after_s
from .recorder import Device
from .records import EVENT, INFERENCE, WINDOW, Batch
from .transport import Response, Transport, TransportError, bearer, explain

log = logging.getLogger("ridgeline")

PATH = "/api/v1/telemetry"
DEFAULT_MAX_BATCH = 500
HIGHEST_MAX_BATCH = 5000
# Answers that say for certain that this attempt stored nothing; a 503 may come from a proxy after the commit.
STORED_NOTHING = (401, 403, 413, 415, 429)
# A suspended device, or one that waits for approval, asks again rarely.
FORBIDDEN_WAIT_S = 60.0


class Client:
    """Sends what `device` has spooled. One step sends at most one batch; `run` and `drain` repeat steps.

    Nothing leaves the spool before the server has said that it is committed (200) or that it will never take it (400,
    409). `on_unauthorized` is called at a 401: it returns a new token, or None to stop. Clock, sleep and the random
    generator are arguments, so tests and simulations own the time.
    """

    def __init__(
        self,
        device: Device,
        transport: Transport,
        token: str,
        *,
        interval_s: float = 10.0,
        max_batch: int = DEFAULT_MAX_BATCH,
        on_unauthorized: Callable[[], str | None] | None = None,
        rng: random.Random | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
        utc_now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        sleep: Callable[[float], Any] = time.sleep,
    ) -> None:
        self.device, self.spool, self.transport, self.token = device, device.spool, transport, token
        self.stopped = False
        self.tally: Counter[str] = Counter()
        self.last_error = ""
        self._interval_s, self._min_interval_s, self._max_batch = interval_s, 0.0, max_batch
        self._encoding = wire.GZIP
        self._on_unauthorized = on_unauthorized
        self._rng = rng or random.Random()
        self._monotonic_s, self._utc_now, self._sleep = monotonic_s, utc_now, sleep
        self._failures = 0
        # Monotonic times before which nothing, no bulk, or no regular batch goes out.
        self._not_before = self._bulk_not_before = self._next_regular = monotonic_s()

    # -- driving -----------------------------------------------------------------------------------------------------

    def run(self, stop: Event) -> None:
        """Send until `stop` is set or the token is refused for good; to be the target of a thread."""
        while not (stop.is_set() or self.stopped):
            try:
                wait_s = self.step()
            except sqlite3.Error:
                # A full disk, say: nothing can be formed or acknowledged now, and nothing is lost by waiting.
                log.exception("the spool cannot be used; next attempt in %.0f s", self._interval_s)
                wait_s = self._interval_s
            stop.wait(min(max(wait_s, 0.01), self._interval_s))

    def drain(self, timeout_s: float = 30.0) -> bool:
        """Close what is open and send everything now; True when the spool is empty."""
        self.device.flush()
        deadline = self._monotonic_s() + timeout_s
        while not (self.spool.is_empty() or self.stopped):
            wait_s = self.step(now=True)
            if self._monotonic_s() + wait_s > deadline:
                break
            if wait_s > 0:
                self._sleep(wait_s)
        return self.spool.is_empty()

    def step(self, now: bool = False) -> float:
        """Send the next batch if one is due (`now`: if there is one); seconds until the next step makes sense."""
        if self.stopped:
            return self._interval_s
        self.device.tick()
        moment = self._monotonic_s()
        if moment < self._not_before:
            return self._not_before - moment
        batch = self._next_batch(moment, now)
        if batch is None:
            return self._idle_s(moment, now)
        self._send(batch)
        return max(0.0, self._not_before - self._monotonic_s())

    # -- choosing ----------------------------------------------------------------------------------------------------

    def _next_batch(self, moment: float, now: bool) -> Batch | None:
        bulk_waits = moment < self._bulk_not_before
        formed = self.spool.outstanding(urgent_only=bulk_waits)
        if formed is not None and formed.urgent:
            return formed
        pending = self.spool.pending()
        bulk = pending.get(INFERENCE, 0)
        # An event, or a window in front of which a backlog of rows has gathered, overtakes the rows.
        overtakes = (pending.get(EVENT, 0) or pending.get(WINDOW, 0)) and (
            bulk_waits or formed is not None or bulk > self._max_batch
        )
        if overtakes:
            return self._form(urgent_only=True)
        if bulk_waits:
            return None
        if formed is not None:
            return formed
        due = now or moment >= self._next_regular or pending.get(EVENT, 0)
        if not due and bulk >= self._max_batch:
            due = moment >= self._next_regular - self._interval_s + self._min_interval_s
        return self._form() if due and sum(pending.values()) else None

    def _form(self, urgent_only: bool = False) -> Batch | None:
        return self.spool.form(
            self.device.header,
            self.device.boot_id,
            max_records=self._max_batch,
            encoding=self._encoding,
            urgent_only=urgent_only,
            adjust=self.device.adjust,
        )

    def _idle_s(self, moment: float, now: bool) -> float:
        due = self._bulk_not_before if moment < self._bulk_not_before else self._next_regular
        if due <= moment:
            return 0.0 if now else self._interval_s
        return due - moment

    # -- sending -----------------------------------------------------------------------------------------------------

    def _send(self, batch: Batch) -> None:
        headers = {"Content-Type": wire.CONTENT_TYPE, **bearer(self.token)}
        if batch.encoding != wire.IDENTITY:
            headers["Content-Encoding"] = batch.encoding
        if batch.boot_id == self.device.boot_id:
            # The body was frozen when it was formed, perhaps days ago; this is the uptime at which it is sent.
            headers["Ridgeline-Uptime-Ms"] = str(self.device.clock.uptime_ms())
        self.tally["attempts"] += 1
        if not batch.unknown:
            self.spool.mark_unknown(batch, True)
        try:
            response = self.transport.request("POST", PATH, batch.body, headers)
        except TransportError as error:
            self._retry(str(error), None)
            return
        self._answered(batch, response)

    def _answered(self, batch: Batch, response: Response) -> None:
        status = response.status
        if status in STORED_NOTHING and not batch.unknown:
            self.spool.mark_unknown(batch, False)
        if status == 200:
            self._accepted(batch, response)
        elif status in (400, 409):
            self._refused(batch, response)
        elif status == 413:
            self._too_large(batch, response)
        elif status == 415:
            self._unknown_media(batch, response)
        elif status == 401:
            self._unauthorized(response)
        elif status == 429:
            self._too_many(batch, response)
        elif status == 403:
            self._wait(FORBIDDEN_WAIT_S * (1.0 + self._rng.random()), explain(response))
        else:
            # 5xx, and whatever a proxy or a captive portal may say: the batch is kept and tried again.
            self._retry(explain(response), response)

    def _accepted(self, batch: Batch, response: Response) -> None:
        try:
            answer = response.json()
            duplicate = answer["duplicate"]
        except (ValueError, KeyError, TypeError):
            self._retry("a 200 that is not Ridgeline's (a captive portal?)", None)
            return
        self.spool.acknowledge(batch)
        self._failures = 0
        self.tally["batches"] += 1
        self.tally["duplicates"] += bool(duplicate)
        rejected = int(answer.get("rejected") or 0)
        if rejected:
            self.tally["rejected_records"] += rejected
            log.warning("the server put %d records into quarantine: %s", rejected, answer.get("partial_success"))
        self._follow(answer.get("directives") or {})
        if not batch.urgent:
            self._next_regular = self._monotonic_s() + max(self._interval_s, self._min_interval_s)

    def _follow(self, directives: dict[str, Any]) -> None:
        self.device.apply(directives)
        max_batch, min_interval_s = directives.get("max_batch"), directives.get("min_interval_s")
        if isinstance(max_batch, int) and max_batch > 0:
            self._max_batch = min(max_batch, HIGHEST_MAX_BATCH)
        if isinstance(min_interval_s, (int, float)) and min_interval_s >= 0:
            self._min_interval_s = float(min_interval_s)

    def _refused(self, batch: Batch, response: Response) -> None:
        self.last_error = explain(response)
        log.error("batch %s/%d is given up: %s", batch.boot_id, batch.seq, self.last_error)
        self.tally["refused_batches"] += 1
        self.spool.refuse(batch)

    def _too_large(self, batch: Batch, response: Response) -> None:
        if self.spool.split(batch):
            self.tally["splits"] += 1
            # Batches formed from now on fit at once.
            self._max_batch = max(1, self._max_batch // 2)
        else:
            self._refused(batch, response)

    def _unknown_media(self, batch: Batch, response: Response) -> None:
        if batch.encoding == wire.IDENTITY:
            self._refused(batch, response)
            return
        log.warning("the server takes no %s; falling back to plain JSON", batch.encoding)
        self._encoding = wire.IDENTITY
        self.spool.recode(batch, wire.IDENTITY)

    def _unauthorized(self, response: Response) -> None:
        token = self._on_unauthorized() if self._on_unauthorized else None
        if token and token != self.token:
            self.token = token
            self._failures += 1
            if self._failures > 1:
                # A server that refuses the tokens it issues must not be hammered with enrolments.
                self._wait(self._wait_s(response), explain(response))
            return
        self.last_error = explain(response)
        log.error("the token is refused, sending stops: %s", self.last_error)
        self.stopped = True

    def _too_many(self, batch: Batch, response: Response) -> None:
        if batch.urgent:
            self._retry(explain(response), response)
            return
        # Events and windows have their own allowance: they do not wait behind the rows.
        if self.spool.split(batch, by_urgency=True):
            self.tally["splits"] += 1
        self._failures += 1
        self.tally["retries"] += 1
        self.last_error = explain(response)
        self._bulk_not_before = self._monotonic_s() + self._wait_s(response)

    def _retry(self, reason: str, response: Response | None) -> None:
        self._failures += 1
        self._wait(self._wait_s(response), reason)

    def _wait(self, seconds: float, reason: str) -> None:
        self.tally["retries"] += 1
        self.last_error = reason
        log.info("next attempt in %.1f s: %s", seconds, reason)
        self._not_before = self._monotonic_s() + seconds

    def _wait_s(self, response: Response | None) -> float:
        asked = retry_after_s(response.headers.get("retry-after"), self._utc_now()) if response else None
        return next_wait_s(self._failures, asked, self._rng)
