"""The shortcut in front of Django answers like the view behind it, and hands on what it does not store."""

import gzip
import io
import sys
from collections import Counter
from datetime import timedelta

import msgspec
import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_started
from django.db import close_old_connections
from prometheus_client import REGISTRY

from fleet.actors import Actor
from fleet.models import Device, Token
from fleet.services import tokens
from telemetry.api.shortcut import TelemetryShortcut
from telemetry.models import Batch, RequestReject
from telemetry.services.ingest import known_sender
from tests.telemetry.envelopes import encode, envelope

pytestmark = pytest.mark.django_db

Answer = tuple[str, dict[str, str], dict]


def never(environ, start_response):
    """What stands behind a shortcut that must not hand on."""
    raise AssertionError("the request went on to Django")


def shortcut_to(django) -> TelemetryShortcut:
    """A shortcut that leaves the test its connection."""
    return TelemetryShortcut(django, release=bool)


@pytest.fixture
def django():
    """The whole of Django with its middlewares, which leaves the test its connection."""
    request_started.disconnect(close_old_connections)
    yield WSGIHandler()
    request_started.connect(close_old_connections)


@pytest.fixture
def device(make_device) -> Device:
    """The device that sends."""
    return make_device("cam-001")


@pytest.fixture
def token(device, device_token, clock) -> str:
    """Its token, of which it was noted a moment ago that it is used."""
    raw = device_token(device)
    Token.objects.update(last_used_at=clock)
    return raw


def send(application, token: str, body: bytes | dict, **environ) -> Answer:
    """Status line, headers and content of the answer to a POST."""
    raw = encode(body) if isinstance(body, dict) else body
    request = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/api/v1/telemetry",
        "SERVER_NAME": "ridgeline",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(raw),
        "wsgi.errors": sys.stderr,
        "HTTP_HOST": "ridgeline.example",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(raw)),
        "HTTP_AUTHORIZATION": f"Bearer {token}",
    } | environ
    answers = []
    content = b"".join(application(request, lambda status, headers, *_: answers.append((status, dict(headers)))))
    [(status, headers)] = answers
    # directives of this header have no order
    policy = headers.pop("Content-Security-Policy")
    return status, headers | {"CSP": str(sorted(policy.split("; ")))}, msgspec.json.decode(content)


def counted() -> Counter:
    """The server's counters, and how often its histograms of times were added to, by name and labels."""
    samples = (sample for family in REGISTRY.collect() for sample in family.samples)
    return Counter(
        {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for sample in samples
            if "_http_" in sample.name
            and not sample.name.endswith("_created")
            and not ("latency" in sample.name and sample.name.endswith(("_bucket", "_sum")))
        }
    )


def test_a_batch_that_is_stored_gets_the_answer_and_the_counts_that_the_view_would_give(django, token, clock):
    answers, counts = [], []
    # the second time the shortcut has seen the token, so that the batch might be taken along with others
    for seq, application in enumerate((django, shortcut_to(never), shortcut_to(never))):
        before = counted()
        answers.append(send(application, token, envelope(clock, seq=seq)))
        counts.append(counted() - before)
    for status, _, content in answers:
        assert status == "200 OK"
        assert content.pop("server_time").endswith("Z")
    assert answers[0] == answers[1] == answers[2]
    assert counts[0] == counts[1] == counts[2]
    assert counts[1]["django_http_requests_before_middlewares_total",] == 1
    assert list(Batch.objects.order_by("batch_seq").values_list("batch_seq", "inferences")) == [(0, 3), (1, 3), (2, 3)]


def test_a_duplicate_and_a_partly_bad_batch_are_answered_without_django(token, clock):
    shortcut = shortcut_to(never)
    body = envelope(clock, inferences=[{"time": clock.isoformat(), "latency_ms": -1}])
    assert send(shortcut, token, body)[2]["rejected"] == 1
    assert send(shortcut, token, gzip.compress(encode(body)), HTTP_CONTENT_ENCODING="gzip")[2]["duplicate"] is True


