"""HTTP and HTTPS with keep-alive over http.client; what goes wrong on the way is one exception."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

USER_AGENT = "ridgeline-sdk/1.0"
MAX_ANSWER_BYTES = 4 * 1024 * 1024


class TransportError(OSError):
    """No complete answer came: refused, reset, timed out, or not HTTP. Whether the server acted is unknown."""


@dataclass(frozen=True)
class Response:
    """A complete answer; `headers` have lower-case names."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; ValueError when it is not."""
        return json.loads(self.body)


class Transport:
    """One kept-alive connection to one server. Not for use by two threads at once."""

    def __init__(self, server: str, *, timeout_s: float = 20.0, ssl_context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"server must be an http or https URL, got {server!r}")
        self.origin = (parts.scheme, parts.hostname, parts.port)
        self._base = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._ssl = ssl_context or (ssl.create_default_context() if parts.scheme == "https" else None)
        self._connection: http.client.HTTPConnection | None = None
        self._used = False

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Response:
        """Send a request and read the whole answer; TransportError when none came."""
        answer = self.open(method, path, body, headers)
        try:
            content = answer.read(MAX_ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise TransportError(f"the answer broke off: {error!r}") from error
        if len(content) > MAX_ANSWER_BYTES:
            self.close()
            raise TransportError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
        if answer.will_close:
            self.close()
        return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)

    def open(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        """Send a request and return the answer unread, for downloads: read it to its end or close the transport."""
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **(headers or {})}
        # A kept-alive connection that the server closed meanwhile is no failure of this request: once more on a new
        # one. Every request of this package may be repeated; telemetry is recognised by its batch_seq.
        for attempt in (1, 2):
            reused = self._used
            try:
                connection = self._connect()
                connection.request(method, self._base + path, body=body, headers=headers)
                answer = connection.getresponse()
                self._used = True
                return answer
            except (http.client.RemoteDisconnected, ConnectionError, http.client.CannotSendRequest) as error:
                self.close()
                if not reused or attempt == 2:
                    raise TransportError(f"no answer: {error!r}") from error
            except (OSError, http.client.HTTPException) as error:
                self.close()
                raise TransportError(f"no answer: {error!r}") from error
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Drop the connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._used = None, False

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None:
            scheme, host, port = self.origin
            if scheme == "https":
                self._connection = http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._ssl)
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        return self._connection


def bearer(token: str) -> dict[str, str]:
    """The Authorization header of a token."""
    return {"Authorization": f"Bearer {token}"}


def send_json(transport: Transport, method: str, path: str, payload: Any = None, token: str | None = None) -> Response:
    """Send JSON (or nothing) with a token (or none)."""
    headers = bearer(token) if token else {}
    body = None
    if payload is not None:
        body = json.dumps(payload, allow_nan=False).encode()
        headers["Content-Type"] = "application/json"
    return transport.request(method, path, body, headers)


def explain(response: Response) -> str:
    """A refusal in words: the detail of a problem+json body, or its first characters."""
    try:
        problem = response.json()
        text = problem.get("detail") or problem.get("title") or ""
        errors = "; ".join(f"{e.get('field')}: {e.get('message')}" for e in problem.get("errors", []))
        return f"{response.status} {text} {errors}".strip()
    except (ValueError, AttributeError):
        return f"{response.status} {response.body[:200].decode('utf-8', 'replace')}".strip()
