"""REST: devices, their states and their tokens."""

from typing import Any

import django_filters
from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.api.fields import DeviceField, KnownChoice, LabelField
from fleet.api.resources import ReasonSerializer, Resource
from fleet.exceptions import InvalidInput, StateConflict
from fleet.models import Device, DeviceGroup, HardwareTarget, Region, Token
from fleet.models.devices import Labelled
from fleet.openapi import READ, WRITE
from fleet.selectors.labels import find_label
from fleet.services import devices, tokens
from fleet.tables import CSVList


class LabelFilter(django_filters.CharFilter):
    """One or several labels (`a,b`); an unknown one is bad input, since it would match nothing in silence."""

    def __init__(self, kind: type[Labelled], parameter: str, **kwargs: Any) -> None:
        self.kind = kind
        self.parameter = parameter
        super().__init__(**kwargs)

    def filter(self, queryset: QuerySet, value: str) -> QuerySet:
        """Rows of any of the labels."""
        if not value:
            return queryset
        found = []
        for text in value.split(","):
            label = find_label(self.kind, text.strip())
            if label is None:
                noun = self.kind._meta.verbose_name
                raise serializers.ValidationError({self.parameter: f"There is no {noun} “{text}”."})
            found.append(label)
        return queryset.filter(**{f"{self.field_name}__in": found}).distinct()


class DeviceFilter(django_filters.FilterSet):
    """What devices can be filtered by."""

    hardware_target = LabelFilter(HardwareTarget, "hardware_target")
    region = LabelFilter(Region, "region")
    group = LabelFilter(DeviceGroup, "group", field_name="groups")
    status = django_filters.MultipleChoiceFilter(choices=Device.Status.choices)
    serial = django_filters.CharFilter(lookup_expr="icontains")
    power_source = django_filters.CharFilter()
    gateway = django_filters.CharFilter(field_name="gateway__serial")
    # The release that the device last reported; telemetry keeps that table under the related name `latest`.
    release = django_filters.CharFilter(field_name="latest__release__version", distinct=True)
    workload = django_filters.CharFilter(field_name="latest__workload__slug", distinct=True)

    class Meta:
        model = Device
        fields: list[str] = []

    def filter_queryset(self, queryset: QuerySet) -> QuerySet:
        """Release and workload together mean that release of that workload."""
        values = self.form.cleaned_data
        if values.get("release") and values.get("workload"):
            both = Q(latest__release__version=values["release"], latest__workload__slug=values["workload"])
            queryset = queryset.filter(both)
        return super().filter_queryset(queryset)


class DeviceSerializer(serializers.ModelSerializer):
    """A device."""

    hardware_target = LabelField(HardwareTarget)
    region = LabelField(Region)
    groups = serializers.ListField(child=LabelField(DeviceGroup), required=False)
    gateway = DeviceField(required=False, allow_null=True)
    allowed_actions = serializers.SerializerMethodField()

    class Meta:
        model = Device
        fields = [
            "id",
            "serial",
            "status",
            "hardware_target",
            "region",
            "groups",
            "power_source",
            "delivery_profile",
            "gateway",
            "notes",
            "enrolled_at",
            "allowed_actions",
        ]
        read_only_fields = ["id", "status", "enrolled_at"]
        # Uniqueness is checked for the whole list at once by the service.
        extra_kwargs = {"serial": {"validators": []}, "notes": {"max_length": 10_000}}

    def get_allowed_actions(self, device: Device) -> list[str]:
        """What may be done with the device now."""
        return devices.allowed_actions(device)

    def validate_serial(self, serial: str) -> str:
        """The form of a serial; it stays what it is once the device exists."""
        if not devices.valid_serial(serial):
            raise serializers.ValidationError(devices.SERIAL_RULE)
        if self.instance is not None and self.instance.serial != serial:
            raise serializers.ValidationError("A serial cannot be changed.")
        return serial

    def to_representation(self, device: Device) -> dict[str, Any]:
        """The fields, with groups by slug."""
        groups = sorted(group.slug for group in device.groups.all())
        self.fields.pop("groups", None)
        return super().to_representation(device) | {"groups": groups}


class RegisteredDeviceSerializer(DeviceSerializer):
    """A device just registered, with its token."""

    token = serializers.CharField(read_only=True, help_text="Shown this once.")

    class Meta(DeviceSerializer.Meta):
        fields = [*DeviceSerializer.Meta.fields, "token"]


class RotateSerializer(serializers.Serializer):
    """How a token is replaced."""

    kind = KnownChoice(choices=[Token.Kind.DEVICE, Token.Kind.GATEWAY], default=Token.Kind.DEVICE)
    revoke_others = serializers.BooleanField(
        default=False, help_text="Revoke the tokens in use at once, for a device whose token has leaked."
    )


class NewTokenSerializer(serializers.Serializer):
    """A token as text."""

    token = serializers.CharField(help_text="Shown this once.")


class DeviceTokenSerializer(serializers.ModelSerializer):
    """A token of a device; never its secret."""

    class Meta:
        model = Token
        fields = ["id", "kind", "key_id", "created_at", "expires_at", "revoked_at", "last_used_at"]


class RevokeTokensSerializer(serializers.Serializer):
    """Which tokens of a device to revoke; all of them where no id is given."""

    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)

    id = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)


class RevokedSerializer(serializers.Serializer):
    """How many tokens were revoked."""

    revoked = serializers.IntegerField()


