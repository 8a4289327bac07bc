"""The addresses of the telemetry app's pages, panels and charts."""

from django.urls import path

from telemetry.views import budgets, device, energy, explore, figures, ingest, panels, shapes, status, tagging

page_patterns = [
    path("panels/now/", panels.now, name="panel-now"),
    path("panels/worst/", panels.worst, name="panel-worst"),
    path("panels/devices/", panels.devices, name="panel-devices"),
    path("tag-devices/matching/", tagging.tag, name="devices-tag"),
    path("panels/release/", panels.release, name="panel-release"),
    path("panels/device/", device.now, name="panel-device"),
    path("panels/events/", device.events, name="panel-events"),
    path("panels/counters/", device.counters, name="panel-counters"),
    path("ingest/", ingest.ingest, name="ingest"),
    path("status/", status.status, name="status"),
    path("panels/status/", status.panel, name="panel-status"),
    path("budgets/", budgets.budgets, name="budgets"),
    path("explore/", explore.explore, name="explore"),
    path("panels/differences/", explore.differences, name="panel-differences"),
    path("figures/temperature/", shapes.temperature, name="figure-temperature"),
    path("energy/", energy.energy, name="energy"),
    path("panels/energy/", energy.figures, name="panel-energy"),
    path("panels/energy-details/", energy.details, name="panel-energy-details"),
    path("figures/throttled/", energy.throttled, name="figure-throttled"),
    path("figures/device/", device.lanes, name="figure-device"),
    path("figures/latency/", figures.latency, name="figure-latency"),
    path("figures/energy/", figures.energy, name="figure-energy"),
    path("figures/ridgeline/", shapes.ridgeline, name="figure-ridgeline"),
    path("figures/heatmap/", shapes.heatmap, name="figure-heatmap"),
    path("figures/ecdf/", shapes.ecdf, name="figure-ecdf"),
    path("figures/classes/", figures.classes, name="figure-classes"),
    path("figures/adoption/", figures.adoption, name="figure-adoption"),
]
