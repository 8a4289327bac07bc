"""Addresses of the rollouts app."""

from django.urls import path

from rollouts.api.device import DesiredView, StatusView
from rollouts.api.qualifications import CalibrationView, GateView, QualificationsView
from rollouts.api.rollouts import RolloutViewSet
from rollouts.api.webhooks import WebhookViewSet
from rollouts.ddi.urls import patterns as root_patterns
from rollouts.views.routes import page_patterns

__all__ = ["api_patterns", "page_patterns", "root_patterns"]

_ITEM = {"get": "retrieve", "patch": "partial_update"}
_ACTIONS = ("submit", "revise", "approve", "start", "promote", "hold", "pause", "resume", "stop", "rollback")
_PARTS = ("cohorts", "lanes", "looks", "transitions", "deliveries", "evidence")

api_patterns = [
    path("rollouts", RolloutViewSet.as_view({"get": "list", "post": "create"}), name="api-rollouts"),
    path("rollouts.csv", RolloutViewSet.as_view({"get": "list"}), {"format": "csv"}),
    path("rollouts/<str:reference>", RolloutViewSet.as_view(_ITEM), name="api-rollouts-item"),
    *(
        path(f"rollouts/<str:reference>/{name}", RolloutViewSet.as_view({"post": name}), name=f"api-rollouts-{name}")
        for name in _ACTIONS
    ),
    *(
        path(f"rollouts/<str:reference>/{name}", RolloutViewSet.as_view({"get": name}), name=f"api-rollouts-{name}")
        for name in _PARTS
    ),
    path("releases/<str:reference>/qualifications", QualificationsView.as_view(), name="api-releases-qualifications"),
    path("releases/<str:reference>/gate", GateView.as_view(), name="api-releases-gate"),
    path("releases/<str:reference>/calibration", CalibrationView.as_view(), name="api-releases-calibration"),
    path("webhooks", WebhookViewSet.as_view({"get": "list", "post": "create"}), name="api-webhooks"),
    path(
        "webhooks/<str:reference>",
        WebhookViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="api-webhooks-item",
    ),
    path("webhooks/<str:reference>/ping", WebhookViewSet.as_view({"post": "ping"}), name="api-webhooks-ping"),
    path(
        "webhooks/<str:reference>/deliveries",
        WebhookViewSet.as_view({"get": "deliveries"}),
        name="api-webhooks-deliveries",
    ),
    path("device/desired", DesiredView.as_view(), name="api-device-desired"),
    path("device/status", StatusView.as_view(), name="api-device-status"),
]

__all__ = ["api_patterns", "page_patterns", "root_patterns"]
