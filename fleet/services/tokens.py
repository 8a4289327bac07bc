"""Bearer tokens: issue, rotate, revoke, and the check that every request of a device or a script passes.

A token reads `rdl_<8-character id>_<43-character secret>`, an enrolment key the same with `rdk_`. The table keeps the
id and an HMAC-SHA256 of the secret under a pepper that only the configuration holds, so a stolen table opens nothing.
Nothing is cached: one indexed query per request is what makes a revocation effective at once.
"""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from fleet.actors import Actor
from fleet.models import Device, Token, User
from fleet.selectors.tokens import find_token
from fleet.services import audit

TOKEN_PREFIX = "rdl"
KEY_PREFIX = "rdk"
LIVE_TOKENS_PER_DEVICE = 2
LAST_USED_RESOLUTION = timedelta(minutes=1)

_ID_ALPHABET = string.ascii_letters + string.digits
_RAW = re.compile(r"(rdl|rdk)_([A-Za-z0-9]{8})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Secret:
    """A new token or key: the text that is shown once, and what is kept of it."""

    raw: str
    key_id: str
    secret_hmac: bytes
    pepper_version: int


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of a token check: `token` is set where the id is known, `refusal` is empty where it is good."""

    token: Token | None
    refusal: str

    @property
    def passed(self) -> bool:
        """Whether the request may go on as the token's owner."""
        return not self.refusal


def current_pepper_version() -> int:
    """The version of the pepper under which new secrets are hashed."""
    return next(iter(settings.TOKEN_PEPPERS))


def digest(key_id: str, secret: str, pepper_version: int) -> bytes | None:
    """HMAC-SHA256 of id and secret under the pepper of that version; None where the pepper is no longer configured."""
    pepper = settings.TOKEN_PEPPERS.get(pepper_version)
    if pepper is None:
        return None
    return hmac.digest(pepper.encode(), f"{key_id}:{secret}".encode(), hashlib.sha256)


def new_secret(prefix: str) -> Secret:
    """Draw a new token or key from the operating system's random source (256 bits of secret)."""
    key_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(8))
    secret = secrets.token_urlsafe(32)
    version = current_pepper_version()
    return Secret(f"{prefix}_{key_id}_{secret}", key_id, digest(key_id, secret, version), version)


def parse(raw: str, prefix: str) -> tuple[str, str] | None:
    """The id and the secret of a token or key as text, or None where it has another form."""
    match = _RAW.fullmatch(raw)
    return (match[2], match[3]) if match and match[1] == prefix else None


def secret_matches(key_id: str, secret: str, secret_hmac: bytes, pepper_version: int) -> bool:
    """Whether the secret is the one that was hashed, compared in constant time."""
    found = digest(key_id, secret, pepper_version)
    return found is not None and hmac.compare_digest(found, bytes(secret_hmac))


def check(raw: str, now: datetime) -> Check:
    """Check a bearer token with one query; the refusal is for the operator's log and never for the sender."""
    parts = parse(raw, TOKEN_PREFIX)
    if parts is None:
        return Check(None, "malformed")
    key_id, secret = parts
    token = find_token(key_id)
    if token is None:
        # The same work as for a known id, so that time does not tell which ids exist.
        secret_matches(key_id, secret, b"\0" * 32, current_pepper_version())
        return Check(None, "unknown")
    if not secret_matches(key_id, secret, token.secret_hmac, token.pepper_version):
        return Check(token, "wrong_secret")
    if token.revoked_at is not None:
        return Check(token, "revoked")
    if token.expires_at is not None and token.expires_at <= now:
        return Check(token, "expired")
    if token.user_id is not None and not token.user.is_active:
        return Check(token, "inactive_user")
    _note_use(token, secret, now)
    return Check(token, "")


def authenticate(raw: str, now: datetime) -> Token | None:
    """The token with its device or user, or None where it is malformed, unknown, wrong, revoked or expired."""
    result = check(raw, now)
    return result.token if result.passed else None


def _note_use(token: Token, secret: str, now: datetime) -> None:
    """Write the time of use, at most once a minute; an older pepper is left behind on the way."""
    threshold = now - LAST_USED_RESOLUTION
    if token.last_used_at is not None and token.last_used_at > threshold:
        return
    changes: dict[str, object] = {"last_used_at": now}
    version = current_pepper_version()
    if token.pepper_version != version:
        changes |= {"pepper_version": version, "secret_hmac": digest(token.key_id, secret, version)}
    unused = Q(last_used_at__isnull=True) | Q(last_used_at__lte=threshold)
    if Token.objects.filter(unused, pk=token.pk).update(**changes):
        for field, value in changes.items():
            setattr(token, field, value)


def live_tokens(device: Device, now: datetime, kind: str | None = Token.Kind.DEVICE) -> QuerySet[Token]:
    """The tokens with which the device may send now, newest first; of every kind where `kind` is None."""
    unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    found = Token.objects.filter(unexpired, device=device, revoked_at__isnull=True)
    if kind is not None:
        found = found.filter(kind=kind)
    return found.order_by("-created_at", "-pk")


