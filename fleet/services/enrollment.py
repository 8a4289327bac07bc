"""Enrolment: keys that people hand out, and devices that use them to get their token.

What happens with a serial that is known already is decided for safety, because one key is shared by many devices and a
serial is printed on the housing. Whoever has both must not be able to take over a device that works:

- accepted or pending, with a key that allows re-enrolment: a further token, and the device keeps its state;
- accepted or pending, with any other key: refused with `StateConflict`;
- suspended: refused, since a person shut it out and a person lets it in again;
- retired, with a key that allows re-enrolment: the device comes back, but waits for a person's approval.

A hardware target or region other than the registered one is always refused: the label is part of the device's stratum.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q

from fleet.actors import Actor
from fleet.exceptions import BadCredentials, InvalidInput, NotAllowed, StateConflict
from fleet.models import Device, DeviceGroup, EnrollmentKey, HardwareTarget, Region, User
from fleet.selectors.labels import find_label
from fleet.services import audit, tokens
from fleet.services.devices import SERIAL_RULE, valid_serial
from fleet.services.labels import ensure_label


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The answer to an enrolment; the token is shown this once."""

    device: Device
    token: str
    created: bool


@transaction.atomic
def create_key(
    *,
    name: str,
    actor: Actor,
    now: datetime,
    hardware_target: HardwareTarget | None = None,
    region: Region | None = None,
    groups: Iterable[DeviceGroup] = (),
    max_uses: int | None = None,
    requires_approval: bool = False,
    may_register_labels: bool = False,
    allows_reenrollment: bool = False,
    expires_at: datetime | None = None,
    created_by: User | None = None,
) -> tuple[EnrollmentKey, str]:
    """Create a key; return its row and its text, which is shown this once."""
    if expires_at is not None and expires_at <= now:
        raise InvalidInput({"expires_at": "The expiry lies in the past."})
    secret = tokens.new_secret(tokens.KEY_PREFIX)
    options: dict[str, Any] = {
        "max_uses": max_uses,
        "requires_approval": requires_approval,
        "may_register_labels": may_register_labels,
        "allows_reenrollment": allows_reenrollment,
        "expires_at": expires_at,
    }
    key = EnrollmentKey.objects.create(
        name=name,
        key_id=secret.key_id,
        secret_hmac=secret.secret_hmac,
        pepper_version=secret.pepper_version,
        hardware_target=hardware_target,
        region=region,
        created_by=created_by,
        created_at=now,
        **options,
    )
    groups = list(groups)
    key.groups.set(groups)
    scope = {
        "hardware_target": hardware_target.slug if hardware_target else None,
        "region": region.slug if region else None,
        "groups": sorted(group.slug for group in groups),
    }
    audit.record(actor=actor, action="enrollment_key.created", obj=key, now=now, new={**scope, **options})
    return key, secret.raw


@transaction.atomic
def revoke_key(key: EnrollmentKey, *, actor: Actor, now: datetime, reason: str = "") -> EnrollmentKey:
    """Revoke a key, effective with the next enrolment; devices enrolled with it keep their tokens."""
    if not EnrollmentKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=now):
        raise StateConflict("revoked")
    key.refresh_from_db(fields=["revoked_at"])
    audit.record(actor=actor, action="enrollment_key.revoked", obj=key, now=now, reason=reason)
    return key


def check_key(raw: str, now: datetime) -> EnrollmentKey:
    """The key of that text; `BadCredentials` where it is malformed, unknown, wrong, revoked or expired."""
    refusal = BadCredentials("The enrolment key is not valid.", code="bad_enrollment_key")
    parts = tokens.parse(raw, tokens.KEY_PREFIX)
    if parts is None:
        raise refusal
    key_id, secret = parts
    key = EnrollmentKey.objects.select_related("hardware_target", "region").filter(key_id=key_id).first()
    if key is None:
        tokens.secret_matches(key_id, secret, b"\0" * 32, tokens.current_pepper_version())
        raise refusal
    if not tokens.secret_matches(key_id, secret, key.secret_hmac, key.pepper_version):
        raise refusal
    if key.revoked_at is not None:
        raise BadCredentials("The enrolment key is revoked.", code="enrollment_key_revoked")
    if key.expires_at is not None and key.expires_at <= now:
        raise BadCredentials("The enrolment key has expired.", code="enrollment_key_expired")
    return key


