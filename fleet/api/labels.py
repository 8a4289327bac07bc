"""REST: workloads, hardware targets, regions and device groups."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.api.resources import Resource
from fleet.exceptions import NotFound
from fleet.models import Device, DeviceGroup, HardwareTarget, Region, Workload
from fleet.openapi import READ, WRITE
from fleet.services import labels
from fleet.services.devices import MAX_DEVICES_PER_REQUEST, change_group
from fleet.tables import CSVList

LABEL_FIELDS = ["id", "slug", "name", "description", "created_at"]


class LabelSerializer(serializers.ModelSerializer):
    """What all labels share; on creation either of slug and name gives the other."""

    slug = serializers.SlugField(max_length=64, required=False)
    name = serializers.CharField(max_length=128, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A slug or a name on creation; the slug stays as it is afterwards."""
        if self.instance is None and not attrs.get("slug") and not attrs.get("name"):
            raise serializers.ValidationError({"slug": "Give a slug or a name."})
        if self.instance is not None and attrs.get("slug", self.instance.slug) != self.instance.slug:
            raise serializers.ValidationError({"slug": "A slug cannot be changed: devices and scripts use it."})
        return attrs


class WorkloadSerializer(LabelSerializer):
    """A workload."""

    class Meta:
        model = Workload
        fields = [*LABEL_FIELDS, "expected_interval_s"]
        read_only_fields = ["id", "created_at"]
        extra_kwargs = {"expected_interval_s": {"min_value": 1, "max_value": 7 * 86400}}


class HardwareTargetSerializer(LabelSerializer):
    """A hardware target."""

    class Meta:
        model = HardwareTarget
        fields = [*LABEL_FIELDS, "board", "accelerator", "accelerator_revision", "nominal_power_w"]
        read_only_fields = ["id", "created_at"]
        extra_kwargs = {"nominal_power_w": {"min_value": 0}}


class RegionSerializer(LabelSerializer):
    """A region."""

    class Meta:
        model = Region
        fields = [*LABEL_FIELDS, "timezone"]
        read_only_fields = ["id", "created_at"]


class DeviceGroupSerializer(LabelSerializer):
    """A group of devices."""

    class Meta:
        model = DeviceGroup
        fields = LABEL_FIELDS
        read_only_fields = ["id", "created_at"]


class LabelResource(CSVList, Resource):
    """List, read, register and describe labels of one kind."""

    scope = "fleet"
    named_by = ("slug", "name")
    cursor_ordering = ("slug",)

    def create(self, request: Request) -> Response:
        """Register a label."""
        fields = self.valid(self.serializer_class)
        label = labels.create_label(self.queryset.model, actor=self.actor, now=self.now, **fields)
        return Response(self.get_serializer(label).data, status=201)

    def partial_update(self, request: Request, reference: str) -> Response:
        """Change what the label says about itself."""
        label = self.get_object()
        fields = self.valid(self.serializer_class, instance=label, partial=True)
        fields.pop("slug", None)
        labels.update_label(label, actor=self.actor, now=self.now, **fields)
        return Response(self.get_serializer(label).data)


def described(serializer: type[LabelSerializer]) -> Any:
    """The OpenAPI of one kind of label."""
    return extend_schema_view(
        list=extend_schema(responses={200: serializer(many=True), **READ}),
        retrieve=extend_schema(responses={200: serializer, **READ}),
        create=extend_schema(request=serializer, responses={201: serializer, **WRITE}),
        partial_update=extend_schema(request=serializer, responses={200: serializer, **WRITE}),
    )


@described(WorkloadSerializer)
class WorkloadViewSet(LabelResource):
    """What models are for: lane-assist, defect-detection."""

    queryset = Workload.objects.all()
    serializer_class = WorkloadSerializer


@described(HardwareTargetSerializer)
class HardwareTargetViewSet(LabelResource):
    """Boards with their accelerator and revision."""

    queryset = HardwareTarget.objects.all()
    serializer_class = HardwareTargetSerializer


@described(RegionSerializer)
class RegionViewSet(LabelResource):
    """Where devices stand."""

    queryset = Region.objects.all()
    serializer_class = RegionSerializer


class GroupChangeSerializer(serializers.Serializer):
    """Serials that enter and leave a group."""

    add = serializers.ListField(
        child=serializers.CharField(max_length=128), default=list, max_length=MAX_DEVICES_PER_REQUEST
    )
    remove = serializers.ListField(
        child=serializers.CharField(max_length=128), default=list, max_length=MAX_DEVICES_PER_REQUEST
    )


class GroupChangedSerializer(serializers.Serializer):
    """How many devices entered and left; those that were in or out already do not count."""

    added = serializers.IntegerField()
    removed = serializers.IntegerField()


@described(DeviceGroupSerializer)
class DeviceGroupViewSet(LabelResource):
    """Tags on devices: internal, beta, line-7."""

    queryset = DeviceGroup.objects.all()
    serializer_class = DeviceGroupSerializer

    @extend_schema(request=GroupChangeSerializer, responses={200: GroupChangedSerializer, **WRITE})
    def devices(self, request: Request, reference: str) -> Response:
        """Put devices into the group and take others out, all or none."""
        group = self.get_object()
        change = self.valid(GroupChangeSerializer)
        serials = {*change["add"], *change["remove"]}
        found = {device.serial: device for device in Device.objects.filter(serial__in=serials)}
        unknown = sorted(serials - found.keys())
        if unknown:
            raise NotFound(f"There is no device {', '.join(unknown[:20])}.")
        added, removed = change_group(
            group,
            add=[found[serial] for serial in dict.fromkeys(change["add"])],
            remove=[found[serial] for serial in dict.fromkeys(change["remove"])],
            actor=self.actor,
            now=self.now,
        )
        return Response({"added": added, "removed": removed})
