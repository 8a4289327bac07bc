"""Writers of the public keys whose signatures on artifacts count."""

from datetime import datetime

from django.db import IntegrityError, transaction

from fleet import signatures
from fleet.actors import Actor
from fleet.exceptions import InvalidInput, StateConflict
from fleet.models import SigningKey
from fleet.services import audit


@transaction.atomic
def register_signing_key(*, name: str, public_key: str, actor: Actor, now: datetime) -> SigningKey:
    """Register an Ed25519 public key given as PEM, hexadecimal or base64."""
    raw = signatures.parse_public_key(public_key)
    if raw is None:
        raise InvalidInput({"public_key": "This is not an Ed25519 public key in PEM, hexadecimal or base64."})
    if SigningKey.objects.filter(public_key=raw, revoked_at__isnull=True).exists():
        raise InvalidInput({"public_key": "This key is registered already."}, code="unique")
    try:
        with transaction.atomic():
            key = SigningKey.objects.create(name=name, public_key=raw, created_at=now)
    except IntegrityError as exc:
        raise InvalidInput({"name": f"There is a signing key {name} already."}, code="unique") from exc
    audit.record(actor=actor, action="signing_key.registered", obj=key, now=now, new={"public_key": raw.hex()})
    return key


@transaction.atomic
def revoke_signing_key(key: SigningKey, *, actor: Actor, now: datetime, reason: str = "") -> SigningKey:
    """Accept no further signature of the key; what it signed before stays, marked as signed by a revoked key."""
    if not SigningKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=now):
        raise StateConflict("revoked")
    key.refresh_from_db()
    audit.record(actor=actor, action="signing_key.revoked", obj=key, now=now, reason=reason)
    return key