def moves(text: str) -> Any:
    """The OpenAPI of an action that changes a device's state."""
    return extend_schema(
        description=text, request=ReasonSerializer, responses={200: DeviceSerializer, **WRITE}, filters=False
    )


@extend_schema_view(
    list=extend_schema(responses={200: DeviceSerializer(many=True), **READ}),
    retrieve=extend_schema(responses={200: DeviceSerializer, **READ}),
)
class DeviceViewSet(CSVList, Resource):
    """The machines in the field; a path names one by its serial or its id."""

    scope = "fleet"
    queryset = Device.objects.select_related("hardware_target", "region", "gateway").prefetch_related("groups")
    serializer_class = DeviceSerializer
    filterset_class = DeviceFilter
    named_by = ("serial",)
    csv_columns = tuple(name for name in DeviceSerializer.Meta.fields if name != "allowed_actions")

    @extend_schema(
        request=DeviceSerializer(many=True),
        responses={201: RegisteredDeviceSerializer(many=True), **WRITE},
        description="Register one device (an object) or up to 5,000 (a list), all or none; each answer has its token.",
        filters=False,
    )
    def create(self, request: Request) -> Response:
        """Register one device or a list of them."""
        many = isinstance(request.data, list)
        if many and not 0 < len(request.data) <= devices.MAX_DEVICES_PER_REQUEST:
            raise serializers.ValidationError(f"A list has 1 to {devices.MAX_DEVICES_PER_REQUEST} devices.")
        valid = self.valid(DeviceSerializer, many=many)
        registered = self._register([devices.NewDevice(**item) for item in (valid if many else [valid])], many)
        stored = self.get_queryset().in_bulk([device.pk for device, _ in registered])
        answer = self.get_serializer(list(stored.values()), many=True).data
        raw = {device.pk: token for device, token in registered}
        rows = sorted((row | {"token": raw[row["id"]]} for row in answer), key=lambda row: row["id"])
        return Response(rows if many else rows[0], status=201)

    def _register(self, new: list[devices.NewDevice], many: bool) -> list[tuple[Device, str]]:
        try:
            return devices.register_devices(new, actor=self.actor, now=self.now)
        except InvalidInput as exc:
            if many:
                raise
            raise InvalidInput(
                {field.removeprefix("[0]."): text for field, text in exc.errors.items()}, code=exc.code
            ) from exc

    @extend_schema(request=DeviceSerializer, responses={200: DeviceSerializer, **WRITE})
    def partial_update(self, request: Request, reference: str) -> Response:
        """Change labels, power source, delivery profile, gateway or notes."""
        device = self.get_object()
        fields = self.valid(DeviceSerializer, instance=device, partial=True)
        fields.pop("serial", None)
        devices.update_device(device, actor=self.actor, now=self.now, **fields)
        return Response(self.get_serializer(self.get_object()).data)

    def _move(self, action: str) -> Response:
        device = devices.move(self.get_object(), action, actor=self.actor, now=self.now, reason=self.reason())
        return Response(self.get_serializer(device).data)

    @moves("Let a device in that waits for approval.")
    def accept(self, request: Request, reference: str) -> Response:
        """Let a device in that waits for approval."""
        return self._move("accept")

    @moves("Shut a device out for a while: its requests are answered 403.")
    def suspend(self, request: Request, reference: str) -> Response:
        """Shut a device out for a while: its requests are answered 403."""
        return self._move("suspend")

    @moves("Let a suspended device in again.")
    def resume(self, request: Request, reference: str) -> Response:
        """Let a suspended device in again."""
        return self._move("resume")

    @moves("Take a device out of service for good and revoke its tokens.")
    def retire(self, request: Request, reference: str) -> Response:
        """Take a device out of service for good and revoke its tokens."""
        return self._move("retire")

    @extend_schema(request=RotateSerializer, responses={201: NewTokenSerializer, **WRITE})
    def rotate_token(self, request: Request, reference: str) -> Response:
        """Issue a further token; the one in use stays live beside it, so that the device is never locked out."""
        device = self.get_object()
        options = self.valid(RotateSerializer)
        if device.status == Device.Status.RETIRED:
            raise StateConflict(device.status, devices.allowed_actions(device))
        token = tokens.rotate_device_token(device, actor=self.actor, now=self.now, **options)
        return Response({"token": token}, status=201)

    @extend_schema(responses={200: DeviceTokenSerializer(many=True), **READ}, filters=False)
    def tokens(self, request: Request, reference: str) -> Response:
        """The device's tokens, newest first; never their secrets."""
        rows = Token.objects.filter(device=self.get_object()).order_by("-created_at", "-pk")[:100]
        return Response(DeviceTokenSerializer(rows, many=True).data)

    @extend_schema(request=RevokeTokensSerializer, responses={200: RevokedSerializer, **WRITE})
    def revoke_tokens(self, request: Request, reference: str) -> Response:
        """Revoke one of the device's tokens, or all, effective with the next request."""
        device = self.get_object()
        body = self.valid(RevokeTokensSerializer)
        if "id" not in body:
            revoked = tokens.revoke_device_tokens(device, actor=self.actor, now=self.now, reason=body["reason"])
            return Response({"revoked": revoked})
        token = Token.objects.select_related("device").filter(device=device, pk=body["id"]).first()
        if token is None:
            raise InvalidInput({"id": f"The device {device.serial} has no such token."})
        was_live = token.revoked_at is None
        tokens.revoke_token(token, actor=self.actor, now=self.now, reason=body["reason"])
        return Response({"revoked": int(was_live)})
