"""Fields that name a thing by what people call it."""

from collections.abc import Mapping
from typing import Any, NoReturn

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from fleet.models import Device
from fleet.models.devices import Labelled
from fleet.selectors.labels import find_label


@extend_schema_field(OpenApiTypes.STR)
class LabelField(serializers.Field):
    """A workload, hardware target, region or group: written as its slug, read from its slug or its name."""

    default_error_messages = {
        "not_text": "This must be a text.",
        "does_not_exist": "There is no {noun} “{text}”.",
    }

    def __init__(self, kind: type[Labelled], **kwargs: Any) -> None:
        self.kind = kind
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Labelled:
        """The row; one look-up per text and request, so that a long list of devices costs few queries."""
        if not isinstance(data, str):
            self.fail("not_text")
        known = self.context.setdefault("known_labels", {})
        key = (self.kind, data)
        if key not in known:
            known[key] = find_label(self.kind, data)
        if known[key] is None:
            self.fail("does_not_exist", noun=self.kind._meta.verbose_name, text=data)
        return known[key]

    def to_representation(self, value: Labelled) -> str:
        """The slug."""
        return value.slug


@extend_schema_field(OpenApiTypes.STR)
class DeviceField(serializers.Field):
    """A device by its serial."""

    default_error_messages = {"does_not_exist": "There is no device “{serial}”."}

    def to_internal_value(self, data: Any) -> Device:
        """The row."""
        serial = data if isinstance(data, str) else ""
        device = Device.objects.filter(serial=serial).first() if "\0" not in serial else None
        if device is None:
            self.fail("does_not_exist", serial=data)
        return device

    def to_representation(self, value: Device) -> str:
        """The serial."""
        return value.serial


class KnownChoice(serializers.ChoiceField):
    """One of some values, whose refusal says which they are."""

    def fail(self, key: str, **kwargs: Any) -> NoReturn:
        """As ever, with the values."""
        if key == "invalid_choice":
            known = ", ".join(str(value) for value in self.choices)
            raise serializers.ValidationError(f"There is no “{kwargs['input']}”; known: {known}.", code=key)
        super().fail(key, **kwargs)
        raise AssertionError(key)


def unknown_names(serializer: serializers.BaseSerializer, data: Any) -> dict[str, serializers.ErrorDetail]:
    """One error per name in the body that is no field: a misspelt one would change what is allowed or done."""
    if not isinstance(data, Mapping):
        return {}
    known = ", ".join(name for name, field in serializer.fields.items() if not field.read_only)
    return {
        name: serializers.ErrorDetail(f"Unknown; known are {known}.", code="unknown")
        for name in sorted(str(name) for name in set(data) - set(serializer.fields))
    }


class StrictSerializer(serializers.Serializer):
    """Input of a view of its own in which a name that is not a field is an error, as everywhere in `Resource`."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """The validated fields; one error per unknown name."""
        if unknown := unknown_names(self, data):
            raise serializers.ValidationError(unknown)
        return super().to_internal_value(data)
