"""What every request of the REST API must have before a view looks at it."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.middleware.gzip import GZipMiddleware

from fleet.problems import problem_response


class RequireLength:
    """Answers 411 to a body of unknown length where it would be taken for an empty one, which would lose it in silence.

    Django and the REST framework's parsers read as many bytes as Content-Length says. Views that read the server's own
    stream (ingest) have no parsers, and take chunked bodies.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        """Refuse a chunked body in front of a view that parses it."""
        if "HTTP_TRANSFER_ENCODING" not in request.META or request.META.get("CONTENT_LENGTH"):
            return None
        if not getattr(getattr(view, "cls", None), "parser_classes", None):
            return None
        return problem_response(411, "length_required", "Send the body with a Content-Length, not in chunks.")


class CompressText(GZipMiddleware):
    """Sends pages, JSON and CSV gzipped to whoever takes it: phones on bad links get a tenth of the bytes.

    Artifacts go as they are: they hardly shrink, and a part of one must be a part of its own bytes.

    On guessing secrets from compressed lengths (BREACH): the CSRF token that pages carry is masked anew by Django in
    every answer, the middleware adds a random number of bytes, and tokens are shown once, on pages that echo no input.
    """

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Compress an answer that is text."""
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not (kind.startswith("text/") or kind.endswith(("/json", "+json", "/javascript", "+xml"))):
            return response
        return super().process_response(request, response)
