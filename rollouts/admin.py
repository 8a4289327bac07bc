"""The Django admin for rollouts: everything can be read, nothing changed; what people do goes through the pages."""

from django.contrib import admin

from fleet.admin import ReadOnly
from rollouts.models import (
    Approval,
    CalibrationResult,
    Controller,
    Delivery,
    Evidence,
    Lane,
    LaneTransition,
    Look,
    Qualification,
    Recommendation,
    Rollout,
    StageRun,
    WebhookDelivery,
    WebhookEndpoint,
)


@admin.register(Rollout)
class RolloutAdmin(ReadOnly):
    """Rollouts."""

    list_display = ("id", "release", "status", "created_by", "created_at", "started_at")
    list_filter = ("workload",)
    list_select_related = ("release__workload", "created_by")
    search_fields = ("release__version",)


@admin.register(Lane)
class LaneAdmin(ReadOnly):
    """Lanes with their states."""

    list_display = ("rollout", "hardware_target", "state", "state_since", "stage")
    list_filter = ("state", "hardware_target")
    list_select_related = ("rollout__release__workload", "hardware_target", "stage")


@admin.register(StageRun)
class StageRunAdmin(ReadOnly):
    """Stages as they were started, with how far they are written and when they are looked at."""

    list_display = ("stage", "rollout", "started_at", "ready_at", "drawn", "looks", "next_look_at", "ended_at")
    list_select_related = ("stage", "rollout__release__workload")
    # Surviving assignments of the permutation test: some ten thousand numbers that say nothing to a reader.
    exclude = ("look_state",)


@admin.register(LaneTransition)
class TransitionAdmin(ReadOnly):
    """Every move of every lane."""

    list_display = ("at", "lane", "event", "old", "new", "actor", "reason")
    list_filter = ("event",)
    list_select_related = ("lane__rollout", "lane__hardware_target")
    search_fields = ("actor", "reason", "evidence_hash")


@admin.register(Look)
class LookAdmin(ReadOnly):
    """Looks at running stages."""

    list_display = ("run", "number", "as_of", "verdict", "reason")
    list_filter = ("verdict",)
    list_select_related = ("run__stage",)


@admin.register(Evidence)
class EvidenceAdmin(ReadOnly):
    """Frozen documents; the decision page shows and replays them."""

    list_display = ("sha256", "kind", "rollout", "lane", "created_at")
    list_filter = ("kind",)
    list_select_related = ("rollout__release__workload", "lane__hardware_target", "lane__rollout")
    search_fields = ("sha256",)
    exclude = ("body",)


@admin.register(Recommendation)
class RecommendationAdmin(ReadOnly):
    """What was advised, and what became of it."""

    list_display = ("lane", "kind", "verdict", "status", "shadow", "created_at", "closed_by")
    list_filter = ("kind", "status", "shadow")
    list_select_related = ("lane__rollout", "lane__hardware_target", "closed_by")


@admin.register(Approval)
class ApprovalAdmin(ReadOnly):
    """Signatures."""

    list_display = ("rollout", "role", "user", "signed_at", "expires_at", "remark")
    list_filter = ("role",)
    list_select_related = ("rollout__release__workload", "user")


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly):
    """Attempts to bring a release to a device."""

    list_display = ("id", "device", "kind", "release", "status", "attempt", "created_at", "finished_at")
    list_filter = ("status", "kind")
    list_select_related = ("device", "release__workload")
    search_fields = ("device__serial",)
    show_full_result_count = False


@admin.register(Controller)
class ControllerAdmin(ReadOnly):
    """Devices as their OTA clients present them."""

    list_display = ("device", "last_poll_at", "address", "needs_confirmation", "auto_confirm")
    list_select_related = ("device",)
    search_fields = ("device__serial",)
    show_full_result_count = False


@admin.register(Qualification)
class QualificationAdmin(ReadOnly):
    """Runs of device CI."""

    list_display = ("release", "hardware_target", "mode", "board", "precision", "created_at")
    list_filter = ("mode", "hardware_target")
    list_select_related = ("release__workload", "hardware_target")


@admin.register(CalibrationResult)
class CalibrationAdmin(ReadOnly):
    """Accuracy per calibration set and precision."""

    list_display = ("release", "calibration_set", "kind", "precision", "accuracy", "samples")
    list_filter = ("kind", "precision")
    list_select_related = ("release__workload",)


@admin.register(WebhookEndpoint)
class EndpointAdmin(ReadOnly):
    """Receivers, never their secrets."""

    list_display = ("name", "url", "enabled", "created_at")
    exclude = ("secret",)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnly):
    """Messages and what became of them."""

    list_display = ("id", "endpoint", "event", "status", "attempts", "created_at", "sent_at")
    list_filter = ("status", "event")
    list_select_related = ("endpoint",)
    show_full_result_count = False
