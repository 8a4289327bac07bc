"""Operators set directives over REST; devices hear of them in the answers to their batches."""

from datetime import timedelta

import pytest

from fleet.models import AuditEntry, DeviceGroup
from telemetry.models import Directive
from telemetry.services import directives
from tests.telemetry.envelopes import encode, envelope

pytestmark = pytest.mark.django_db
URL = "/api/v1/directives"


@pytest.fixture
def manager(cast, api_client):
    """A client of the release manager."""
    return api_client(cast.manager)


def told(api_client, device_token, device, clock, seq: int) -> dict:
    """What the device hears with its next batch."""
    directives.forget()
    body = encode(envelope(clock, seq=seq))
    answer = api_client(device_token(device)).post("/api/v1/telemetry", body, content_type="application/json")
    return answer.json()["directives"]


def test_a_directive_for_a_group_reaches_its_devices_until_it_is_withdrawn(
    manager, make_device, device_token, api_client, clock
):
    inside, outside = make_device("in"), make_device("out")
    inside.groups.add(DeviceGroup.objects.create(slug="beta", name="Beta", created_at=clock))
    wanted = {"group": "beta", "values": {"raw_sample_rate": 0.25, "window_s": 30}, "reason": "thin link"}
    answer = manager.put(URL, wanted, format="json")
    assert answer.status_code == 200
    assert answer.json()["values"] == {"raw_sample_rate": 0.25, "window_s": 30}
    assert told(api_client, device_token, inside, clock, 1) == {"raw_sample_rate": 0.25, "window_s": 30}
    assert told(api_client, device_token, outside, clock, 1) == {}
    assert manager.get(URL).json()[0]["group"] == "beta"
    manager.put(URL, {"group": "beta", "values": {}}, format="json")
    assert told(api_client, device_token, inside, clock, 2) == {}
    assert [entry.action for entry in AuditEntry.objects.filter(action__startswith="directive").order_by("id")] == [
        "directive.set",
        "directive.withdrawn",
    ]


def test_an_expired_directive_holds_no_more(manager, cast, make_device, device_token, api_client, clock):
    device = make_device()
    Directive.objects.create(
        device=device, values={"max_batch": 5}, created_at=clock, expires_at=clock - timedelta(seconds=1)
    )
    assert told(api_client, device_token, device, clock, 1) == {}
    assert manager.get(URL).json() == []


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"raw_sample_rate": 1.5}, "raw_sample_rate"),
        ({"window_s": 2.5}, "window_s"),
        ({"max_batch": True}, "max_batch"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_value_that_cannot_be_is_refused_naming_it(manager, values, field):
    answer = manager.put(URL, {"values": values}, format="json")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not Directive.objects.exists()


def test_an_engineer_may_look_and_not_set(cast, api_client):
    engineer = api_client(cast.engineer)
    assert engineer.get(URL).status_code == 200
    assert engineer.put(URL, {"values": {"max_batch": 5}}, format="json").status_code == 403
