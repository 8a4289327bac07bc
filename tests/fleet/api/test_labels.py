"""REST /workloads, /hardware-targets, /regions, /groups: registration by slug or name, and what may change."""

import pytest

from fleet.models import AuditEntry, Workload

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(cast, api_client):
    return api_client(cast.manager)


@pytest.mark.parametrize("noun", ["workloads", "hardware-targets", "regions", "groups"])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"name": "Dock door 4"}, ("dock-door-4", "Dock door 4")),
        ({"slug": "dock-4"}, ("dock-4", "dock-4")),
        ({"slug": "d4", "name": "Dock door 4"}, ("d4", "Dock door 4")),
    ],
)
def test_a_slug_is_derived_from_a_name_and_a_name_from_a_slug(api, noun, body, expected):
    answer = api.post(f"/api/v1/{noun}", body, format="json")
    assert answer.status_code == 201
    assert (answer.json()["slug"], answer.json()["name"]) == expected
    assert api.get(f"/api/v1/{noun}/{expected[0]}").json()["id"] == answer.json()["id"]
    assert AuditEntry.objects.latest("id").action.endswith(".created")


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "slug", "invalid"),
        ({"name": "???"}, "slug", "invalid"),
        ({"slug": "has space"}, "slug", "invalid"),
        ({"slug": "lane-assist"}, "slug", "unique"),
        ({"slug": "x" * 65}, "slug", "max_length"),
        ({"slug": "a", "expected_interval_s": 0}, "expected_interval_s", "min_value"),
        ({"slug": "a", "expected_interval_s": "often"}, "expected_interval_s", "invalid"),
    ],
)
def test_bad_input_names_the_field(api, body, field, code):
    answer = api.post("/api/v1/workloads", body, format="json")
    assert answer.status_code == 422
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]


def test_a_description_changes_and_a_slug_does_not(api):
    url = "/api/v1/workloads/lane-assist"
    assert api.patch(url, {"expected_interval_s": 30}, format="json").json()["expected_interval_s"] == 30
    assert api.patch(url, {"slug": "lanes"}, format="json").status_code == 422
    assert AuditEntry.objects.latest("id").new == {"expected_interval_s": 30}
    assert Workload.objects.get().slug == "lane-assist"
