"""Addresses of the telemetry app: pages, REST under /api/v1/, and OTLP where its clients expect it."""

from django.urls import path

from telemetry.api import (
    counters,
    directives,
    distributions,
    events,
    export,
    ingest,
    ingest_health,
    metrics,
    otlp,
    series,
    status,
)
from telemetry.views.routes import page_patterns

__all__ = ["api_patterns", "page_patterns", "root_patterns"]

root_patterns = [
    path("metrics", metrics.metrics, name="metrics"),
    # where OTLP clients post
    path("v1/metrics", otlp.MetricsView.as_view(), name="otlp-metrics"),
]

api_patterns = [
    path("telemetry", ingest.TelemetryView.as_view(), name="telemetry"),
    path("directives", directives.DirectivesView.as_view(), name="api-directives"),
    path("status", status.StatusView.as_view(), name="api-status"),
    path("series", series.SeriesView.as_view(), name="api-series"),
    path("series.csv", series.SeriesView.as_view(), {"format": "csv"}),
    path("distributions", distributions.DistributionsView.as_view(), name="api-distributions"),
    path("distributions.csv", distributions.DistributionsView.as_view(), {"format": "csv"}),
    path("events", events.EventsView.as_view(), name="api-events"),
    path("events.csv", events.EventsView.as_view(), {"format": "csv"}),
    path("counters", counters.CountersView.as_view(), name="api-counters"),
    path("counters.csv", counters.CountersView.as_view(), {"format": "csv"}),
    path("export/<str:table>.csv", export.ExportView.as_view(), {"format": "csv"}),
    path("export/<str:table>", export.ExportView.as_view(), name="api-export"),
    path("ingest-health", ingest_health.IngestHealthView.as_view(), name="api-ingest-health"),
    path("ingest-health.csv", ingest_health.IngestHealthView.as_view(), {"format": "csv"}),
]
