"""One table from domain exception to HTTP status, and the one shape in which every refusal is answered."""

import logging
import math
import sys
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.views import defaults
from rest_framework import exceptions as rest
from rest_framework.response import Response

from fleet.api.health import unavailable_page
from fleet.exceptions import (
    BadCredentials,
    DomainError,
    InvalidInput,
    NotAllowed,
    NotFound,
    StateConflict,
    TooLarge,
    TooMany,
)
from fleet.problems import CONTENT_TYPE, problem, problem_response

logger = logging.getLogger(__name__)

# A subclass has the status of its nearest ancestor in this table.
STATUS: dict[type[Exception], int] = {
    BadCredentials: 401,
    NotAllowed: 403,
    NotFound: 404,
    StateConflict: 409,
    TooLarge: 413,
    InvalidInput: 422,
    TooMany: 429,
    DomainError: 400,
    PermissionDenied: 403,
    Http404: 404,
    RequestDataTooBig: 413,
    # A value of the right type that the database cannot hold, such as an instant with an offset of eighteen hours.
    DataError: 422,
    # The database is away, its pool is exhausted, or a statement ran into a time limit: asking again is safe.
    OperationalError: 503,
    InterfaceError: 503,
}
RETRY_AFTER_S = 5


def status_of(exc: Exception) -> int | None:
    """The status of an exception by its nearest ancestor in the table; None where it is a defect and not a refusal."""
    return next((STATUS[kind] for kind in type(exc).__mro__ if kind in STATUS), None)


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Answer an exception of a REST view as problem+json; None (a 500) for whatever is not a refusal."""
    headers: dict[str, str] = {}
    if isinstance(exc, rest.ValidationError):
        errors = list(field_errors(exc.detail))
        return _respond(422, "invalid", _sentence(errors), errors=errors)
    if isinstance(exc, rest.APIException):
        if getattr(exc, "auth_header", None):
            headers["WWW-Authenticate"] = exc.auth_header
        if getattr(exc, "wait", None):
            headers["Retry-After"] = str(math.ceil(exc.wait))
        return _respond(exc.status_code, exc.get_codes(), str(exc.detail), headers=headers)
    status = status_of(exc)
    if status is None:
        return None
    if status == 503:
        logger.warning("Answered 503: %s", exc)
        headers["Retry-After"] = str(RETRY_AFTER_S)
        return _respond(503, "unavailable", "The database cannot be reached at present.", headers=headers)
    if isinstance(exc, DataError):
        return _respond(422, "unstorable", "A value lies outside what can be stored.")
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="ridgeline"'
    if isinstance(exc, TooMany):
        headers["Retry-After"] = str(exc.wait_s)
    code = getattr(exc, "code", {403: "permission_denied", 404: "not_found", 413: "too_large"}.get(status, "error"))
    more: dict[str, Any] = {}
    if isinstance(exc, StateConflict):
        more = {"state": exc.state, "allowed_actions": exc.allowed_actions}
    if isinstance(exc, InvalidInput):
        more = {"errors": [{"field": field, "message": text, "code": code} for field, text in exc.errors.items()]}
    return _respond(status, code, str(exc) or "Not found.", headers=headers, **more)


def field_errors(detail: Any, path: str = "", code: str = "invalid") -> Iterator[dict[str, str]]:
    """One entry per message of a serializer's nested errors, with paths like `artifacts[0].sha256`."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            if name == "non_field_errors":
                yield from field_errors(inner, path)
            elif isinstance(name, int):
                yield from field_errors(inner, f"{path}[{name}]")
            else:
                yield from field_errors(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, dict | list)
            yield from field_errors(inner, f"{path}[{index}]" if nested else path)
    else:
        yield {"field": path, "message": str(detail), "code": getattr(detail, "code", None) or code}


def _sentence(errors: list[dict[str, str]]) -> str:
    """The errors as one line for people."""
    return "; ".join(f"{error['field']}: {error['message']}".removeprefix(": ") for error in errors)


def _respond(status: int, code: Any, detail: str, *, headers: dict[str, str] | None = None, **more: Any) -> Response:
    document = problem(status, code if isinstance(code, str) else "error", detail, **more)
    return Response(document, status=status, headers=headers, content_type=CONTENT_TYPE)


def _wants_json(request: HttpRequest) -> bool:
    return request.path.startswith(("/api/", "/v1/", "/artifacts/"))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A path that no view serves."""
    if _wants_json(request):
        return problem_response(404, "not_found", "There is nothing at this address.")
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """A defect, whose details are in the server's log.

    Where the database is away that is said plainly, with 503; a value that it cannot hold is a bad request.
    """
    failure = sys.exc_info()[1]
    if failure is not None and status_of(failure) == 503:
        logger.warning("Answered 503: %s", failure)
        if _wants_json(request):
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            return problem_response(503, "unavailable", "The database cannot be reached at present.", headers=headers)
        return unavailable_page()
    if isinstance(failure, DataError) and not _wants_json(request):
        # Text with a NUL in an address or a form, a number beyond what a column holds.
        return defaults.bad_request(request, failure)
    if _wants_json(request):
        return problem_response(500, "server_error", "The server failed; its log says why.")
    return defaults.server_error(request)
