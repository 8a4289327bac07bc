"""POST /api/v1/telemetry: where devices send batches; every answer is one of the table in the protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from django.conf import settings
from django.http import HttpResponse, HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fleet.authentication import BearerAuthentication, DevicePrincipal, bearer_token
from fleet.models import Token
from fleet.permissions import IsDevice
from fleet.problems import problem_response
from fleet.services import tokens
from telemetry.api.bodies import AnswerAsJson, LengthRequired, beginning, body_limit, read_body
from telemetry.exceptions import BatchConflict, TooMany
from telemetry.protocol import BadBody, TooLarge, UnknownEncoding
from telemetry.services import ingest, quarantine

# Answers after which a device would never learn why its data is missing, were they not kept (see quarantine).
_KEPT = frozenset({400, 401, 403, 409, 411, 413, 415, 422, 429})

# Where the shortcut leaves the refusal that it met, and the body that it read; no header of a request can come here.
REFUSED, RECEIVED = "ridgeline.refused", "ridgeline.received"


class UnknownMediaType(Exception):
    """The body is of a type that this address does not read."""


class DeviceView(APIView):
    """What the addresses share to which devices send measurements: who may, how bodies are read, how it is refused."""

    authentication_classes = [BearerAuthentication]
    permission_classes = [IsDevice]
    content_negotiation_class = AnswerAsJson
    # bodies are read from the server's own stream, chunked ones too
    parser_classes = ()
    # of the body, as far as it was read; for the record of a refusal
    received: bytes = b""

    def read(self, request: Request) -> bytes:
        """The body as received, within the limit for its encoding."""
        self.received = read_body(request, body_limit(request.META))
        return self.received

    def handle_exception(self, exc: Exception) -> HttpResponseBase:
        """Answer a refusal, and keep it."""
        response = refusal(exc) or super().handle_exception(exc)
        if response.status_code in _KEPT:
            told = response.data if isinstance(response, Response) else json.loads(response.content)
            self._note(exc, response.status_code, told)
        return response

    def _note(self, exc: Exception, status: int, told: Mapping[str, Any]) -> None:
        device_id = _device_id(self.request)
        if device_id is None and status == 401:
            # Anybody can send rubbish without ever having been a device here; that is for the access log.
            return
        now = timezone.now()
        code, message = told["code"], told["detail"]
        if status == 401:
            # the sender is not told what is wrong with its token; whoever looks after the device is
            code, message = _why_unknown(self.request, now)
        body = self.received or getattr(exc, "beginning", b"") or beginning(self.request)
        quarantine.note_refusal(
            device_id=device_id,
            status=status,
            code=code[:48],
            message=message,
            body=body,
            size=len(self.received) or int(self.request.META.get("CONTENT_LENGTH") or 0),
            now=now,
        )


class TelemetryView(DeviceView):
    """Takes the batches of devices, those that the shortcut leaves to it (see `telemetry.api.shortcut`)."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check the sender, unless the shortcut has and met a refusal after that."""
        if REFUSED in request.META:
            self.received = request.META[RECEIVED]
            raise request.META.pop(REFUSED)
        super().initial(request, *args, **kwargs)

    @extend_schema(
        summary="Send a batch of telemetry",
        description="One envelope of inferences, windows, events, counters and states; see the device protocol.",
        request=OpenApiTypes.OBJECT,
        responses={
            200: OpenApiResponse(OpenApiTypes.OBJECT, "Stored, or a duplicate of a stored batch"),
            400: OpenApiResponse(OpenApiTypes.OBJECT, "The body cannot be read; do not retry"),
            401: OpenApiResponse(OpenApiTypes.OBJECT, "The token is not good"),
            403: OpenApiResponse(OpenApiTypes.OBJECT, "The device is suspended, or the envelope is for another one"),
            409: OpenApiResponse(OpenApiTypes.OBJECT, "Another body was stored under this number; do not retry"),
            413: OpenApiResponse(OpenApiTypes.OBJECT, "Too large; split and retry"),
            415: OpenApiResponse(OpenApiTypes.OBJECT, "Media type or encoding unknown; use JSON and gzip"),
            429: OpenApiResponse(OpenApiTypes.OBJECT, "Too many requests; wait as Retry-After says"),
            503: OpenApiResponse(OpenApiTypes.OBJECT, "Try again as Retry-After says, with the same batch"),
        },
    )
    def post(self, request: Request) -> HttpResponse:
        """Store one batch and answer once it is committed."""
        if request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json":
            raise UnknownMediaType
        reply = ingest.receive(
            ingest.Request(
                sender=request.user.device,
                is_gateway=request.user.is_gateway,
                body=self.read(request),
                encoding=request.META.get("HTTP_CONTENT_ENCODING", ""),
                now=timezone.now(),
                uptime_now_ms=uptime_header(request.META),
            )
        )
        return HttpResponse(msgspec.json.encode(reply), content_type="application/json")


def uptime_header(meta: Mapping[str, Any]) -> float | None:
    """The device's monotonic clock at this request; None where the header is missing or no number."""
    try:
        uptime = float(meta["HTTP_RIDGELINE_UPTIME_MS"])
    except (KeyError, ValueError):
        return None
    return uptime if math.isfinite(uptime) and uptime >= 0 else None


def refusal(exc: Exception) -> HttpResponse | None:
    """The answer to a body that is refused; None for what the project's table of errors answers."""
    if isinstance(exc, BadBody):
        errors = [{"field": exc.field, "message": exc.message, "code": exc.code}] if exc.field else []
        return problem_response(400, exc.code, exc.message, errors)
    if isinstance(exc, TooLarge):
        limits = {
            "compressed_bytes": settings.TELEMETRY_MAX_COMPRESSED_BYTES,
            "bytes": settings.TELEMETRY_MAX_BYTES,
            "records": settings.TELEMETRY_MAX_INFERENCES,
        }
        detail = "The body exceeds a limit: {compressed_bytes} bytes compressed, {bytes} in clear, {records} records."
        return problem_response(413, "too_large", detail.format(**limits), limits=limits)
    if isinstance(exc, UnknownEncoding):
        return problem_response(415, "unknown_encoding", "Content-Encoding must be gzip, zstd or identity.")
    if isinstance(exc, UnknownMediaType):
        return problem_response(415, "unknown_media_type", "Content-Type must be application/json.")
    if isinstance(exc, LengthRequired):
        return problem_response(411, "length_required", "Send the body with a Content-Length, not in chunks.")
    if isinstance(exc, BatchConflict):
        return problem_response(409, exc.code, exc.detail)
    if isinstance(exc, TooMany):
        return problem_response(429, exc.code, exc.detail, headers={"Retry-After": str(math.ceil(exc.retry_after_s))})
    return None


def _why_unknown(request: Request, now: datetime) -> tuple[str, str]:
    """Code and sentence of what is wrong with a token."""
    found = tokens.check(bearer_token(request) or "", now).refusal or "refused"
    return f"token_{found}", f"The token is {found.replace('_', ' ')}."


def _device_id(request: Request) -> int | None:
    """The device whose token was sent, even where the token is not good any more."""
    user: Any = getattr(request, "_user", None)
    if isinstance(user, DevicePrincipal):
        return user.device.pk
    parts = tokens.parse(bearer_token(request) or "", tokens.TOKEN_PREFIX)
    if parts is None:
        return None
    return Token.objects.filter(key_id=parts[0]).values_list("device_id", flat=True).first()
