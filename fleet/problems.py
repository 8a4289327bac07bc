"""The one shape in which every refusal is answered: problem+json (RFC 9457) with one entry per field."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.http import JsonResponse

CONTENT_TYPE = "application/problem+json"


def problem(
    status: int, code: str, detail: str, errors: Sequence[Mapping[str, Any]] = (), **more: Any
) -> dict[str, Any]:
    """The document; `errors` holds one {"field", "message", "code"} per bad field, `more` adds members of the case."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "errors": list(errors),
        **more,
    }


def problem_response(
    status: int,
    code: str,
    detail: str,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JsonResponse:
    """The document as an answer, for views that do without the REST framework."""
    return JsonResponse(
        problem(status, code, detail, errors, **more), status=status, headers=headers, content_type=CONTENT_TYPE
    )
