"""A body of unknown length is refused where a parser would take it for an empty one."""

import pytest

from fleet.models import Artifact, Workload

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(cast, api_client):
    return api_client(cast.manager)


def chunked(api, url, content_type):
    """A request as the application server hands on a chunked one: with the header, and without a length."""
    return api.generic("POST", url, b"", content_type=content_type, HTTP_TRANSFER_ENCODING="chunked", CONTENT_LENGTH="")


def test_a_chunked_upload_is_refused_and_not_stored_as_an_empty_file(api, cast):
    url = f"/api/v1/releases/{cast.release.pk}/artifacts?filename=a.bin"
    answer = chunked(api, url, "application/octet-stream")
    assert (answer.status_code, answer.json()["code"]) == (411, "length_required")
    assert not Artifact.objects.exists()


def test_a_chunked_json_body_is_refused(api):
    assert chunked(api, "/api/v1/workloads", "application/json").status_code == 411
    assert Workload.objects.count() == 1


def test_a_request_with_a_length_passes(api):
    assert api.post("/api/v1/workloads", {"name": "x"}, format="json").status_code == 201


def test_pages_and_reads_are_left_alone(api, browser_client, cast):
    assert api.get("/api/v1/workloads").status_code == 200
    assert browser_client(cast.engineer).get("/", HTTP_TRANSFER_ENCODING="chunked").status_code == 200


def test_ingest_reads_chunked_bodies_itself(make_device, device_token, api_client):
    device = api_client(device_token(make_device("cam-001")))
    assert chunked(device, "/api/v1/telemetry", "application/json").status_code != 411
