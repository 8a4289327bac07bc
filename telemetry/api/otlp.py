"""POST /v1/metrics: OTLP/HTTP metrics, protobuf and JSON, from unmodified OpenTelemetry SDKs and collectors."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from rest_framework.request import Request

from telemetry.api.ingest import DeviceView, UnknownMediaType
from telemetry.protocol import BadBody, decompress
from telemetry.protocol.otlp import read_resources
from telemetry.services.ingest.otlp import OtlpAnswer, take_metrics

PROTOBUF, JSON = "application/x-protobuf", "application/json"


class MetricsView(DeviceView):
    """Takes the metrics of OpenTelemetry SDKs."""

    @extend_schema(exclude=True)
    def post(self, request: Request) -> HttpResponse:
        """Store all resources of an export and answer once they are committed."""
        media_type = request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if media_type not in (PROTOBUF, JSON):
            raise UnknownMediaType
        received = self.read(request)
        body = decompress(received, request.META.get("HTTP_CONTENT_ENCODING", ""), settings.TELEMETRY_MAX_BYTES)
        answer = take_metrics(
            request.user.device,
            request.user.is_gateway,
            read_resources(parse(body, media_type)),
            body,
            len(received),
            timezone.now(),
        )
        return HttpResponse(encode(answer, media_type), content_type=media_type)


def parse(body: bytes, media_type: str) -> ExportMetricsServiceRequest:
    """The request in either encoding.

    Raises:
        BadBody: it cannot be read.
    """
    message = ExportMetricsServiceRequest()
    try:
        if media_type == JSON:
            json_format.Parse(body, message, ignore_unknown_fields=True)
        else:
            message.ParseFromString(body)
    except (json_format.ParseError, DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBody("syntax", f"The body is no ExportMetricsServiceRequest: {str(error)[:200]}.") from None
    return message


def encode(answer: OtlpAnswer, media_type: str) -> bytes:
    """The answer in the encoding of the request."""
    response = ExportMetricsServiceResponse()
    if answer.rejected or answer.messages:
        response.partial_success.rejected_data_points = answer.rejected
        response.partial_success.error_message = " ".join(answer.messages)[:1000]
    return json_format.MessageToJson(response).encode() if media_type == JSON else response.SerializeToString()
