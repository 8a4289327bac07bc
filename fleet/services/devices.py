"""Writers of devices: registration by people, the states a device goes through, and its labels."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from fleet.actors import Actor
from fleet.exceptions import InvalidInput, StateConflict
from fleet.models import Device, DeviceGroup, HardwareTarget, Region
from fleet.services import audit, tokens

Status = Device.Status
# action -> (states from which it is allowed, state to which it leads); retired is left only by a new enrolment.
TRANSITIONS: dict[str, tuple[frozenset[str], str]] = {
    "accept": (frozenset({Status.PENDING}), Status.ACCEPTED),
    "suspend": (frozenset({Status.ACCEPTED}), Status.SUSPENDED),
    "resume": (frozenset({Status.SUSPENDED}), Status.ACCEPTED),
    "retire": (frozenset({Status.PENDING, Status.ACCEPTED, Status.SUSPENDED}), Status.RETIRED),
}
PAST_TENSE = {"accept": "accepted", "suspend": "suspended", "resume": "resumed", "retire": "retired"}
MAX_DEVICES_PER_REQUEST = 5_000

# A serial stands in addresses, so it has no slash and no space, and begins with a letter or a digit.
_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+=-]{0,127}")
SERIAL_RULE = "A serial has 1 to 128 letters, digits and . _ : @ + = -, and begins with a letter or a digit."


@dataclass(frozen=True, slots=True)
class NewDevice:
    """What a registration says about one device."""

    serial: str
    hardware_target: HardwareTarget
    region: Region
    groups: Sequence[DeviceGroup] = field(default=())
    power_source: str = ""
    delivery_profile: str = Device.DeliveryProfile.GENERIC
    gateway: Device | None = None
    notes: str = ""


def valid_serial(serial: str) -> bool:
    """Whether the text can be a serial."""
    return _SERIAL.fullmatch(serial) is not None


def allowed_actions(device: Device) -> list[str]:
    """What may be done with the device now."""
    return sorted(action for action, (states, _) in TRANSITIONS.items() if device.status in states)


@transaction.atomic
def register_devices(new: Sequence[NewDevice], *, actor: Actor, now: datetime) -> list[tuple[Device, str]]:
    """Register accepted devices, all or none; return each with its token, which is shown this once.

    Raises `InvalidInput` with fields like `[3].serial` for serials that are malformed, repeated or taken.
    """
    errors: dict[str, str] = {}
    taken = set(Device.objects.filter(serial__in=[item.serial for item in new]).values_list("serial", flat=True))
    seen: set[str] = set()
    for index, item in enumerate(new):
        if not valid_serial(item.serial):
            errors[f"[{index}].serial"] = SERIAL_RULE
        elif item.serial in taken:
            errors[f"[{index}].serial"] = f"There is a device {item.serial} already."
        elif item.serial in seen:
            errors[f"[{index}].serial"] = f"The serial {item.serial} stands twice in this list."
        seen.add(item.serial)
    if errors:
        raise InvalidInput(errors)
    try:
        with transaction.atomic():
            devices = Device.objects.bulk_create(
                (
                    Device(
                        serial=item.serial,
                        hardware_target=item.hardware_target,
                        region=item.region,
                        power_source=item.power_source,
                        delivery_profile=item.delivery_profile,
                        gateway=item.gateway,
                        notes=item.notes,
                        enrolled_at=now,
                    )
                    for item in new
                ),
                batch_size=1000,
            )
    except IntegrityError as exc:
        # Another request registered one of them since the look-up above.
        raise InvalidInput({"serial": "A device of that serial was registered meanwhile."}, code="unique") from exc
    membership = Device.groups.through
    membership.objects.bulk_create(
        (
            membership(device_id=device.pk, devicegroup_id=group.pk)
            for device, item in zip(devices, new, strict=True)
            for group in item.groups
        ),
        batch_size=1000,
    )
    audit.record_all(
        audit.entry(actor=actor, action="device.registered", obj=device, now=now, new=_description(item))
        for device, item in zip(devices, new, strict=True)
    )
    return list(zip(devices, tokens.issue_first_tokens(devices, now=now), strict=True))


def _description(item: NewDevice) -> dict[str, Any]:
    return {
        "hardware_target": item.hardware_target.slug,
        "region": item.region.slug,
        "groups": sorted(group.slug for group in item.groups),
        "power_source": item.power_source,
        "delivery_profile": item.delivery_profile,
        "gateway": item.gateway.serial if item.gateway else None,
    }


@transaction.atomic
def move(device: Device, action: str, *, actor: Actor, now: datetime, reason: str = "") -> Device:
    """Accept, suspend, resume or retire by compare-and-swap; retiring revokes every token of the device.

    Raises `StateConflict` where the state does not allow the action, or where another request was first.
    """
    states, target = TRANSITIONS[action]
    old = Device.objects.select_for_update(no_key=True).values_list("status", flat=True).get(pk=device.pk)
    moved = Device.objects.filter(pk=device.pk, status__in=states).update(status=target)
    device.refresh_from_db(fields=["status"])
    if not moved:
        raise StateConflict(device.status, allowed_actions(device))
    if action == "retire":
        tokens.revoke_device_tokens(device, actor=actor, now=now, reason="device retired")
    audit.record(
        actor=actor,
        action=f"device.{PAST_TENSE[action]}",
        obj=device,
        now=now,
        old={"status": old},
        new={"status": target},
        reason=reason,
    )
    return device


def move_all(
    devices: Iterable[Device], action: str, *, actor: Actor, now: datetime, reason: str = ""
) -> tuple[list[Device], list[Device]]:
    """Do the same with many devices; return those that moved and those whose state did not allow it any more."""
    moved, stayed = [], []
    for device in devices:
        try:
            moved.append(move(device, action, actor=actor, now=now, reason=reason))
        except StateConflict:
            stayed.append(device)
    return moved, stayed


@transaction.atomic
def update_device(
    device: Device,
    *,
    actor: Actor,
    now: datetime,
    groups: Iterable[DeviceGroup] | None = None,
    reason: str = "",
    **fields: Any,
) -> Device:
    """Change labels, power source, delivery profile, gateway or notes; only what differs is written and audited."""
    if fields.get("gateway") == device and fields.get("gateway") is not None:
        raise InvalidInput({"gateway": "A device is not its own gateway."})
    old: dict[str, Any] = {}
    new: dict[str, Any] = {}
    for name, value in fields.items():
        before = getattr(device, name)
        if before != value:
            setattr(device, name, value)
            old[name] = _text(before)
            new[name] = _text(value)
    if new:
        device.save(update_fields=list(new))
    if groups is not None:
        before = sorted(device.groups.values_list("slug", flat=True))
        after = sorted(group.slug for group in groups)
        if before != after:
            device.groups.set(groups)
            old["groups"], new["groups"] = before, after
    if new:
        audit.record(actor=actor, action="device.changed", obj=device, now=now, old=old, new=new, reason=reason)
    return device


def _text(value: Any) -> Any:
    """A label or a gateway by its name, anything else as it is."""
    return str(value) if isinstance(value, HardwareTarget | Region | Device) else value


@transaction.atomic
def change_group(
    group: DeviceGroup,
    *,
    add: Sequence[Device],
    remove: Sequence[Device],
    actor: Actor,
    now: datetime,
    reason: str = "",
) -> tuple[int, int]:
    """Put devices into a group and take others out, in bulk; return how many of each were changed."""
    membership = Device.groups.through
    inside = set(
        membership.objects.filter(devicegroup=group, device__in=[*add, *remove]).values_list("device_id", flat=True)
    )
    entering = [device for device in add if device.pk not in inside]
    leaving = [device for device in remove if device.pk in inside]
    membership.objects.bulk_create(
        (membership(device_id=device.pk, devicegroup_id=group.pk) for device in entering),
        batch_size=1000,
        ignore_conflicts=True,
    )
    membership.objects.filter(devicegroup=group, device__in=leaving).delete()
    audit.record_all(
        audit.entry(actor=actor, action=action, obj=device, now=now, new={"group": group.slug}, reason=reason)
        for action, devices in (("device.tagged", entering), ("device.untagged", leaving))
        for device in devices
    )
    return len(entering), len(leaving)
