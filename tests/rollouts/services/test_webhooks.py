"""Webhooks: signed, claimed before sending, retried with growing pauses, to a real receiver."""

import hashlib
import hmac
import json
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from fleet.actors import Actor
from fleet.exceptions import InvalidInput
from rollouts.models import WebhookDelivery, WebhookEndpoint
from rollouts.services import webhooks

pytestmark = pytest.mark.django_db

SECRET = "a secret that is long enough"


class Receiver:
    """An HTTP server that keeps what it is sent and answers what it is told."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.requests: list[tuple[dict, bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((dict(self.headers), body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                self.send_header("Location", "http://127.0.0.1:9/")
                self.end_headers()

            def log_message(self, *args) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def endpoint(receiver, now) -> WebhookEndpoint:
    return webhooks.create_endpoint(
        name="ota", url=receiver.url, secret=SECRET, events=[], actor=Actor.system("tests"), now=now
    )


def test_a_message_is_signed_so_that_it_can_neither_change_nor_be_kept(receiver, endpoint, now):
    webhooks.enqueue("lane.deploying", {"rollout": 1}, now=now)
    assert webhooks.send_due(now) == {"sent": 1, "failed": 0}
    headers, body = receiver.requests[0]
    timestamp, signature = (part.split("=")[1] for part in headers["Ridgeline-Signature"].split(","))
    expected = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert signature == expected
    assert int(timestamp) == int(now.timestamp())
    document = json.loads(body)
    assert (document["event"], document["data"]) == ("lane.deploying", {"rollout": 1})
    assert webhooks.send_due(now + timedelta(days=1)) == {"sent": 0, "failed": 0}


def test_a_refused_message_is_tried_again_after_growing_pauses(receiver, endpoint, now):
    receiver.answers = [500, 302]
    webhooks.enqueue("lane.held", {}, now=now)
    webhooks.send_due(now)
    message = WebhookDelivery.objects.get()
    assert (message.status, message.last_error, message.next_attempt_at - now) == (
        "pending",
        "answered 500",
        timedelta(seconds=15),
    )
    assert webhooks.send_due(now + timedelta(seconds=14)) == {"sent": 0, "failed": 0}
    webhooks.send_due(now + timedelta(seconds=15))
    message.refresh_from_db()
    assert message.last_error == "answered 302", "a signed message follows no redirect"
    webhooks.send_due(now + timedelta(seconds=60))
    message.refresh_from_db()
    assert (message.status, message.attempts, len(receiver.requests)) == ("sent", 3, 3)


def test_a_receiver_that_is_away_is_given_up_after_twelve_attempts(endpoint, now):
    WebhookEndpoint.objects.update(url="http://127.0.0.1:9/")
    webhooks.enqueue("lane.held", {}, now=now)
    for _ in range(webhooks.MAX_ATTEMPTS):
        now += timedelta(hours=7)
        webhooks.send_due(now)
    message = WebhookDelivery.objects.get()
    assert (message.status, message.attempts) == ("failed", 12)
    assert "refused" in message.last_error


def test_pauses_double_up_to_six_hours():
    assert [webhooks.pause_after(n).total_seconds() for n in (1, 2, 3, 12)] == [15, 30, 60, 21_600]


def test_an_endpoint_hears_of_the_events_that_it_asked_for(endpoint, receiver, now):
    WebhookEndpoint.objects.update(events=["lane.rollback_recommended"])
    assert webhooks.enqueue("lane.held", {}, now=now) == 0
    assert webhooks.enqueue("lane.rollback_recommended", {}, now=now) == 1


def test_an_endpoint_that_cannot_be_is_refused_by_field(endpoint, now):
    with pytest.raises(InvalidInput) as refused:
        webhooks.create_endpoint(
            name="ota", url="ftp://x", secret="short", events=["harmed"], actor=Actor.system("tests"), now=now
        )
    assert set(refused.value.errors) == {"name", "url", "secret", "events"}
    assert "lane.rollback_recommended" in refused.value.errors["events"]
