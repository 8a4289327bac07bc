"""Content encodings: decompression that stops at a limit, so that a small body cannot become a large one."""

from __future__ import annotations

import zlib

import zstandard

from telemetry.protocol.errors import BadBody, TooLarge, UnknownEncoding

_CHUNK = 1 << 16
# zstd frames may ask for windows of gigabytes; devices have no use for more than the body limit.
_MAX_WINDOW = 8 << 20


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """The body in clear.

    Args:
        body: as received.
        encoding: the Content-Encoding header: "", "identity", "gzip" or "zstd".
        limit: bytes that the result may have.

    Raises:
        UnknownEncoding: another encoding.
        TooLarge: the result would exceed the limit; no more than the limit was ever held.
        BadBody: the compressed data is damaged or incomplete.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        if len(body) > limit:
            raise TooLarge
        return body
    if encoding in ("gzip", "x-gzip"):
        return _gunzip(body, limit)
    if encoding == "zstd":
        return _unzstd(body, limit)
    raise UnknownEncoding(encoding)


def _gunzip(body: bytes, limit: int) -> bytes:
    parts, size = [], 0
    try:
        # A gzip file may have several members, one after the other.
        while body:
            member = zlib.decompressobj(wbits=31)
            part = member.decompress(body, limit - size + 1)
            size += len(part)
            if size > limit:
                raise TooLarge
            if not member.eof:
                raise BadBody("encoding", "The gzip data ends too early.")
            parts.append(part)
            body = member.unused_data
    except zlib.error as error:
        raise BadBody("encoding", f"The gzip data is damaged: {error}.") from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _unzstd(body: bytes, limit: int) -> bytes:
    parts, size = [], 0
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(body, read_across_frames=True)
        while part := reader.read(_CHUNK):
            size += len(part)
            if size > limit:
                raise TooLarge
            parts.append(part)
    except zstandard.ZstdError as error:
        raise BadBody("encoding", f"The zstd data is damaged: {error}.") from None
    return b"".join(parts)
