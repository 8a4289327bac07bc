"""What every request of the REST API must have before a view looks at it."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse

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
