"""The addresses of the drift app."""

from rest_framework.routers import SimpleRouter

from drift.api.alarms import AlarmViewSet
from drift.api.playbooks import PlaybookViewSet
from drift.api.retrospectives import RetrospectiveViewSet

router = SimpleRouter(use_regex_path=False)
router.register("alarms", AlarmViewSet, basename="alarm")
router.register("playbooks", PlaybookViewSet, basename="playbook")
router.register("retrospectives", RetrospectiveViewSet, basename="retrospective")

page_patterns: list = []
api_patterns = router.urls
