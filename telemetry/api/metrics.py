"""/metrics for Prometheus: the server's own metrics, and gauges of the fleet."""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable, Iterator

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django_prometheus.exports import ExportToDjangoView
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from telemetry.selectors.gauges import FleetGauges, ReleaseGauges, fleet_gauges

# Several Prometheus servers, and several web processes, share one reading of the fleet.
_CACHED_S = 10
_KEY = "telemetry.fleet_gauges"


class FleetCollector(Collector):
    """Fleet gauges in the form that prometheus_client writes."""

    def __init__(self, gauges: FleetGauges) -> None:
        self.gauges = gauges

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Every family of gauges; a release without a reading is left out of that family."""
        devices = GaugeMetricFamily(
            "ridgeline_devices", "Accepted devices by state", labels=["hardware_target", "state"]
        )
        for (target, state), count in sorted(self.gauges.devices.items()):
            devices.add_metric([target, state], count)
        yield devices
        yield self._by_release("ridgeline_inferences", "Inferences of the last 15 minutes", lambda r: r.inferences)
        latency = GaugeMetricFamily(
            "ridgeline_latency_milliseconds",
            "Latency of the last 15 minutes; relative error at most 1.1 %",
            labels=["workload", "release", "quantile"],
        )
        for release in self.gauges.releases:
            for p, value in release.latency_ms.items():
                if not math.isnan(value):
                    latency.add_metric([release.workload, release.release, f"{p:g}"], value)
        yield latency
        yield self._by_release("ridgeline_joules_per_inference", "Mean energy per inference", lambda r: r.joules)
        yield self._by_release("ridgeline_confidence", "Mean confidence", lambda r: r.confidence)
        for name in ("fallback_rate", "error_rate", "throttled_share"):
            yield self._by_release(f"ridgeline_{name}", f"{name} of inferences", lambda r, name=name: r.shares[name])
        yield GaugeMetricFamily(
            "ridgeline_marks_waiting", "Batches' buckets that are not folded yet", value=self.gauges.marks_waiting
        )
        yield GaugeMetricFamily(
            "ridgeline_folding_lag_seconds", "Age of the oldest of those", value=self.gauges.folding_lag_s
        )

    def _by_release(self, name: str, text: str, value_of: Callable[[ReleaseGauges], float]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, text.replace("_", " "), labels=["workload", "release"])
        for release in self.gauges.releases:
            value = value_of(release)
            if not math.isnan(value):
                family.add_metric([release.workload, release.release], value)
        return family


def metrics(request: HttpRequest) -> HttpResponse:
    """The server's metrics followed by the fleet's; with METRICS_TOKEN set, for bearers of that token alone."""
    token = settings.METRICS_TOKEN
    sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if token and not hmac.compare_digest(sent.encode(), token.encode()):
        return HttpResponse("A bearer token is needed.\n", status=401, headers={"WWW-Authenticate": "Bearer"})
    response = ExportToDjangoView(request)
    gauges: FleetGauges = cache.get_or_set(_KEY, lambda: fleet_gauges(timezone.now()), _CACHED_S)
    registry = CollectorRegistry()
    registry.register(FleetCollector(gauges))
    response.content += generate_latest(registry)
    return response
