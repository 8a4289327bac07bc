"""Bearer tokens: what the table keeps, who passes the check, and how rotation and revocation behave."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from fleet.actors import Actor
from fleet.models import AuditEntry, Token
from fleet.services import tokens

pytestmark = pytest.mark.django_db
ACTOR = Actor.system("tests")


@pytest.fixture
def device(make_device):
    return make_device("cam-001")


def test_a_token_has_the_documented_form(device, device_token):
    assert tokens.parse(device_token(device), "rdl") is not None
    assert len(device_token(device)) == len("rdl_") + 8 + 1 + 43


def test_the_table_keeps_no_part_of_the_secret(device, device_token):
    raw = device_token(device)
    secret = raw[13:]
    row = Token.objects.values().get()
    assert secret not in str({**row, "secret_hmac": bytes(row["secret_hmac"])})
    assert len(bytes(row["secret_hmac"])) == 32


def test_a_good_token_speaks_for_its_device(device, device_token, now):
    assert tokens.authenticate(device_token(device), now).device == device


@pytest.mark.parametrize(
    ("spoil", "refusal"),
    [
        (lambda raw: "", "malformed"),
        (lambda raw: raw[:-1], "malformed"),
        (lambda raw: raw + "a", "malformed"),
        (lambda raw: raw + "\n", "malformed"),
        (lambda raw: raw.replace("rdl", "rdk", 1), "malformed"),
        (lambda raw: raw[:13] + ("A" * 43 if raw[13] != "A" else "B" * 43), "wrong_secret"),
        (lambda raw: "rdl_" + ("a" * 8) + raw[12:], "unknown"),
    ],
)
def test_a_spoilt_token_is_refused_with_its_reason(device, device_token, now, spoil, refusal):
    raw = spoil(device_token(device))
    assert tokens.check(raw, now).refusal == refusal
    assert tokens.authenticate(raw, now) is None


def test_a_refused_token_of_a_known_id_still_names_the_device_for_the_log(device, device_token, now):
    raw = device_token(device)
    check = tokens.check(raw[:13] + ("A" * 43), now)
    assert (check.passed, check.token.device) == (False, device)


def test_a_token_ends_at_its_expiry(device, device_token, now):
    raw = device_token(device, expires_at=now + timedelta(hours=1))
    assert tokens.check(raw, now + timedelta(minutes=59)).passed
    assert tokens.check(raw, now + timedelta(hours=1)).refusal == "expired"


def test_a_token_of_an_inactive_person_is_refused(cast, now):
    raw = tokens.issue_api_token(cast.engineer, "ci", ["*"], actor=ACTOR, now=now)
    cast.engineer.is_active = False
    cast.engineer.save()
    assert tokens.check(raw, now).refusal == "inactive_user"


def test_a_revocation_is_effective_with_the_next_check(device, device_token, now):
    raw = device_token(device)
    token = tokens.authenticate(raw, now)
    tokens.revoke_token(token, actor=ACTOR, now=now)
    assert tokens.check(raw, now).refusal == "revoked"


def test_a_second_revocation_changes_nothing_and_leaves_no_second_row(device, device_token, now):
    token = tokens.authenticate(device_token(device), now)
    tokens.revoke_token(token, actor=ACTOR, now=now)
    tokens.revoke_token(token, actor=ACTOR, now=now + timedelta(hours=1))
    token.refresh_from_db()
    assert token.revoked_at == now
    assert AuditEntry.objects.filter(action="token.revoked").count() == 1


def test_rotation_leaves_the_token_in_use_alive(device, device_token, now):
    old = device_token(device)
    tokens.authenticate(old, now)
    new = tokens.rotate_device_token(device, actor=ACTOR, now=now)
    assert tokens.check(old, now).passed
    assert tokens.check(new, now).passed


def test_no_number_of_lost_answers_to_a_rotation_locks_a_device_out(device, device_token, now):
    held = device_token(device)
    tokens.authenticate(held, now)
    for hour in range(1, 6):
        tokens.rotate_device_token(device, actor=ACTOR, now=now + timedelta(hours=hour))
    assert tokens.check(held, now + timedelta(hours=6)).passed


def test_once_the_new_token_is_used_the_next_rotation_retires_the_old_one(device, device_token, now):
    old = device_token(device)
    tokens.authenticate(old, now)
    new = tokens.rotate_device_token(device, actor=ACTOR, now=now + timedelta(hours=1))
    tokens.authenticate(new, now + timedelta(hours=2))
    tokens.rotate_device_token(device, actor=ACTOR, now=now + timedelta(hours=3))
    assert tokens.check(old, now + timedelta(hours=3)).refusal == "revoked"
    assert tokens.check(new, now + timedelta(hours=3)).passed


def test_at_most_two_tokens_of_a_device_live_at_once(device, device_token, now):
    raw = [device_token(device) for _ in range(5)]
    assert sum(tokens.check(text, now).passed for text in raw) == 2


def test_a_gateway_token_does_not_count_against_the_device_tokens(device, device_token, now):
    raw = [device_token(device), device_token(device), device_token(device, kind=Token.Kind.GATEWAY)]
    assert all(tokens.check(text, now).passed for text in raw)


def test_a_leaked_token_can_be_replaced_at_once(device, device_token, now):
    leaked = device_token(device)
    new = tokens.rotate_device_token(device, actor=ACTOR, now=now, revoke_others=True)
    assert tokens.check(leaked, now).refusal == "revoked"
    assert tokens.check(new, now).passed


def test_the_last_use_is_written_at_most_once_a_minute(device, device_token, now):
    raw = device_token(device)
    for seconds in (0, 1, 59):
        tokens.authenticate(raw, now + timedelta(seconds=seconds))
    assert Token.objects.get().last_used_at == now
    tokens.authenticate(raw, now + timedelta(seconds=60))
    assert Token.objects.get().last_used_at == now + timedelta(seconds=60)


def test_a_check_costs_one_query(device, device_token, now):
    raw = device_token(device)
    tokens.authenticate(raw, now)
    with CaptureQueriesContext(connection) as queries:
        token = tokens.authenticate(raw, now + timedelta(seconds=1))
        assert token.device.serial == "cam-001"
    assert len(queries) == 1


def test_a_token_outlives_its_pepper_and_moves_to_the_new_one_when_used(device, device_token, now, settings):
    settings.TOKEN_PEPPERS = {1: "old pepper"}
    raw = device_token(device)
    settings.TOKEN_PEPPERS = {2: "new pepper", 1: "old pepper"}
    assert tokens.check(raw, now).passed
    assert Token.objects.get().pepper_version == 2
    settings.TOKEN_PEPPERS = {2: "new pepper"}
    assert tokens.check(raw, now).passed


def test_a_token_under_a_pepper_that_is_gone_is_refused(device, device_token, now, settings):
    settings.TOKEN_PEPPERS = {1: "old pepper"}
    raw = device_token(device)
    settings.TOKEN_PEPPERS = {2: "new pepper"}
    assert tokens.check(raw, now).refusal == "wrong_secret"


def test_every_token_issued_and_revoked_leaves_an_audit_row(device, device_token, now):
    token = tokens.authenticate(device_token(device), now)
    tokens.revoke_token(token, actor=ACTOR, now=now, reason="leaked")
    rows = AuditEntry.objects.order_by("id").values_list("action", "reason")
    assert list(rows)[-2:] == [("token.issued", ""), ("token.revoked", "leaked")]
