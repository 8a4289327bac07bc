"""Addresses of the telemetry app: pages, REST under /api/v1/, and OTLP where its clients expect it."""

from django.urls import URLPattern, path

from telemetry.api import ingest

page_patterns: list[URLPattern] = []

api_patterns = [
    path("telemetry", ingest.TelemetryView.as_view(), name="telemetry"),
]
