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
# Of a body that is refused unread, for the record of the refusal.
_SHOWN = 512


class BodyTooLarge(TooLarge):
    """A body beyond its limit on the wire; `beginning` is what there is to show of it."""

    def __init__(self, beginning: bytes) -> None:
        super().__init__()
        self.beginning = beginning[:_SHOWN]


class LengthRequired(Exception):
    """A chunked body behind a server that does not say where it ends (411): read by its length it would be empty."""


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
        LengthRequired: nobody can tell where it ends.
    """
    stream, length = _stream_of(request)
    if length is not None and length > limit:
        beginning = stream.read(_SHOWN)
        _discard(stream)
        raise BodyTooLarge(beginning)
    body = stream.read(limit + 1)
    if len(body) > limit:
        _discard(stream)
        raise BodyTooLarge(body)
    return body


def beginning(request: Request) -> bytes:
    """What there is to show of a body that was refused before it was read."""
    try:
        return _stream_of(request)[0].read(_SHOWN)
    except (LengthRequired, OSError):
        return b""


def _stream_of(request: Request) -> tuple[IO[bytes], int | None]:
    """Where to read a body, and its length where the sender says it."""
    environ = request.META
    if environ.get("HTTP_TRANSFER_ENCODING") and not environ.get("CONTENT_LENGTH"):
        # Django reads nothing without a length; the server's own stream ends where a chunked body ends.
        if not environ.get("wsgi.input_terminated"):
            raise LengthRequired
        return environ["wsgi.input"], None
    return request, int(environ.get("CONTENT_LENGTH") or 0)


def _discard(stream: IO[bytes]) -> None:
    """Read what is left of a body: a sender that still writes when the connection closes never sees the answer."""
    left = _DISCARDED
    while left > 0 and (piece := stream.read(_PIECE)):
        left -= len(piece)
