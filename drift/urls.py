"""The addresses of the drift app."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from drift.api.alarms import AlarmViewSet
from drift.api.channels import ChannelViewSet
from drift.api.evaluations import EvaluationViewSet, FindingViewSet
from drift.api.labels import AccuracyView, LabelRequestViewSet, LabelViewSet
from drift.api.playbooks import PlaybookViewSet
from drift.api.retrospectives import RetrospectiveViewSet
from drift.views import alarms, board, compare, labels, playbooks, retrospectives, watch

router = SimpleRouter(use_regex_path=False)
router.register("alarms", AlarmViewSet, basename="alarm")
router.register("playbooks", PlaybookViewSet, basename="playbook")
router.register("evaluations", EvaluationViewSet, basename="evaluation")
router.register("findings", FindingViewSet, basename="finding")
router.register("labels", LabelViewSet, basename="label")
router.register("label-requests", LabelRequestViewSet, basename="label-request")
router.register("notification-channels", ChannelViewSet, basename="notification-channel")
router.register("retrospectives", RetrospectiveViewSet, basename="retrospective")

page_patterns = [
    path("alarms/", alarms.alarms, name="alarms"),
    path("alarms/<int:pk>/", alarms.alarm, name="alarm"),
    path("alarms/<int:pk>/act/", alarms.act, name="alarm-act"),
    path("panels/alarms/", alarms.panel, name="panel-alarms"),
    path("drift/", board.board, name="board"),
    path("drift/slow/", watch.slow_drift_page, name="slow-drift"),
    path("drift/creep/", watch.creep_page, name="creep"),
    path("drift/creep/anchor/", watch.anchor, name="creep-anchor"),
    path("drift/compute/<slug:kind>/", watch.compute, name="compute"),
    path("panels/evaluations/<int:pk>/", watch.progress, name="panel-evaluation"),
    path("panels/slow-drift/", watch.slow_drift_panel, name="panel-slow-drift"),
    path("panels/creep/", watch.creep_panel, name="panel-creep"),
    path("figures/findings/<int:pk>/", watch.figure, name="figure-watch"),
    path("compare/", compare.compare, name="compare"),
    path("panels/comparison/", compare.figures, name="panel-comparison"),
    path("panels/attribution/", compare.attribution, name="panel-attribution"),
    path("labels/", labels.labels, name="labels"),
    path("labels/draw/", labels.draw, name="label-draw"),
    path("labels/import/", labels.import_csv, name="label-import"),
    path("labels/<int:pk>/answer/", labels.answer, name="label-answer"),
    path("panels/labels/", labels.queue, name="panel-labels"),
    path("retrospectives/", retrospectives.retrospectives, name="retrospectives"),
    path("retrospectives/new/", retrospectives.new, name="retrospective-new"),
    path("retrospectives/history/", retrospectives.history, name="retrospective-history"),
    path("retrospectives/<int:pk>/", retrospectives.retrospective, name="retrospective"),
    path("retrospectives/<int:pk>/cancel/", retrospectives.cancel, name="retrospective-cancel"),
    path("panels/retrospectives/<int:pk>/", retrospectives.progress, name="panel-retrospective"),
    path("playbooks/", playbooks.playbooks, name="playbooks"),
    path("playbooks/<slug:kind>/", playbooks.playbook, name="playbook"),
    path("playbooks/<slug:kind>/edit/", playbooks.edit, name="playbook-edit"),
]
api_patterns = [*router.urls, path("accuracy", AccuracyView.as_view(), name="accuracy")]
