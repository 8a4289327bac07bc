"""The addresses of the drift app."""

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from drift.api.alarms import AlarmViewSet
from drift.api.playbooks import PlaybookViewSet

router = SimpleRouter(trailing_slash="/?")
router.register("alarms", AlarmViewSet, basename="alarm")
router.register("playbooks", PlaybookViewSet, basename="playbook")

page_patterns: list = []
api_patterns = [path("", include(router.urls))]
