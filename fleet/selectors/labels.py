"""Workloads, hardware targets, regions and groups by the name that people and devices call them."""

from typing import TypeVar

from fleet.exceptions import InvalidInput
from fleet.models import DeviceGroup, HardwareTarget, Region, Workload
from fleet.models.devices import Labelled

Label = TypeVar("Label", bound=Labelled)


def find_label(kind: type[Label], text: str) -> Label | None:
    """The label of this slug, else the first of this name, else None."""
    if "\0" in text:
        return None
    return kind.objects.filter(slug=text).first() or kind.objects.filter(name=text).order_by("pk").first()


def _label(kind: type[Label], field: str, text: str) -> Label:
    found = find_label(kind, text)
    if found is None:
        raise InvalidInput({field: f"There is no {field.replace('_', ' ')} “{text}”."}, code="does_not_exist")
    return found


def workload_by_slug(text: str) -> Workload:
    """The workload of this slug or name; `InvalidInput` where there is none."""
    return _label(Workload, "workload", text)


def target_by_slug(text: str) -> HardwareTarget:
    """The hardware target of this slug or name; `InvalidInput` where there is none."""
    return _label(HardwareTarget, "hardware_target", text)


def region_by_slug(text: str) -> Region:
    """The region of this slug or name; `InvalidInput` where there is none."""
    return _label(Region, "region", text)


def group_by_slug(text: str) -> DeviceGroup:
    """The device group of this slug or name; `InvalidInput` where there is none."""
    return _label(DeviceGroup, "groups", text)
