"""The enrolment page: who waits is let in or rejected, secrets are shown once, and all of it is in the audit trail."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from fleet import enrollment_limits
from fleet.actors import Actor
from fleet.models import AuditEntry, Device, EnrollmentKey, SigningKey, Token
from fleet.qr import qr_code
from fleet.services import enrollment, tokens

pytestmark = pytest.mark.django_db

PARTS = ("devices", "keys", "tokens", "people", "signing", "roles")
PUBLIC_KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


@pytest.fixture
def waiting(make_device) -> list[Device]:
    """Three devices at the door."""
    return [make_device(f"cam-{n}", status=Device.Status.PENDING) for n in range(3)]


def secret_of(answer) -> str:
    """The secret that an answer shows."""
    return re.search(r"<code data-secret>([^<]+)</code>", answer.content.decode())[1]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("person", ["visitor", "manager", "administrator"])
def test_everyone_reads_every_part(browser_client, cast, waiting, part, person):
    answer = browser_client(getattr(cast, person)).get("/enrollment/", {"part": part, "state": "any"})
    assert answer.status_code == 200


def test_a_part_state_or_page_that_does_not_exist_is_answered_with_what_does(browser_client, cast):
    client = browser_client(cast.engineer)
    for query in ("part=nonsense", "part=keys&state=unused", "part=tokens&state=x&kind=y", "part=people&page=zz"):
        assert client.get(f"/enrollment/?{query}").status_code == 200


def test_ticked_devices_are_let_in_together(browser_client, cast, waiting):
    form = {"action": "accept", "serial": ["cam-0", "cam-1"]}
    answer = browser_client(cast.manager).post("/credentials/devices/", form, follow=True)
    assert "2 devices were accepted" in answer.content.decode()
    assert list(Device.objects.filter(status="pending").values_list("serial", flat=True)) == ["cam-2"]
    assert AuditEntry.objects.filter(action="device.accepted", actor="mara").count() == 2


def test_rejecting_asks_for_a_reason_and_takes_the_tokens(browser_client, cast, waiting, device_token):
    device_token(waiting[0])
    client = browser_client(cast.manager)
    answer = client.post("/credentials/devices/", {"action": "retire", "serial": "cam-0"}, follow=True)
    assert "Say why" in answer.content.decode()
    assert Device.objects.get(serial="cam-0").status == "pending"
    client.post("/credentials/devices/", {"action": "retire", "serial": "cam-0", "reason": "not ours"})
    assert Device.objects.get(serial="cam-0").status == "retired"
    assert not Token.objects.filter(device=waiting[0], revoked_at=None).exists()
    assert AuditEntry.objects.get(action="device.retired").reason == "not ours"


def test_a_device_decided_on_meanwhile_is_said_and_left_as_it_is(browser_client, cast, waiting):
    Device.objects.filter(serial="cam-1").update(status="retired")
    form = {"action": "accept", "serial": ["cam-0", "cam-1"]}
    text = browser_client(cast.manager).post("/credentials/devices/", form, follow=True).content.decode()
    assert "cam-0 was accepted; 1 had been decided on meanwhile" in text
    assert Device.objects.get(serial="cam-1").status == "retired"


def test_a_key_made_on_the_page_enrols_within_its_limits(browser_client, cast, now):
    form = {"name": "Line 7", "hardware_target": "orin-nx-16", "max_uses": "1", "days": "7", "requires_approval": "1"}
    answer = browser_client(cast.administrator).post("/credentials/keys/", form | {"groups": "line-7, beta"})
    assert answer.status_code == 200 and "no-store" in answer["Cache-Control"]
    raw = secret_of(answer)
    enrolled = enrollment.enroll(raw, "cam-9", now=timezone.now(), region="eu-north")
    assert enrolled.device.status == "pending"
    assert set(enrolled.device.groups.values_list("slug", flat=True)) == {"line-7", "beta"}
    key = EnrollmentKey.objects.get()
    assert key.max_uses == 1 and key.expires_at - key.created_at == timedelta(days=7)
    listed = browser_client(cast.administrator).get("/enrollment/?part=keys").content.decode()
    assert raw not in listed and "Used up" in listed


@pytest.mark.parametrize(("field", "value"), [("name", ""), ("max_uses", "-3"), ("hardware_target", "toaster")])
def test_a_bad_field_of_a_key_is_named_and_makes_none(browser_client, cast, field, value):
    form = {"name": "Line 7", field: value}
    answer = browser_client(cast.administrator).post("/credentials/keys/", form, follow=True)
    assert f"{field}:" in answer.content.decode()
    assert not EnrollmentKey.objects.exists()


def test_a_key_is_revoked_with_a_reason(browser_client, cast, now):
    key, _ = enrollment.create_key(name="old", actor=Actor.system("test"), now=now)
    client = browser_client(cast.administrator)
    client.post("/credentials/keys/revoke/", {"id": key.pk})
    key.refresh_from_db()
    assert key.revoked_at is None
    client.post("/credentials/keys/revoke/", {"id": key.pk, "reason": "printed on a wall"})
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert AuditEntry.objects.get(action="enrollment_key.revoked").reason == "printed on a wall"


def test_a_token_is_rotated_beside_the_one_in_use_or_instead_of_it(browser_client, cast, make_device, device_token):
    device = make_device("cam-9")
    old = device_token(device)
    client = browser_client(cast.manager)
    client.post("/credentials/tokens/", {"serial": "cam-9"})
    assert tokens.authenticate(old, timezone.now()) is not None
    new = secret_of(client.post("/credentials/tokens/", {"serial": "cam-9", "revoke_others": "1"}))
    assert tokens.authenticate(old, timezone.now()) is None
    assert tokens.authenticate(new, timezone.now()).device == device


def test_a_gateway_token_is_one(browser_client, cast, make_device):
    make_device("gateway-1")
    form = {"serial": "gateway-1", "kind": "gateway"}
    raw = secret_of(browser_client(cast.manager).post("/credentials/tokens/", form))
    assert tokens.authenticate(raw, timezone.now()).kind == Token.Kind.GATEWAY
    assert "gateway-1" in browser_client(cast.visitor).get("/enrollment/?part=tokens&kind=gateway").content.decode()


def test_a_revoked_token_opens_nothing_any_more(browser_client, cast, make_device, device_token):
    raw = device_token(make_device("cam-9"))
    token = Token.objects.get()
    form = {"id": token.pk, "reason": "lost"}
    browser_client(cast.manager).post("/credentials/tokens/revoke/", form)
    assert tokens.authenticate(raw, timezone.now()) is None
    assert AuditEntry.objects.get(action="token.revoked").reason == "lost"


def test_people_make_tokens_with_no_more_than_they_hold(browser_client, cast):
    client = browser_client(cast.engineer)
    refused = client.post("/credentials/api-tokens/", {"name": "CI", "scopes": ["fleet:read", "admin"]}, follow=True)
    assert "You do not hold admin yourself" in refused.content.decode()
    raw = secret_of(client.post("/credentials/api-tokens/", {"name": "CI", "scopes": ["fleet:read"], "days": "7"}))
    assert tokens.authenticate(raw, timezone.now()).scopes == ["fleet:read"]


def test_only_administrators_see_and_revoke_the_tokens_of_others(browser_client, cast, now):
    tokens.issue_api_token(cast.engineer, "field laptop", ["fleet:read"], actor=Actor.system("test"), now=now)
    token = Token.objects.get()
    manager, administrator = browser_client(cast.manager), browser_client(cast.administrator)
    assert "field laptop" not in manager.get("/enrollment/?part=people").content.decode()
    refused = manager.post("/credentials/api-tokens/revoke/", {"id": token.pk, "reason": "x"}, follow=True)
    assert "Only administrators" in refused.content.decode()
    assert "field laptop" in administrator.get("/enrollment/?part=people").content.decode()
    administrator.post("/credentials/api-tokens/revoke/", {"id": token.pk, "reason": "left"})
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_signing_keys_are_registered_and_revoked(browser_client, cast):
    client = browser_client(cast.administrator)
    client.post("/credentials/signing-keys/", {"name": "build", "public_key": PUBLIC_KEY})
    key = SigningKey.objects.get()
    assert PUBLIC_KEY in client.get("/enrollment/?part=signing").content.decode()
    client.post("/credentials/signing-keys/revoke/", {"id": key.pk, "reason": "leaked"})
    assert AuditEntry.objects.get(action="signing_key.revoked").reason == "leaked"


@pytest.mark.parametrize(
    ("path", "person"),
    [
        ("devices/", "engineer"),
        ("tokens/", "engineer"),
        ("keys/", "manager"),
        ("keys/revoke/", "manager"),
        ("signing-keys/", "manager"),
        ("signing-keys/revoke/", "manager"),
    ],
)
def test_whoever_lacks_the_right_is_refused(browser_client, cast, path, person):
    assert browser_client(getattr(cast, person)).post(f"/credentials/{path}", {}).status_code == 403


@pytest.fixture
def knock(client, monkeypatch, now):
    """Try to enrol with a bad key, from an address that no other test uses; the wall clock stands still."""
    monkeypatch.setattr(timezone, "now", lambda: now)
    network = f"2001:db8:{uuid4().hex[:4]}::"
    body = {"enrollment_key": "rdk_aaaaaaaa_" + "b" * 43, "serial": "cam-1"}

    def enroll(host: int = 1):
        return client.post("/api/v1/enroll", body, content_type="application/json", REMOTE_ADDR=f"{network}{host}")

    return enroll


def test_an_address_that_keeps_sending_bad_keys_must_wait(knock, settings, db):
    settings.ENROLL_FAILURES_PER_MINUTE = 3
    assert [knock().status_code for _ in range(4)] == [401, 401, 401, 429]
    refused = knock()
    assert refused["Retry-After"] == "60" and refused.json()["code"] == "too_many_requests"
    assert knock(host=2).status_code == 401


def test_refusals_at_the_door_are_counted_and_shown(knock, settings, browser_client, cast, now):
    settings.ENROLL_PER_MINUTE = 1
    before = enrollment_limits.counts(now)
    assert [knock().status_code for _ in range(2)] == [401, 429]
    after = enrollment_limits.counts(now)
    assert {name: after[name] - before[name] for name in after} == {
        "enrolled": 0, "bad_key": 1, "refused": 0, "too_many": 1
    }  # fmt: skip
    text = browser_client(cast.visitor).get("/enrollment/").content.decode()
    assert f"{after['bad_key']} bad key" in text and f"{after['too_many']} too many (429)" in text


def test_a_qr_code_has_its_three_corners_and_a_quiet_zone():
    code = qr_code("https://ridgeline.example/devices/cam-001/")
    assert code.path.startswith("M4 4h7v1h-7z")
    assert f"M{code.size - 4 - 7} 4h7v1h-7z" in code.path
    assert f"M4 {code.size - 4 - 1}h7v1h-7z" in code.path
