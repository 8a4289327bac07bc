"""How a stored file is sent: whole or in ranges, with validators, streamed, and by sendfile where the server can."""

import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import http_date, parse_etags, parse_http_date_safe

BLOCK_BYTES = 1 << 16
MAX_RANGES = 20
BOUNDARY = "THIS_STRING_SEPARATES_MULTIPART"
_RANGES = re.compile(r"\s*bytes\s*=(.*)", re.IGNORECASE)
_RANGE = re.compile(r"\s*(\d*)\s*-\s*(\d*)\s*")


class Unsatisfiable(Exception):
    """The ranges asked for cannot be sent."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `first` to `last` of a file, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many bytes it has."""
        return self.last - self.first + 1


def parse_ranges(header: str, size: int) -> list[Span] | None:
    """The ranges in order of their place; None for a unit other than bytes, which RFC 9110 (14.2) has ignored.

    Raises `Unsatisfiable` for ranges that are malformed, outside the file, overlapping, or more than twenty.
    """
    match = _RANGES.fullmatch(header)
    if match is None:
        return None
    spans = []
    for text in match[1].split(","):
        part = _RANGE.fullmatch(text)
        if part is None or not (part[1] or part[2]) or max(len(part[1]), len(part[2])) > 19:
            raise Unsatisfiable
        if part[1]:
            first = int(part[1])
            last = min(int(part[2]), size - 1) if part[2] else size - 1
        else:
            first, last = max(size - int(part[2]), 0), size - 1
        if first > last or first >= size:
            raise Unsatisfiable
        spans.append(Span(first, last))
    spans.sort(key=lambda span: span.first)
    if len(spans) > MAX_RANGES or any(
        after.first <= before.last for before, after in zip(spans, spans[1:], strict=False)
    ):
        raise Unsatisfiable
    return spans


def read_span(path: Path, span: Span) -> Iterator[bytes]:
    """The bytes of the span, block by block."""
    with path.open("rb") as file:
        file.seek(span.first)
        left = span.length
        while left and (block := file.read(min(BLOCK_BYTES, left))):
            left -= len(block)
            yield block


def _range_applies(request: HttpRequest, etag: str, modified: datetime) -> bool:
    """Whether If-Range, where it is given, names this very file; otherwise the whole of it is sent."""
    condition = request.headers.get("If-Range", "").strip()
    if not condition:
        return True
    if condition.startswith(('"', "W/")):
        return condition == etag
    date = parse_http_date_safe(condition)
    return date is not None and int(modified.timestamp()) <= date


def send_file(
    request: HttpRequest, path: Path, *, filename: str, etag: str, modified: datetime, max_age_s: int = 0
) -> HttpResponseBase:
    """Answer GET or HEAD for a file whose content never changes; `etag` comes without quotes.

    200, 206 (one range or multipart/byteranges), 304 (If-None-Match), 412 (If-Match) or 416.
    """
    quoted = f'"{etag}"'
    size = os.path.getsize(path)
    headers = {
        "ETag": quoted,
        "Last-Modified": http_date(modified.timestamp()),
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{filename}"',
        "Cache-Control": f"private, max-age={max_age_s}, immutable" if max_age_s else "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    expected = parse_etags(request.headers.get("If-Match", ""))
    if expected and quoted not in expected and expected != ["*"]:
        return HttpResponse(status=412, headers=headers)
    known = parse_etags(request.headers.get("If-None-Match", ""))
    if quoted in known or f"W/{quoted}" in known or known == ["*"]:
        return HttpResponse(status=304, headers=headers)
    spans = None
    # For HEAD a range has no meaning (RFC 9110, 14.2).
    if request.method == "GET" and "Range" in request.headers and _range_applies(request, quoted, modified):
        try:
            spans = parse_ranges(request.headers["Range"], size)
        except Unsatisfiable:
            return HttpResponse(status=416, headers=headers | {"Content-Range": f"bytes */{size}"})
    if spans is None:
        return _whole(request, path, size, headers)
    if len(spans) == 1:
        span = spans[0]
        headers |= {"Content-Range": f"bytes {span.first}-{span.last}/{size}", "Content-Length": str(span.length)}
        return _partial(read_span(path, span), headers, "application/octet-stream")
    parts = [(_part_head(span, size), span) for span in spans]
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    headers["Content-Length"] = str(sum(len(head) + span.length for head, span in parts) + len(tail))
    return _partial(_multipart(path, parts, tail), headers, f"multipart/byteranges; boundary={BOUNDARY}")


def _whole(request: HttpRequest, path: Path, size: int, headers: dict[str, str]) -> HttpResponseBase:
    # An open file, not an iterator: the application server may hand it to the kernel (sendfile).
    source = io.BytesIO() if request.method == "HEAD" else path.open("rb")
    response = FileResponse(source, content_type="application/octet-stream")
    response.block_size = BLOCK_BYTES
    for name, value in (headers | {"Content-Length": str(size)}).items():
        response.headers[name] = value
    return response


def _partial(body: Iterator[bytes], headers: dict[str, str], content_type: str) -> StreamingHttpResponse:
    return StreamingHttpResponse(body, status=206, headers=headers, content_type=content_type)


def _part_head(span: Span, size: int) -> bytes:
    return (
        f"\r\n--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Range: bytes {span.first}-{span.last}/{size}\r\n\r\n"
    ).encode()


def _multipart(path: Path, parts: list[tuple[bytes, Span]], tail: bytes) -> Iterator[bytes]:
    for head, span in parts:
        yield head
        yield from read_span(path, span)
    yield tail