REFUSALS = {
    "no token": ({"HTTP_AUTHORIZATION": ""}, b"{}"),
    "another scheme": ({"HTTP_AUTHORIZATION": "Basic YTpi"}, b"{}"),
    "a token that nobody has": ({"HTTP_AUTHORIZATION": "Bearer rdl_aaaaaaaa_" + 43 * "b"}, b"{}"),
    "no JSON": ({}, b"{"),
    "a media type that is not read": ({"CONTENT_TYPE": "text/csv"}, b"{}"),
    "an encoding that is not known": ({"HTTP_CONTENT_ENCODING": "br"}, b"{}"),
    "a compressed body that is none": ({"HTTP_CONTENT_ENCODING": "gzip"}, b"{}"),
    "too large": ({}, bytes((8 << 20) + 1)),
    "too large when unpacked": ({"HTTP_CONTENT_ENCODING": "gzip"}, gzip.compress(bytes((8 << 20) + 1))),
    "another method": ({"REQUEST_METHOD": "PUT"}, b"{}"),
    "a length that is none": ({"CONTENT_LENGTH": ""}, b"{}"),
    "for another device": ({}, {"device": "cam-002"}),
    "the number of another body": ({}, {"uptime_ms": 5}),
}


@pytest.mark.parametrize("is_seen", [True, False], ids=["token seen before", "token new"])
@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_the_view_s_and_is_kept_once(django, token, clock, case, is_seen):
    environ, body = REFUSALS[case]
    if isinstance(body, dict):
        body = encode(envelope(clock) | body)
    assert send(django, token, envelope(clock))[0] == "200 OK"
    expected = send(django, token, body, **environ)
    if is_seen:
        assert known_sender(token, clock)
    kept = RequestReject.objects.count()
    assert send(shortcut_to(django), token, body, **environ) == expected
    assert not expected[0].startswith("200")
    assert RequestReject.objects.count() == 2 * kept
    assert list(Batch.objects.values_list("inferences")) == [(3,)]


def test_too_many_requests_are_told_to_wait(django, token, clock, settings):
    settings.INGEST_RATE, settings.INGEST_BURST = 0.001, 1
    shortcut = shortcut_to(django)
    answers = [send(shortcut, token, envelope(clock, seq=seq)) for seq in range(3)]
    assert [status[:3] for status, _, _ in answers] == ["200", "429", "429"]
    assert int(answers[1][1]["Retry-After"]) > 0
    assert Batch.objects.count() == 1


@pytest.mark.parametrize("change", ["revoked", "expired", "suspended"])
def test_what_happens_to_a_token_or_its_device_counts_with_the_next_request(django, device, token, clock, change):
    shortcut = shortcut_to(django)
    assert send(shortcut, token, envelope(clock))[0] == "200 OK"
    if change == "revoked":
        tokens.revoke_device_tokens(device, actor=Actor.system("test"), now=clock, reason="lost")
    elif change == "expired":
        Token.objects.update(expires_at=clock - timedelta(seconds=1))
    else:
        Device.objects.filter(pk=device.pk).update(status=Device.Status.SUSPENDED)
    status, _, content = send(shortcut, token, envelope(clock, seq=2))
    assert status == ("403 Forbidden" if change == "suspended" else "401 Unauthorized"), content
    assert Batch.objects.count() == 1


def test_the_use_of_a_token_is_noted_at_most_a_minute_late(django, token, clock):
    Token.objects.update(last_used_at=clock - tokens.LAST_USED_RESOLUTION)
    assert send(shortcut_to(django), token, envelope(clock))[0] == "200 OK"
    assert Token.objects.get().last_used_at >= clock


def test_other_hosts_than_those_that_are_served_are_left_to_django(token, clock, settings):
    settings.ALLOWED_HOSTS = ["ridgeline.example"]
    assert send(shortcut_to(never), token, envelope(clock))[0] == "200 OK"
    with pytest.raises(AssertionError, match="went on"):
        send(shortcut_to(never), token, envelope(clock, seq=2), HTTP_HOST="evil.example")
