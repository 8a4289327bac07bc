"""REST for devices: what to run, and how the installation goes."""

import hashlib
import json

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fleet.authentication import BearerAuthentication
from fleet.openapi import READ, WRITE
from fleet.permissions import IsDevice
from rollouts.selectors import desired as desired_selector
from rollouts.services import offering, reporting


class DesiredView(APIView):
    """What this device should run."""

    authentication_classes = [BearerAuthentication]
    permission_classes = [IsDevice]

    @extend_schema(responses={200: OpenApiTypes.OBJECT, **READ}, parameters=[OpenApiParameter("workload", str)])
    def get(self, request: Request) -> Response:
        """The release with its files and the action id to report under, or `{"release": null}`; 304 when unchanged."""
        delivery = offering.desired(
            request.user.device, timezone.now(), workload=request.query_params.get("workload", "")
        )
        answer = desired_selector.as_dict(delivery, request.build_absolute_uri("/").rstrip("/"))
        etag = f'"{hashlib.sha256(json.dumps(answer, sort_keys=True).encode()).hexdigest()[:32]}"'
        if request.headers.get("If-None-Match") == etag:
            return Response(status=304, headers={"ETag": etag})
        return Response(answer, headers={"ETag": etag, "Cache-Control": "no-cache"})


class StatusInput(serializers.Serializer):
    """How an installation goes."""

    action_id = serializers.IntegerField(min_value=1, max_value=2**31 - 1)
    status = serializers.ChoiceField(choices=list(reporting.REPORTED))
    progress = serializers.IntegerField(required=False, allow_null=True, default=None, min_value=0, max_value=100)
    detail = serializers.CharField(required=False, allow_blank=True, default="", max_length=20_000)


class StatusView(APIView):
    """How the installation goes: advice, never taken for success."""

    authentication_classes = [BearerAuthentication]
    permission_classes = [IsDevice]

    @extend_schema(request=StatusInput, responses={200: OpenApiTypes.OBJECT, **WRITE})
    def post(self, request: Request) -> Response:
        """Note a report; late and repeated ones change nothing. The answer says how the delivery stands."""
        given = StatusInput(data=request.data)
        given.is_valid(raise_exception=True)
        delivery = reporting.report(request.user.device, now=timezone.now(), **given.validated_data)
        return Response({"action_id": delivery.pk, "status": delivery.status})
