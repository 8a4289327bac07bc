"""Reading what devices send: bodies up to a limit, whatever their length header says or leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from telemetry.protocol import TooLarge

# A body is read to its end up to here; the connection of a longer one is closed in the middle.
_DISCARDED = 64 << 20
_PIECE = 1 << 18


class AnswerAsJson(BaseContentNegotiation):
    """Devices get JSON whatever their Accept header says; a 406 would cost them their data."""

    def select_parser(self, request: Request, parsers: list) -> None:
        """None: bodies are read by the views themselves."""

    def select_renderer(
        self, request: Request, renderers: list[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """The first renderer."""
        return renderers[0], renderers[0].media_type


def body_limit(environ: Mapping[str, Any]) -> int:
    """How many bytes a body may have on the wire, by its encoding."""
    compressed = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower() not in ("", "identity")
    return settings.TELEMETRY_MAX_COMPRESSED_BYTES if compressed else settings.TELEMETRY_MAX_BYTES


def read_body(request: Request, limit: int) -> bytes:
    """The body as received.

    Raises:
        TooLarge: it is longer than the limit; at most that many bytes were held at once.
    """
    environ = request.META
    chunked = environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked" and environ.get("wsgi.input_terminated")
    # Django reads nothing without a length; the server's own stream ends where a chunked body ends.
    stream = environ["wsgi.input"] if chunked else request
    if not chunked and int(environ.get("CONTENT_LENGTH") or 0) > limit:
        _discard(stream)
        raise TooLarge
    body = stream.read(limit + 1)
    if len(body) > limit:
        _discard(stream)
        raise TooLarge
    return body


def _discard(stream: IO[bytes]) -> None:
    """Read what is left of a body: a sender that still writes when the connection closes never sees the answer."""
    left = _DISCARDED
    while left > 0 and (piece := stream.read(_PIECE)):
        left -= len(piece)
