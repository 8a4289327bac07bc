"""Messages about alarms: who gets one, how it is signed, and that a receiver which is away hears of it later."""

import hashlib
import hmac
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.core import mail

from drift.models import Alarm, Notification, NotificationChannel
from drift.services import notifications
from drift.services.alarms import Sighting, raise_alarm
from fleet.actors import Actor
from fleet.exceptions import InvalidInput

pytestmark = pytest.mark.django_db

SECRET = "a-secret-of-good-length"


@pytest.fixture
def receiver():
    """A real HTTP server that keeps what it gets and answers with the statuses it is told, 200 after those."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.received.append((dict(self.headers), body))
            self.send_response(server.answers.pop(0) if server.answers else 200)
            self.end_headers()

        def log_message(self, *args) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.received, server.answers = [], []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def channel(now, kind="webhook", target="", severity="warning", name="ops") -> NotificationChannel:
    return notifications.create_channel(
        name=name,
        kind=kind,
        target=target,
        secret=SECRET if kind == "webhook" else "",
        minimum_severity=severity,
        actor=Actor.system("tests"),
        now=now,
    )


def alarm(cast, now, severity=Alarm.Severity.WARNING) -> Alarm:
    sighting = Sighting(
        kind=Alarm.Kind.CPU_FALLBACK,
        severity=severity,
        summary="Inferences fall back to the CPU on 3 devices",
        started_at=now,
        workload_id=cast.workload.pk,
    )
    return raise_alarm(sighting, now=now)[0]


def test_a_webhook_is_signed_over_time_and_body(receiver, cast, now) -> None:
    channel(now, target=f"http://127.0.0.1:{receiver.server_port}/hook")
    alarm(cast, now)
    assert notifications.send_due(now) == {"sent": 1, "failed": 0}
    headers, body = receiver.received[0]
    stamp, signature = (part.split("=")[1] for part in headers["Ridgeline-Signature"].split(","))
    expected = hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert signature == expected
    assert b"fall back to the CPU" in body


def test_a_receiver_that_is_away_hears_of_it_later_and_once(receiver, cast, now) -> None:
    channel(now, target=f"http://127.0.0.1:{receiver.server_port}/hook")
    receiver.answers.append(503)
    raised = alarm(cast, now)
    assert notifications.send_due(now) == {"sent": 0, "failed": 1}
    assert notifications.send_due(now) == {"sent": 0, "failed": 0}
    assert notifications.send_due(now + timedelta(minutes=1)) == {"sent": 1, "failed": 0}
    assert notifications.send_due(now + timedelta(hours=1)) == {"sent": 0, "failed": 0}
    assert raised.entries.filter(kind="notified").count() == 1


def test_after_twelve_failures_a_message_is_given_up_and_the_timeline_says_so(cast, now) -> None:
    channel(now, target="http://127.0.0.1:9/")
    raised = alarm(cast, now)
    moment = now
    for _ in range(notifications.MAX_ATTEMPTS):
        notifications.send_due(moment)
        moment += timedelta(hours=7)
    assert Notification.objects.get().status == "failed"
    assert "refused" in raised.entries.get(kind="notified").text


def test_an_e_mail_says_what_to_check(cast, now) -> None:
    from drift.services import playbooks

    playbooks.install_defaults(now=now)
    channel(now, kind="email", target="ops@example.com")
    alarm(cast, now)
    notifications.send_due(now)
    (message,) = mail.outbox
    assert message.to == ["ops@example.com"]
    assert "fallback rate rise only on the new release" in message.body


def test_a_channel_gets_only_alarms_that_are_severe_enough(cast, now) -> None:
    channel(now, kind="email", target="ops@example.com", severity="critical")
    alarm(cast, now)
    assert Notification.objects.count() == 0


def test_the_same_alarm_seen_again_is_not_told_again(cast, now) -> None:
    channel(now, kind="email", target="ops@example.com")
    alarm(cast, now)
    alarm(cast, now + timedelta(minutes=1))
    assert Notification.objects.count() == 1


def test_a_channel_that_cannot_work_is_refused_by_field(now) -> None:
    with pytest.raises(InvalidInput) as refusal:
        notifications.create_channel(
            name="x", kind="webhook", target="ftp://x", secret="short", minimum_severity="info",
            actor=Actor.system("tests"), now=now,
        )  # fmt: skip
    assert set(refusal.value.errors) == {"target", "secret"}
