"""REST: enrolment by devices, the keys for it, and a device's own token rotation."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fleet import enrollment_limits
from fleet.actors import Actor
from fleet.api.devices import NewTokenSerializer
from fleet.api.fields import LabelField
from fleet.api.resources import ReasonSerializer, Resource
from fleet.exceptions import BadCredentials, DomainError, TooMany
from fleet.models import Device, DeviceGroup, EnrollmentKey, HardwareTarget, Region
from fleet.openapi import CONFLICT, FORBIDDEN, INVALID, READ, TOO_MANY, UNAUTHENTICATED, WRITE
from fleet.permissions import IsDevice
from fleet.services import enrollment, tokens
from fleet.tables import CSVList


class EnrollSerializer(serializers.Serializer):
    """What a device says when it enrols; a label that the key fixes may be left out."""

    enrollment_key = serializers.CharField(max_length=128)
    serial = serializers.CharField(max_length=128)
    hardware_target = serializers.CharField(max_length=128, required=False, allow_blank=True, default="")
    region = serializers.CharField(max_length=128, required=False, allow_blank=True, default="")
    power_source = serializers.CharField(max_length=32, required=False, allow_blank=True, default="")


# What a device can be right after its enrolment.
ENROLLED_STATUS = [
    (Device.Status.ACCEPTED.value, Device.Status.ACCEPTED.label),
    (Device.Status.PENDING.value, Device.Status.PENDING.label),
]


class EnrolledSerializer(serializers.Serializer):
    """The answer: with "pending", device endpoints answer 403 until a person accepts the device."""

    device = serializers.CharField(help_text="The serial.")
    status = serializers.ChoiceField(choices=ENROLLED_STATUS)
    token = serializers.CharField(help_text="Shown this once.")


class EnrollView(APIView):
    """A device becomes known with an enrolment key and gets its token."""

    authentication_classes = []
    permission_classes = []

    @extend_schema(
        request=EnrollSerializer,
        responses={201: EnrolledSerializer, **UNAUTHENTICATED, **FORBIDDEN, **CONFLICT, **INVALID, **TOO_MANY},
        auth=[],
    )
    def post(self, request: Request) -> Response:
        """Enrol."""
        now, address = timezone.now(), enrollment_limits.address_of(request)
        if wait := enrollment_limits.seconds_to_wait(address, now):
            enrollment_limits.note("too_many", address, now)
            raise TooMany("Too many enrolments from this address; wait as Retry-After says.", wait_s=wait)
        serializer = EnrollSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        fields = serializer.validated_data
        try:
            enrolled = enrollment.enroll(
                fields["enrollment_key"],
                fields["serial"],
                now=now,
                hardware_target=fields["hardware_target"],
                region=fields["region"],
                power_source=fields["power_source"],
            )
        except DomainError as refusal:
            enrollment_limits.note("bad_key" if isinstance(refusal, BadCredentials) else "refused", address, now)
            raise
        enrollment_limits.note("enrolled", address, now)
        device = enrolled.device
        return Response({"device": device.serial, "status": device.status, "token": enrolled.token}, status=201)


class DeviceTokenView(APIView):
    """A device renews its own token."""

    permission_classes = [IsDevice]

    @extend_schema(request=None, responses={201: NewTokenSerializer, **UNAUTHENTICATED, **FORBIDDEN})
    def post(self, request: Request) -> Response:
        """Issue a further token of the same kind; the one used for this request stays live beside it."""
        device, token = request.user.device, request.auth
        raw = tokens.rotate_device_token(device, actor=Actor.of_device(device), now=timezone.now(), kind=token.kind)
        return Response({"token": raw}, status=201)


class EnrollmentKeySerializer(serializers.ModelSerializer):
    """An enrolment key; never its secret."""

    hardware_target = LabelField(HardwareTarget, required=False, allow_null=True)
    region = LabelField(Region, required=False, allow_null=True)
    groups = serializers.ListField(child=LabelField(DeviceGroup), required=False, write_only=True)
    created_by = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = EnrollmentKey
        fields = [
            "id",
            "name",
            "key_id",
            "hardware_target",
            "region",
            "groups",
            "max_uses",
            "uses",
            "requires_approval",
            "may_register_labels",
            "allows_reenrollment",
            "created_by",
            "created_at",
            "expires_at",
            "revoked_at",
        ]
        read_only_fields = ["id", "key_id", "uses", "created_at", "revoked_at"]
        extra_kwargs = {"max_uses": {"min_value": 1}}

    def to_representation(self, key: EnrollmentKey) -> dict:
        """The fields, with groups by slug."""
        return super().to_representation(key) | {"groups": sorted(group.slug for group in key.groups.all())}


class NewEnrollmentKeySerializer(EnrollmentKeySerializer):
    """An enrolment key just created, with its text."""

    enrollment_key = serializers.CharField(read_only=True, help_text="Shown this once.")

    class Meta(EnrollmentKeySerializer.Meta):
        fields = [*EnrollmentKeySerializer.Meta.fields, "enrollment_key"]


@extend_schema_view(
    list=extend_schema(responses={200: EnrollmentKeySerializer(many=True), **READ}),
    retrieve=extend_schema(responses={200: EnrollmentKeySerializer, **READ}),
)
class EnrollmentKeyViewSet(CSVList, Resource):
    """Keys that people hand out so that devices can enrol themselves."""

    required_scopes = {"GET": "fleet:read", "POST": "admin", "DELETE": "admin"}
    queryset = EnrollmentKey.objects.select_related("hardware_target", "region", "created_by").prefetch_related(
        "groups"
    )
    serializer_class = EnrollmentKeySerializer
    filterset_fields = ["name", "requires_approval"]

    @extend_schema(request=EnrollmentKeySerializer, responses={201: NewEnrollmentKeySerializer, **WRITE})
    def create(self, request: Request) -> Response:
        """Create a key; the answer has its text, which is shown this once."""
        fields = self.valid(EnrollmentKeySerializer)
        key, raw = enrollment.create_key(actor=self.actor, now=self.now, created_by=request.user, **fields)
        return Response(self.get_serializer(key).data | {"enrollment_key": raw}, status=201)

    @extend_schema(request=ReasonSerializer, responses={200: EnrollmentKeySerializer, **WRITE})
    def revoke(self, request: Request, reference: str) -> Response:
        """Revoke a key; devices that enrolled with it keep their tokens."""
        key = enrollment.revoke_key(self.get_object(), actor=self.actor, now=self.now, reason=self.reason())
        return Response(self.get_serializer(key).data)

    @extend_schema(responses={204: None, **WRITE})
    def destroy(self, request: Request, reference: str) -> Response:
        """The same as revoke; the row stays for the audit trail."""
        enrollment.revoke_key(self.get_object(), actor=self.actor, now=self.now)
        return Response(status=204)