def issue_device_token(
    device: Device, *, actor: Actor, now: datetime, kind: str = Token.Kind.DEVICE, expires_at: datetime | None = None
) -> str:
    """Issue a token for the device and return its text, which is shown this once.

    At most two tokens of a kind live at once. Where two live already, the one that the device used last stays, because
    that is the one it holds; the other goes. A token that got lost on its way to the device therefore never costs the
    device its access, however often it is rotated.
    """
    with transaction.atomic():
        Device.objects.select_for_update(no_key=True).get(pk=device.pk)
        live = sorted(live_tokens(device, now, kind), key=_usefulness, reverse=True)
        for surplus in live[LIVE_TOKENS_PER_DEVICE - 1 :]:
            _revoke(surplus, actor=actor, now=now, reason="replaced by a newer token")
        secret = new_secret(TOKEN_PREFIX)
        token = Token.objects.create(
            kind=kind,
            key_id=secret.key_id,
            secret_hmac=secret.secret_hmac,
            pepper_version=secret.pepper_version,
            device=device,
            created_at=now,
            expires_at=expires_at,
        )
        audit.record(
            actor=actor,
            action="token.issued",
            obj=token,
            now=now,
            new={"device": device.serial, "kind": kind, "expires_at": expires_at},
        )
    return secret.raw


def _usefulness(token: Token) -> tuple[bool, datetime]:
    """Sorts the token that a device surely holds, the one used last, above those that never arrived anywhere."""
    return token.last_used_at is not None, token.last_used_at or token.created_at


def issue_first_tokens(devices: Iterable[Device], *, now: datetime) -> list[str]:
    """Issue one token each to devices that were just created, in one statement; their creation is the audit row."""
    drawn = [(device, new_secret(TOKEN_PREFIX)) for device in devices]
    Token.objects.bulk_create(
        (
            Token(
                kind=Token.Kind.DEVICE,
                key_id=secret.key_id,
                secret_hmac=secret.secret_hmac,
                pepper_version=secret.pepper_version,
                device=device,
                created_at=now,
            )
            for device, secret in drawn
        ),
        batch_size=1000,
    )
    return [secret.raw for _, secret in drawn]


def rotate_device_token(
    device: Device, *, actor: Actor, now: datetime, kind: str = Token.Kind.DEVICE, revoke_others: bool = False
) -> str:
    """Issue a further token; the one in use stays live until the next rotation, or goes now with `revoke_others`."""
    with transaction.atomic():
        if revoke_others:
            revoke_device_tokens(device, actor=actor, now=now, reason="rotated with revocation", kind=kind)
        return issue_device_token(device, actor=actor, now=now, kind=kind)


def issue_api_token(
    user: User, name: str, scopes: Iterable[str], *, actor: Actor, now: datetime, expires_at: datetime | None = None
) -> str:
    """Issue a personal API token and return its text, which is shown this once."""
    return create_api_token(user, name, scopes, actor=actor, now=now, expires_at=expires_at)[1]


@transaction.atomic
def create_api_token(
    user: User, name: str, scopes: Iterable[str], *, actor: Actor, now: datetime, expires_at: datetime | None = None
) -> tuple[Token, str]:
    """Create a personal API token; return its row and its text."""
    secret = new_secret(TOKEN_PREFIX)
    token = Token.objects.create(
        kind=Token.Kind.API,
        key_id=secret.key_id,
        secret_hmac=secret.secret_hmac,
        pepper_version=secret.pepper_version,
        user=user,
        name=name,
        scopes=sorted(set(scopes)),
        created_at=now,
        expires_at=expires_at,
    )
    audit.record(
        actor=actor,
        action="token.issued",
        obj=token,
        now=now,
        new={"user": user.username, "name": name, "scopes": token.scopes, "expires_at": expires_at},
    )
    return token, secret.raw


@transaction.atomic
def revoke_token(token: Token, *, actor: Actor, now: datetime, reason: str = "") -> None:
    """Revoke one token, effective with the next request; a token that is already revoked stays as it is."""
    _revoke(token, actor=actor, now=now, reason=reason)


@transaction.atomic
def revoke_device_tokens(
    device: Device, *, actor: Actor, now: datetime, reason: str = "", kind: str | None = None
) -> int:
    """Revoke every live token of the device, of one kind or of all; return how many there were."""
    tokens = Token.objects.filter(device=device, revoked_at__isnull=True)
    if kind is not None:
        tokens = tokens.filter(kind=kind)
    return sum(_revoke(token, actor=actor, now=now, reason=reason) for token in tokens)


def _revoke(token: Token, *, actor: Actor, now: datetime, reason: str) -> bool:
    """Revoke by compare-and-swap, with an audit row where this call was the one that did it."""
    if not Token.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=now):
        return False
    token.revoked_at = now
    owner = {"device": token.device.serial} if token.device_id else {"user": token.user.username}
    audit.record(actor=actor, action="token.revoked", obj=token, now=now, old=owner, reason=reason)
    return True
