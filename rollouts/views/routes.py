"""The addresses of the rollouts app's pages, panels and charts."""

from django.urls import path

from rollouts.views import comparison, decision, figures, listing, qualifications, rollout, stage_range, webhooks
from rollouts.views.planning import pages as planning

page_patterns = [
    path("this-stage/", stage_range.this_stage, name="this-stage"),
    path("rollouts/", listing.rollouts, name="rollouts"),
    path("rollouts/new/", planning.new, name="rollout-new"),
    path("rollouts/new/preview/", planning.preview, name="rollout-preview"),
    path("rollouts/<int:pk>/", rollout.rollout, name="rollout"),
    path("rollouts/<int:pk>/plan/", planning.edit, name="rollout-edit"),
    path("rollouts/<int:pk>/starting/", rollout.starting, name="rollout-starting"),
    path("rollouts/<int:pk>/act/", rollout.act, name="rollout-act"),
    path("rollouts/<int:pk>/evidence/<int:evidence_id>/", rollout.evidence, name="rollout-evidence"),
    path("decisions/<str:sha256>/", decision.decision, name="decision"),
    path("decisions/<str:sha256>/replay/", decision.replay_now, name="decision-replay"),
    path("webhooks/", webhooks.webhooks, name="webhooks"),
    path("webhooks/<int:pk>/act/", webhooks.act, name="webhook-act"),
    path("webhooks/messages/<int:pk>/retry/", webhooks.retry, name="webhook-retry"),
    path("qualifications/", qualifications.qualifications, name="qualifications"),
    path("panels/model-zoo/", qualifications.zoo_panel, name="panel-zoo"),
    path("panels/comparing-rollouts/", comparison.panel, name="panel-comparison"),
    path("panels/rollouts/", listing.panel, name="panel-rollouts"),
    path("panels/baseline/", planning.baseline, name="panel-baseline"),
    path("panels/device-rollouts/", listing.device_panel, name="panel-device"),
    path("panels/qualifications/", listing.qualifications_panel, name="panel-qualifications"),
    path("figures/effects/<int:run_id>/<str:target>/", figures.effects, name="figure-effects"),
    path("figures/looks/<int:run_id>/<str:target>/", figures.looks, name="figure-looks"),
]