@transaction.atomic
def enroll(
    raw_key: str,
    serial: str,
    *,
    now: datetime,
    hardware_target: str = "",
    region: str = "",
    power_source: str = "",
) -> Enrolled:
    """Enrol a device with a key; the use of the key counts only where a token was given.

    A label that the key fixes may be left out. Raises `BadCredentials` for the key, `NotAllowed` outside its scope or
    past its uses, `InvalidInput` for the fields, `StateConflict` for a serial that is known (see above).
    """
    key = check_key(raw_key, now)
    if not valid_serial(serial):
        raise InvalidInput({"serial": SERIAL_RULE})
    actor = Actor(f"enrolment key {key.name} ({key.key_id})"[:160])
    target = _scoped(key, "hardware_target", HardwareTarget, hardware_target, actor=actor, now=now)
    place = _scoped(key, "region", Region, region, actor=actor, now=now)
    _use(key, now)
    device = Device.objects.select_for_update(no_key=True).filter(serial=serial).first()
    if device is not None:
        return _enroll_again(device, key, target, place, actor=actor, now=now)
    status = Device.Status.PENDING if key.requires_approval else Device.Status.ACCEPTED
    try:
        with transaction.atomic():
            device = Device.objects.create(
                serial=serial,
                hardware_target=target,
                region=place,
                power_source=power_source,
                status=status,
                enrolled_at=now,
            )
    except IntegrityError as exc:
        raise StateConflict(
            status, detail=f"The device {serial} is being enrolled by another request.", code="already_enrolled"
        ) from exc
    device.groups.set(key.groups.all())
    audit.record(
        actor=actor,
        action="device.enrolled",
        obj=device,
        now=now,
        new={"status": status, "hardware_target": target.slug, "region": place.slug},
    )
    return Enrolled(device, tokens.issue_device_token(device, actor=actor, now=now), created=True)


def _use(key: EnrollmentKey, now: datetime) -> None:
    """Count one use in one conditional statement, so that parallel enrolments cannot exceed the limit."""
    usable = Q(max_uses__isnull=True) | Q(uses__lt=F("max_uses"))
    unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    used = EnrollmentKey.objects.filter(usable, unexpired, pk=key.pk, revoked_at__isnull=True).update(
        uses=F("uses") + 1
    )
    if not used:
        raise NotAllowed("The enrolment key has no uses left.", code="enrollment_key_exhausted")


def _scoped(key: EnrollmentKey, field: str, kind: type, text: str, *, actor: Actor, now: datetime) -> Any:
    """The label that the device names, held against the one that the key fixes."""
    fixed = getattr(key, field)
    noun = field.replace("_", " ")
    if fixed is not None:
        if text and text not in (fixed.slug, fixed.name):
            raise NotAllowed(f"The enrolment key is for the {noun} {fixed.slug} only.", code=f"{field}_out_of_scope")
        return fixed
    if not text:
        raise InvalidInput({field: f"Name the {noun} of the device."}, code="required")
    found = find_label(kind, text)
    if found is not None:
        return found
    if not key.may_register_labels:
        raise InvalidInput({field: f"There is no {noun} “{text}”."}, code="does_not_exist")
    try:
        return ensure_label(kind, text, actor=actor, now=now)
    except InvalidInput as exc:
        raise InvalidInput({field: f"“{text}” cannot be the name of a {noun}."}) from exc


def _enroll_again(
    device: Device, key: EnrollmentKey, target: HardwareTarget, place: Region, *, actor: Actor, now: datetime
) -> Enrolled:
    if device.status == Device.Status.SUSPENDED or not key.allows_reenrollment:
        raise StateConflict(
            device.status,
            detail=f"The device {device.serial} is enrolled already and is {device.status}.",
            code="already_enrolled",
        )
    for field, found in (("hardware_target", target), ("region", place)):
        registered = getattr(device, field)
        if registered != found:
            detail = f"The device {device.serial} is registered with the {field.replace('_', ' ')} {registered.slug}."
            raise StateConflict(device.status, detail=detail, code=f"{field}_differs")
    old = device.status
    if old == Device.Status.RETIRED:
        device.status = Device.Status.PENDING
        device.save(update_fields=["status"])
    audit.record(
        actor=actor,
        action="device.reenrolled",
        obj=device,
        now=now,
        old={"status": old},
        new={"status": device.status},
    )
    return Enrolled(device, tokens.issue_device_token(device, actor=actor, now=now), created=False)
