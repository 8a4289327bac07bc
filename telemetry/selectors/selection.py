"""What a question is about: the filters that charts, series, distributions and exports share, by their public names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from fleet.exceptions import InvalidInput
from fleet.models import Device, DeviceGroup, HardwareTarget, Region, Release, Workload
from fleet.selectors.labels import find_label
from telemetry.models import Context

DIMENSIONS = ("release", "hardware_target", "power_mode", "region")
# Of the parts that a device runs, as it told them with its records; each is a filter under this name.
VERSIONS = ("model_version", "firmware_version", "driver_version", "runtime_version")


@dataclass(frozen=True)
class Selection:
    """Filters by id; None everywhere means everything. Build one with `parse_selection`, or by ids.

    `versions` holds pairs of a name of VERSIONS and the versions wanted.

    `device_ids` is not None where devices or groups were named: such a question is answered from the device tiers.
    """

    workload_id: int | None = None
    release_ids: tuple[int, ...] | None = None
    hardware_target_ids: tuple[int, ...] | None = None
    region_ids: tuple[int, ...] | None = None
    power_modes: tuple[str, ...] | None = None
    device_ids: tuple[int, ...] | None = None
    versions: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def of_context(self) -> dict[str, Any]:
        """What the context of a record must pass, as keywords of a filter; empty where every context does."""
        wanted = {
            "workload": self.workload_id,
            "release__in": self.release_ids,
            "power_mode__in": self.power_modes,
            **{f"{name}__in": values for name, values in self.versions},
        }
        return {lookup: value for lookup, value in wanted.items() if value is not None}

    def devices(self) -> Q:
        """The filter that a table with a `device` must pass (but for release and power mode, which change)."""
        condition = Q()
        if self.device_ids is not None:
            condition &= Q(device__in=self.device_ids)
        if self.hardware_target_ids is not None:
            condition &= Q(device__hardware_target__in=self.hardware_target_ids)
        if self.region_ids is not None:
            condition &= Q(device__region__in=self.region_ids)
        return condition


def parse_selection(parameters: Mapping[str, str]) -> Selection:
    """The selection that a query string names; each filter takes one value or several separated by commas.

    Labels are slugs or names, releases versions (or ids), devices serials (or ids).

    Raises:
        InvalidInput: one entry for each filter that names something that does not exist.
    """
    errors: dict[str, str] = {}
    workload = None
    if text := parameters.get("workload"):
        workload = find_label(Workload, text)
        if workload is None:
            errors["workload"] = f"There is no workload “{text}”."
    targets = _labels(HardwareTarget, parameters, "hardware_target", errors)
    regions = _labels(Region, parameters, "region", errors)
    releases = _releases(parameters, workload, errors)
    devices = _devices(parameters, errors)
    versions = _versions(parameters, errors)
    if errors:
        raise InvalidInput(errors, code="does_not_exist")
    if devices is not None and (targets is not None or regions is not None):
        chosen = Device.objects.filter(pk__in=devices)
        chosen = chosen if targets is None else chosen.filter(hardware_target__in=targets)
        chosen = chosen if regions is None else chosen.filter(region__in=regions)
        devices = tuple(chosen.order_by("pk").values_list("pk", flat=True))
    modes = _texts(parameters, "power_mode")
    return Selection(
        workload_id=None if workload is None else workload.pk,
        release_ids=releases,
        hardware_target_ids=targets,
        region_ids=regions,
        power_modes=tuple(modes) if modes else None,
        device_ids=devices,
        versions=versions,
    )


def parse_group_by(text: str | None, *, devices: bool) -> tuple[str, ...]:
    """The dimensions that `group_by` names, in its order.

    Raises:
        InvalidInput: an unknown dimension; `device` is one only where devices are named.
    """
    names = list(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))
    known = (*DIMENSIONS, "workload", *(["device"] if devices else []))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidInput({"group_by": f"“{unknown[0]}” is none of {', '.join(known)}."})
    return tuple(names)


def _texts(parameters: Mapping[str, str], field: str) -> list[str]:
    return [text.strip() for text in parameters.get(field, "").split(",") if text.strip()]


def _labels(
    kind: type[HardwareTarget] | type[Region], parameters: Mapping[str, str], field: str, errors: dict[str, str]
) -> tuple[int, ...] | None:
    texts = _texts(parameters, field)
    found = [find_label(kind, text) for text in texts]
    for text, label in zip(texts, found, strict=True):
        if label is None:
            errors[field] = f"There is no {field.replace('_', ' ')} “{text}”."
    return tuple(label.pk for label in found if label is not None) if texts else None


def _releases(
    parameters: Mapping[str, str], workload: Workload | None, errors: dict[str, str]
) -> tuple[int, ...] | None:
    texts = _texts(parameters, "release")
    if not texts:
        return None
    releases = Release.objects.all() if workload is None else Release.objects.filter(workload=workload)
    ids: list[int] = []
    for text in texts:
        found = list(releases.filter(version=text).values_list("pk", flat=True)) if "\0" not in text else []
        if not found and text.isdecimal() and len(text) < 19:
            found = list(releases.filter(pk=int(text)).values_list("pk", flat=True))
        if not found:
            errors["release"] = f"There is no release “{text}”."
        ids += found
    return tuple(dict.fromkeys(ids))


def _versions(parameters: Mapping[str, str], errors: dict[str, str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The versions named of each part; one that no device ever told is a mistake in the question."""
    found = []
    for name in VERSIONS:
        texts = _texts(parameters, name)
        for text in texts:
            if "\0" in text or not Context.objects.filter(**{name: text}).exists():
                errors[name] = f"No device has reported the {name.replace('_', ' ')} “{text}”."
        if texts:
            found.append((name, tuple(dict.fromkeys(texts))))
    return tuple(found)


def _devices(parameters: Mapping[str, str], errors: dict[str, str]) -> tuple[int, ...] | None:
    """Ids of named devices, of the devices of named groups, or of those that are both."""
    serials, groups = _texts(parameters, "device"), _texts(parameters, "group")
    ids: set[int] | None = None
    if serials:
        ids = set()
        for text in serials:
            found = device_by_reference(text)
            if found is None:
                errors["device"] = f"There is no device “{text}”."
            else:
                ids.add(found.pk)
    for text in groups:
        group = find_label(DeviceGroup, text)
        if group is None:
            errors["group"] = f"There is no group “{text}”."
    if groups and "group" not in errors:
        chosen = [find_label(DeviceGroup, text) for text in groups]
        members = set(Device.objects.filter(groups__in=chosen).values_list("pk", flat=True))
        ids = members if ids is None else ids & members
    return None if ids is None else tuple(sorted(ids))


def device_by_reference(text: str) -> Device | None:
    """The device of this serial, else of this numeric id."""
    if "\0" in text:
        return None
    found = Device.objects.filter(serial=text).first()
    if found is None and text.isdecimal() and len(text) < 19:
        found = Device.objects.filter(pk=int(text)).first()
    return found


def selected(names: Sequence[str], labels: Mapping[str, str]) -> dict[str, str]:
    """The labels of some dimensions, in the order in which they were asked for."""
    return {name: labels[name] for name in names}
