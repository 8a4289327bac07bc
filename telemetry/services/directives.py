"""Directives: what the server asks devices to do differently, told in the answer to each batch.

A directive holds for one device, for a group or for all; the more particular one wins, field by field, and among equals
the newest. Other apps may ask for more of devices for a while (see `DIRECTIVE_SOURCES`): that goes before what groups
and all are asked, where it is more, and behind what operators ask of the one device. What devices are told is read from
memory, renewed every few seconds, so a new directive reaches a device with its first batch after that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils.module_loading import import_string

from fleet.actors import Actor
from fleet.exceptions import InvalidInput
from fleet.models import Device, DeviceGroup
from fleet.services import audit
from telemetry.models import Directive

# name -> (type, smallest, largest)
FIELDS: dict[str, tuple[type, float, float]] = {
    "raw_sample_rate": (float, 0, 1),
    "window_s": (int, 1, 3600),
    "min_interval_s": (float, 0, 86_400),
    "max_batch": (int, 1, 5_000),
}
OPERATOR = "operator"
# What other apps may raise, and which of two wishes is the higher one.
RAISED = {"raw_sample_rate": max, "window_s": min}
_RENEWED_EVERY = timedelta(seconds=5)


@dataclass(slots=True)
class _Known:
    """All directives that hold, as of `read_at`; groups of a device are read when first needed."""

    read_at: datetime
    for_all: dict[str, Any]
    by_group: list[tuple[int, dict[str, Any]]]
    raised: dict[int, dict[str, Any]]
    by_device: dict[int, dict[str, Any]]
    told: dict[int, dict[str, Any]]


_known: _Known | None = None


def directives_for(device_id: int, now: datetime) -> dict[str, Any]:
    """What the device is asked to do; an empty object for nothing in particular."""
    global _known
    if _known is None or not timedelta(0) <= now - _known.read_at < _RENEWED_EVERY:
        _known = _read(now)
    told = _known.told.get(device_id)
    if told is None:
        told = _known.told[device_id] = _resolve(_known, device_id)
    return told


def _read(now: datetime) -> _Known:
    known = _Known(now, {}, [], {}, {}, {})
    for source in settings.DIRECTIVE_SOURCES:
        for device_id, values in import_string(source)(now).items():
            known.raised[device_id] = _raised(known.raised.get(device_id, {}), checked_values(values))
    holding = Directive.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now)).order_by("created_at", "id")
    for directive in holding:
        if directive.device_id is not None:
            known.by_device.setdefault(directive.device_id, {}).update(directive.values)
        elif directive.group_id is not None:
            known.by_group.append((directive.group_id, directive.values))
        else:
            known.for_all.update(directive.values)
    return known


def _resolve(known: _Known, device_id: int) -> dict[str, Any]:
    told = dict(known.for_all)
    if known.by_group:
        groups = set(DeviceGroup.objects.filter(devices=device_id).values_list("id", flat=True))
        for group_id, values in known.by_group:
            if group_id in groups:
                told |= values
    return _raised(told, known.raised.get(device_id, {})) | known.by_device.get(device_id, {})


def _raised(told: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """What is told, with the higher of two wishes where more is asked."""
    return {**told, **{name: RAISED[name](told.get(name, value), value) for name, value in more.items()}}


@transaction.atomic
def set_directive(
    values: Mapping[str, Any],
    *,
    actor: Actor,
    now: datetime,
    device: Device | None = None,
    group: DeviceGroup | None = None,
    source: str = OPERATOR,
    expires_at: datetime | None = None,
    reason: str = "",
) -> Directive | None:
    """Replace what this source asks of a device, a group or (neither given) all; empty values withdraw it.

    Args:
        values: see `FIELDS`.
        source: who wants it; each source has one directive per scope, so a canary does not overwrite an operator.
        expires_at: when it ends by itself.

    Raises:
        InvalidInput: an unknown field, or a value out of range.
    """
    checked = checked_values(values)
    if device is not None and group is not None:
        raise InvalidInput({"device": "A directive is for a device or for a group, not for both."})
    scope = Directive.objects.filter(device=device, group=group, source=source)
    replaced = list(scope)
    scope.delete()
    directive = None
    if checked:
        directive = Directive.objects.create(
            device=device, group=group, values=checked, source=source, created_at=now, expires_at=expires_at
        )
    if replaced or directive:
        audit.record(
            actor=actor,
            action="directive.set" if directive else "directive.withdrawn",
            obj=directive or replaced[0],
            old=replaced[0].values if replaced else None,
            new=checked or None,
            reason=reason,
            now=now,
        )
    transaction.on_commit(forget)
    return directive


def checked_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values in their own types.

    Raises:
        InvalidInput: naming each bad field.
    """
    errors, checked = {}, {}
    for name, value in values.items():
        if name not in FIELDS:
            errors[name] = f"There is no such directive; there are {', '.join(FIELDS)}."
            continue
        kind, low, high = FIELDS[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            errors[name] = f"Must be a number from {low:g} to {high:g}."
        elif kind is int and value != int(value):
            errors[name] = "Must be a whole number."
        else:
            checked[name] = kind(value)
    if errors:
        raise InvalidInput(errors)
    return checked


def forget() -> None:
    """Read directives again with the next batch; other processes do so within seconds."""
    global _known
    _known = None
