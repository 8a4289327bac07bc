"""The webhooks page: receivers are added, tested, paused and removed, and every message says what became of it."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from fleet.models import AuditEntry
from rollouts.models import WebhookDelivery, WebhookEndpoint
from rollouts.services import webhooks

pytestmark = pytest.mark.django_db


@pytest.fixture
def receiver():
    """A real receiver; `receiver.answers` is the status that it gives, `receiver.got` what it was sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.server.got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(self.server.answers)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.answers = [], 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def manager(browser_client, cast):
    return browser_client(cast.manager)


@pytest.fixture
def endpoint(receiver, now):
    url = f"http://127.0.0.1:{receiver.server_port}/hook"
    return WebhookEndpoint.objects.create(name="ota", url=url, secret="s" * 20, created_at=now)


def test_a_receiver_is_added_and_errors_stand_at_their_fields(manager):
    fields = {"name": "ota", "url": "ftp://x", "secret": "short", "events": ["lane.completed"]}
    answer = manager.post("/webhooks/", fields)
    text = answer.content.decode()
    assert answer.status_code == 422 and 'id="url-error"' in text and 'id="secret-error"' in text
    assert 'value="ftp://x"' in text
    manager.post("/webhooks/", {**fields, "url": "https://ota.example.com/", "secret": "s" * 16})
    assert WebhookEndpoint.objects.get().events == ["lane.completed"]
    assert "s" * 16 not in manager.get("/webhooks/").content.decode()


def test_a_test_message_goes_out_at_once_signed_and_its_outcome_is_said(manager, endpoint, receiver):
    address = f"/webhooks/{endpoint.pk}/act/"
    assert "took the test message" in manager.post(address, {"action": "ping"}, follow=True).content.decode()
    headers, body = receiver.got[0]
    assert b'"event":"ping"' in body and headers["Ridgeline-Signature"].startswith("t=")
    receiver.answers = 500
    assert "answered 500" in manager.post(address, {"action": "ping"}, follow=True).content.decode()
    assert set(WebhookDelivery.objects.values_list("status", flat=True)) == {"sent", "failed"}


def test_a_paused_receiver_is_left_alone_and_gets_what_waited_when_it_goes_on(manager, endpoint, receiver, now):
    webhooks.enqueue("lane.completed", {}, now=now)
    manager.post(f"/webhooks/{endpoint.pk}/act/", {"action": "pause"})
    assert webhooks.enqueue("lane.completed", {}, now=now) == 0
    assert webhooks.send_due(now) == {"sent": 0, "failed": 0}
    manager.post(f"/webhooks/{endpoint.pk}/act/", {"action": "resume"})
    assert webhooks.send_due(now) == {"sent": 1, "failed": 0}
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))[-2:] == [
        "webhook.paused",
        "webhook.resumed",
    ]


def test_a_message_that_failed_for_good_can_be_tried_again(manager, endpoint, now):
    webhooks.enqueue("lane.completed", {}, now=now)
    WebhookDelivery.objects.update(status="failed", attempts=12, last_error="answered 503")
    message = WebhookDelivery.objects.get()
    assert "answered 503" in manager.get("/webhooks/", {"status": "failed"}).content.decode()
    manager.post(f"/webhooks/messages/{message.pk}/retry/")
    message.refresh_from_db()
    assert (message.status, message.attempts) == ("pending", 0)


def test_a_receiver_is_removed_with_a_reason_and_only_by_who_may(manager, browser_client, cast, endpoint):
    engineer = browser_client(cast.engineer)
    assert "New receiver" not in engineer.get("/webhooks/").content.decode()
    assert engineer.post(f"/webhooks/{endpoint.pk}/act/", {"action": "remove"}).status_code == 403
    manager.post(f"/webhooks/{endpoint.pk}/act/", {"action": "remove", "reason": "moved"})
    assert not WebhookEndpoint.objects.exists()
    assert AuditEntry.objects.get(action="webhook.removed").reason == "moved"


def test_the_api_tests_and_pauses_a_receiver(api_client, cast, endpoint, receiver):
    client = api_client(cast.manager)
    assert client.post(f"/api/v1/webhooks/{endpoint.name}/ping").json()["status"] == "sent"
    assert client.patch("/api/v1/webhooks/ota", {"enabled": False}, format="json").json()["enabled"] is False
