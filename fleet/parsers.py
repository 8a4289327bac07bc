"""How the body of a REST request is read: JSON of a bounded size, and files as a stream."""

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework import parsers
from rest_framework.exceptions import ParseError

from fleet.exceptions import TooLarge

MAX_JSON_BYTES = 16 << 20


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unstorable(value: Any) -> bool:
    """Whether any text in the document has a NUL or half a surrogate pair, which PostgreSQL cannot store."""
    if isinstance(value, str):
        return "\0" in value or any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, dict):
        return any(_unstorable(key) or _unstorable(inner) for key, inner in value.items())
    return isinstance(value, list) and any(map(_unstorable, value))


class JSONParser(parsers.JSONParser):
    """JSON up to 16 MiB, without NaN and Infinity, and without text that cannot be stored."""

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The document; 400 where it is not JSON, 413 where it is too large."""
        body = stream.read(MAX_JSON_BYTES + 1)
        if len(body) > MAX_JSON_BYTES:
            raise TooLarge(f"A JSON body may have at most {MAX_JSON_BYTES} bytes.")
        try:
            document = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as exc:
            raise ParseError(f"The body is not valid JSON: {exc}") from exc
        # Such characters can only have come as escapes, since the body was valid UTF-8, or as raw NUL bytes.
        if (b"\\u" in body or b"\0" in body) and _unstorable(document):
            raise ParseError("The body has text with a NUL or a lone surrogate in it.")
        return document


class StreamParser(parsers.BaseParser):
    """A raw body (`application/octet-stream`), handed on unread as `request.data["file"]`."""

    media_type = "application/octet-stream"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, IO[bytes]]:
        """The stream, which the view reads piece by piece."""
        return {"file": stream}
