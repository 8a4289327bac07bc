"""REST enrolment as a device lives it: enrol, wait for approval, be suspended, rotate; and the keys for it."""

import pytest

from fleet.models import EnrollmentKey
from fleet.services import tokens

pytestmark = pytest.mark.django_db
URL = "/api/v1/enroll"


@pytest.fixture
def make_key(cast, api_client):
    def make(**body) -> str:
        answer = api_client(cast.administrator).post(
            "/api/v1/enrollment-keys", {"name": "line 7", **body}, format="json"
        )
        assert answer.status_code == 201, answer.json()
        return answer.json()["enrollment_key"]

    return make


def body(key, **more):
    return {
        "enrollment_key": key,
        "serial": "cam-001",
        "hardware_target": "orin-nx-16",
        "region": "eu-north",
    } | more


@pytest.mark.parametrize("url", [URL, f"{URL}/"])
def test_a_device_enrols_and_is_answered_as_documented(make_key, api_client, url, now):
    answer = api_client().post(url, body(make_key()), format="json")
    assert answer.status_code == 201
    assert {**answer.json(), "token": ""} == {"device": "cam-001", "status": "accepted", "token": ""}
    assert tokens.check(answer.json()["token"], now).passed


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"enrollment_key": "rdk_aaaaaaaa_" + "b" * 43}, 401, "bad_enrollment_key"),
        ({"enrollment_key": "guess"}, 401, "bad_enrollment_key"),
        ({"region": "atlantis"}, 422, "does_not_exist"),
        ({"region": ""}, 422, "required"),
        ({"serial": "a b"}, 422, "invalid"),
    ],
)
def test_a_refused_enrolment_says_why(make_key, api_client, change, status, code):
    answer = api_client().post(URL, body(make_key()) | change, format="json")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_an_exhausted_key_and_a_foreign_label_are_forbidden(make_key, api_client):
    once = make_key(max_uses=1, hardware_target="orin-nx-16")
    assert api_client().post(URL, body(once, hardware_target="hailo-8"), format="json").status_code == 403
    assert api_client().post(URL, body(once), format="json").status_code == 201
    answer = api_client().post(URL, body(once, serial="cam-002"), format="json")
    assert (answer.status_code, answer.json()["code"]) == (403, "enrollment_key_exhausted")


def test_a_known_serial_is_a_conflict_that_names_the_state(make_key, api_client):
    key = make_key()
    api_client().post(URL, body(key), format="json")
    answer = api_client().post(URL, body(key), format="json")
    assert (answer.status_code, answer.json()["state"]) == (409, "accepted")


def test_a_pending_device_is_let_in_only_when_a_person_accepts_it(make_key, api_client, cast):
    token = api_client().post(URL, body(make_key(requires_approval=True)), format="json").json()["token"]
    device = api_client(token)
    waiting = device.post("/api/v1/device/token")
    assert (waiting.status_code, waiting.json()["code"]) == (403, "device_pending")
    assert api_client(cast.manager).post("/api/v1/devices/cam-001/accept").status_code == 200
    assert device.post("/api/v1/device/token").status_code == 201


def test_a_device_renews_its_own_token(make_device, device_token, api_client, now):
    old = device_token(make_device("cam-001"))
    answer = api_client(old).post("/api/v1/device/token", {}, format="json")
    assert answer.status_code == 201
    assert tokens.check(answer.json()["token"], now).token.device.serial == "cam-001"
    assert tokens.check(old, now).passed


def test_a_suspended_device_is_forbidden_and_a_retired_one_is_unknown(make_device, device_token, api_client, cast):
    device = api_client(device_token(make_device("cam-001")))
    manager = api_client(cast.manager)
    manager.post("/api/v1/devices/cam-001/suspend")
    suspended = device.post("/api/v1/device/token")
    assert (suspended.status_code, suspended.json()["code"]) == (403, "device_suspended")
    manager.post("/api/v1/devices/cam-001/retire")
    assert device.post("/api/v1/device/token").status_code == 401


def test_an_answer_of_401_asks_for_a_bearer_token(api_client):
    answer = api_client("rdl_aaaaaaaa_" + "b" * 43).get("/api/v1/devices")
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer["Content-Type"] == "application/problem+json"


def test_the_text_of_a_key_is_shown_once(make_key, api_client, cast):
    raw = make_key()
    listing = api_client(cast.administrator).get("/api/v1/enrollment-keys")
    assert raw not in listing.content.decode()
    assert raw[13:] not in listing.content.decode()
    assert listing.json()["results"][0]["uses"] == 0


def test_a_revoked_key_enrols_nobody_and_cannot_be_revoked_twice(make_key, api_client, cast):
    raw = make_key()
    url = f"/api/v1/enrollment-keys/{EnrollmentKey.objects.get().pk}"
    admin = api_client(cast.administrator)
    assert admin.post(f"{url}/revoke", {"reason": "leaked"}, format="json").json()["revoked_at"] is not None
    assert admin.delete(url).status_code == 409
    answer = api_client().post(URL, body(raw), format="json")
    assert (answer.status_code, answer.json()["code"]) == (401, "enrollment_key_revoked")


def test_a_key_that_has_expired_already_is_not_created(cast, api_client):
    answer = api_client(cast.administrator).post(
        "/api/v1/enrollment-keys", {"name": "late", "expires_at": "2020-01-01T00:00:00Z"}, format="json"
    )
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "expires_at")
