"""The shortest way for a batch of telemetry: plain WSGI in front of Django, for requests with nothing unusual in them.

A batch that is stored is answered from here. Whatever else comes of a request, it goes on to Django with its body and,
where one was raised, the refusal: `TelemetryView` answers as if the request had come to it first. So there is one place
that knows how things are refused, and a device cannot tell the ways apart. Of a small batch's time the middlewares and
the view took 40 % (measured: 0.95 of 2.3 ms of processor time for 60 records).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from time import perf_counter
from typing import Any

import msgspec
from csp.utils import build_policy
from django.conf import settings
from django.db import connection
from django.http.request import split_domain_port, validate_host
from django.utils import timezone
from django_prometheus.middleware import Metrics

from telemetry.api.bodies import body_limit
from telemetry.api.ingest import RECEIVED, REFUSED, uptime_header
from telemetry.services import ingest

_PATHS = frozenset({"/api/v1/telemetry", "/api/v1/telemetry/"})
_VIEW = "telemetry:telemetry"

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


def _close_connection() -> None:
    """Close this thread's connection, if it has one: of batches that are taken together only one thread's has."""
    if connection.connection is not None:
        connection.close()


class TelemetryShortcut:
    """The WSGI application that answers what it can and leaves the rest to Django.

    `release` gives the thread's connection to the database back when a request has ended, as Django does of itself.
    """

    def __init__(self, django: Application, release: Callable[[], None] = _close_connection) -> None:
        self._django = django
        self._release = release
        self._metrics = _RequestMetrics()
        # as the middlewares set them
        self._headers = [
            ("Content-Type", "application/json"),
            ("Allow", "POST, OPTIONS"),
            ("X-Frame-Options", settings.X_FRAME_OPTIONS),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", settings.SECURE_REFERRER_POLICY),
            ("Cross-Origin-Opener-Policy", settings.SECURE_CROSS_ORIGIN_OPENER_POLICY),
            ("Content-Security-Policy", build_policy()),
        ]

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if environ["PATH_INFO"] not in _PATHS or not _is_ordinary(environ):
            return self._django(environ, start_response)
        began = perf_counter()
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        try:
            reply = _store(environ, body)
        except Exception as refused:
            environ[REFUSED], environ[RECEIVED] = refused, body
            reply = None
        finally:
            self._release()
        if reply is None:
            environ["wsgi.input"] = BytesIO(body)
            return self._django(environ, start_response)
        content = msgspec.json.encode(reply)
        self._metrics.count(environ, len(body), len(content), perf_counter() - began)
        start_response("200 OK", [*self._headers, ("Content-Length", str(len(content)))])
        return [content]


def _is_ordinary(environ: Environ) -> bool:
    """Whether a request may be read here: a POST of JSON within the limit, to a host that is served."""
    length = environ.get("CONTENT_LENGTH") or ""
    if environ["REQUEST_METHOD"] != "POST" or environ.get("CONTENT_TYPE") != "application/json":
        return False
    if "HTTP_TRANSFER_ENCODING" in environ or "HTTP_X_REQUESTED_WITH" in environ:
        return False
    if not length.isdecimal() or int(length) > body_limit(environ):
        return False
    domain, _ = split_domain_port(environ.get("HTTP_HOST", ""))
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


def _store(environ: Environ, body: bytes) -> dict[str, Any] | None:
    """The answer to a batch; None where a closer look at the sender is needed."""
    now = timezone.now()
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme != "Bearer":
        return None
    encoding, uptime = environ.get("HTTP_CONTENT_ENCODING", ""), uptime_header(environ)
    reply = ingest.receive_together(token, body, encoding, now, uptime)
    if reply is not None:
        return reply
    sender = ingest.known_sender(token, now)
    if sender is None:
        return None
    return ingest.receive(ingest.Request(sender, sender.is_gateway, body, encoding, now, uptime))


class _RequestMetrics:
    """What `django_prometheus` counts of a request to this address that is answered with 200."""

    def __init__(self) -> None:
        metrics = Metrics.get_instance()
        self._by_transport = {
            transport: (
                metrics.requests_by_transport.labels(transport=transport),
                metrics.requests_by_view_transport_method.labels(view=_VIEW, transport=transport, method="POST"),
            )
            for transport in ("http", "https")
        }
        self._counters = [
            metrics.requests_total,
            metrics.responses_total,
            metrics.requests_by_method.labels(method="POST"),
            metrics.responses_by_status.labels(status="200"),
            metrics.responses_by_status_view_method.labels(status="200", view=_VIEW, method="POST"),
            metrics.responses_by_charset.labels(charset="utf-8"),
        ]
        self._latencies = [
            metrics.requests_latency_before,
            metrics.requests_latency_by_view_method.labels(view=_VIEW, method="POST"),
        ]
        self._received, self._sent = metrics.requests_body_bytes, metrics.responses_body_bytes

    def count(self, environ: Environ, received: int, sent: int, seconds: float) -> None:
        """Count one request."""
        for counter in (*self._counters, *self._by_transport["https" if _is_secure(environ) else "http"]):
            counter.inc()
        for latency in self._latencies:
            latency.observe(seconds)
        self._received.observe(received)
        self._sent.observe(sent)


def _is_secure(environ: Environ) -> bool:
    if settings.SECURE_PROXY_SSL_HEADER:
        header, secure = settings.SECURE_PROXY_SSL_HEADER
        if header in environ:
            return environ[header].split(",", 1)[0].strip() == secure
    return environ["wsgi.url_scheme"] == "https"
