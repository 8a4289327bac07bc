"""Ingest over real HTTP, on a real web server that is killed in the middle of it."""

import gzip
import http.client
import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event, Lock
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.db import connection, transaction
from django.utils import timezone

from benchmarks.product import WebServer, free_port
from telemetry.histograms import merge_packed
from telemetry.models import Batch
from tests.telemetry.envelopes import encode, envelope, inferences
from tests.telemetry.services.ingest.sending import rows

pytestmark = pytest.mark.django_db(transaction=True)


def database_url(**changes: str) -> str:
    """The address of the test database."""
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}")
    if "port" in changes:
        url = url._replace(netloc=url.netloc.rpartition(":")[0] + f":{changes['port']}")
    return urlunsplit(url)


@pytest.fixture
def server():
    """A web server of two processes on the test database."""
    server = WebServer(workers=2, threads=4, DATABASE_URL=database_url())
    server.start()
    yield server
    server.stop()


class Device:
    """A device that keeps a batch until it is acknowledged."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body, **headers: str) -> tuple[int, dict, http.client.HTTPMessage]:
        """Status, content and headers of the answer."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        standard = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        chunked = not isinstance(body, bytes)
        try:
            self._connection.request("POST", "/api/v1/telemetry", body, standard | headers, encode_chunked=chunked)
            answer = self._connection.getresponse()
            return answer.status, json.loads(answer.read()), answer.headers
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def deliver(self, body: bytes, ready: Event) -> dict:
        """Send until it is acknowledged, over restarts of the server; the answer."""
        while True:
            ready.wait(timeout=60)
            try:
                status, content, _ = self.post(body, **{"Content-Encoding": "gzip"})
            except (OSError, http.client.HTTPException):
                continue
            assert status in (200, 503), content
            if status == 200:
                return content

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def test_killing_the_server_in_mid_load_and_resending_loses_and_doubles_nothing(server, make_device, device_token):
    now = timezone.now()
    devices = [make_device(f"cam-{i}") for i in range(3)]
    senders = [Device(server.port, device_token(device)) for device in devices]
    sizes = [5 + 3 * (seq % 7) for seq in range(30)]
    bodies = [
        gzip.compress(
            encode(
                envelope(
                    now,
                    seq=seq,
                    inferences=inferences(now - timedelta(seconds=41 * seq), n),
                    events=[{"time": now.isoformat(), "type": "reboot"}],
                )
            )
        )
        for seq, n in enumerate(sizes)
    ]
    ready, counted, lock = Event(), 0, Lock()
    ready.set()
    kills = {20: Event(), 55: Event()}

    def run(sender: Device) -> None:
        nonlocal counted
        for body in bodies:
            sender.deliver(body, ready)
            with lock:
                counted += 1
                if counted in kills:
                    kills[counted].set()

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(run, sender) for sender in senders]
        for due in kills.values():
            # the other devices are in the middle of a batch at this moment
            assert due.wait(timeout=120)
            ready.clear()
            server.kill()
            server.start()
            ready.set()
        for each in running:
            each.result(timeout=120)
    for sender in senders:
        for body in bodies:
            assert sender.deliver(body, ready)["duplicate"] is True
        sender.close()

    assert Batch.objects.count() == 3 * len(bodies)
    per_device = [(device.pk, sum(sizes)) for device in devices]
    assert rows("telemetry_batch GROUP BY device_id", "device_id, sum(inferences)") == per_device
    assert rows("inference GROUP BY device_id", "device_id, count(*)") == per_device
    assert rows("device_minute GROUP BY device_id", "device_id, sum(count)") == per_device
    assert rows("device_cell GROUP BY device_id", "device_id, sum(count)") == per_device
    assert rows("event GROUP BY device_id", "device_id, count(*)") == [(pk, len(bodies)) for pk, _ in per_device]
    by_minute = "device_id, date_trunc('minute', time), count(*)"
    raw = rows("inference GROUP BY 1, 2", by_minute, "1, 2")
    assert raw == rows("device_minute GROUP BY 1, 2", "device_id, bucket, sum(count)", "1, 2")
    stored = merge_packed([packed for (packed,) in rows("device_minute", "latency_hist")])
    assert stored.count == 3 * sum(sizes)


def test_large_and_chunked_bodies_get_their_answers_on_a_connection_that_goes_on(server, make_device, device_token):
    device = Device(server.port, device_token(make_device()))
    status, problem, _ = device.post(bytes(20 << 20))
    assert (status, problem["code"]) == (413, "too_large")
    body = encode(envelope(timezone.now()))
    assert device.post(iter([body[:100], body[100:]]))[0] == 200
    status, problem, _ = device.post(iter([bytes(1 << 20)] * 9))
    assert (status, problem["code"]) == (413, "too_large")
    status, content, _ = device.post(body)
    assert (status, content["duplicate"]) == (200, True)
    device.close()


def test_with_the_database_slow_it_is_503_and_nothing_is_acknowledged_or_kept(make_device, device_token):
    body = encode(envelope(timezone.now()))
    server = WebServer(workers=1, threads=2, DATABASE_URL=database_url(), RIDGELINE_INGEST_DB_TIMEOUT="0.5")
    server.start()
    try:
        device = Device(server.port, device_token(make_device()))
        assert device.post(encode(envelope(timezone.now(), seq=0)))[0] == 200
        with transaction.atomic(), connection.cursor() as cursor:
            # the last table that a batch is written to; it is all there but for its commit
            cursor.execute("LOCK TABLE device_cell IN SHARE MODE")
            status, problem, headers = device.post(body)
        assert (status, problem["code"]) == (503, "unavailable")
        assert int(headers["Retry-After"]) > 0
        assert (Batch.objects.count(), len(rows("inference", "time"))) == (1, 3)
        status, content, _ = device.post(body)
        assert (status, content["duplicate"]) == (200, False)
        assert (Batch.objects.count(), len(rows("inference", "time"))) == (2, 6)
        device.close()
    finally:
        server.stop()


def test_with_the_database_away_it_is_503_and_the_batch_is_welcome_afterwards(make_device, device_token, server):
    token, body = device_token(make_device()), encode(envelope(timezone.now()))
    away = WebServer(workers=1, threads=1, DATABASE_URL=database_url(port=free_port()), RIDGELINE_DB_POOL_TIMEOUT="0.5")
    away.start()
    try:
        device = Device(away.port, token)
        status, problem, headers = device.post(body)
        device.close()
        assert (status, problem["code"]) == (503, "unavailable")
        assert int(headers["Retry-After"]) > 0
    finally:
        away.stop()
    device = Device(server.port, token)
    assert device.post(body)[1]["duplicate"] is False
    device.close()
