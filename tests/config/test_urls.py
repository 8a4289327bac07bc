"""How addresses are put together: both spellings of REST routes, one namespace per app."""

import pytest
from django.urls import path, resolve, reverse

from config.urls import with_and_without_slash


def view(request):
    return None


@pytest.mark.parametrize("route", ["devices", "devices/"])
def test_a_route_is_served_in_both_spellings(route):
    patterns = with_and_without_slash([path(route, view, {"format": "csv"}, name="x")])
    assert sorted(str(pattern.pattern) for pattern in patterns) == ["devices", "devices/"]
    assert all(pattern.default_args == {"format": "csv"} for pattern in patterns)


def test_the_name_belongs_to_the_spelling_that_was_written():
    first, second = with_and_without_slash([path("devices", view, name="x")])
    assert (first.name, second.name) == ("x", None)


def test_every_app_has_its_namespace():
    assert reverse("fleet:api-devices") == "/api/v1/devices"
    assert reverse("fleet:devices") == "/devices/"
    assert reverse("fleet:artifact", args=["a" * 64, "model.bin"]) == f"/artifacts/{'a' * 64}/model.bin"


def test_more_specific_routes_win_over_a_row_by_name():
    assert resolve("/api/v1/devices.csv").func.actions["get"] == "list"
    assert resolve("/api/v1/devices/cam-1").func.actions["get"] == "retrieve"
    assert resolve("/api/v1/device/token").view_name == "fleet:api-device-token"
