"""What an OTLP client sent, in a form that people can read: for the quarantine of its bad data points."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

OTLP_SECTION = "otlp"


def metrics_as_sent(body: bytes) -> dict[str, Any]:
    """The metrics of an export by name, each with its first data point; nothing where it cannot be read.

    Args:
        body: protobuf or JSON, in clear.
    """
    try:
        message = _parsed(body)
    except (json_format.ParseError, DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    found: dict[str, Any] = {}
    for resource in message.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                if kind is not None:
                    del getattr(metric, kind).data_points[1:]
                found.setdefault(metric.name, json_format.MessageToDict(metric, preserving_proto_field_name=True))
    return found


def _parsed(body: bytes) -> ExportMetricsServiceRequest:
    message = ExportMetricsServiceRequest()
    # no export in protobuf begins with this byte: it would open a group of a field that there is not
    if body[:1] == b"{":
        return json_format.Parse(body, message, ignore_unknown_fields=True)
    message.ParseFromString(body)
    return message
