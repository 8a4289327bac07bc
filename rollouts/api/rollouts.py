"""REST: rollouts, and what people do with them."""

import json
from collections.abc import Callable
from typing import Any

import django_filters
from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.api.resources import Resource
from fleet.authentication import scopes_of_request
from fleet.exceptions import InvalidInput
from fleet.models import Release, Workload
from fleet.openapi import READ, WRITE
from fleet.permissions import HasScope
from fleet.selectors import release_for
from fleet.tables import CSVList
from rollouts.api import serializers
from rollouts.models import Delivery, Evidence, Look, Rollout
from rollouts.selectors import board, lanes
from rollouts.selectors.cohorts import cohorts_of
from rollouts.selectors.replay import replay
from rollouts.services import approvals, deciding, drafting


class MayAct(HasScope):
    """Scopes as everywhere; an emergency stop is open to whoever holds any writing scope."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether the request may go on; the services then ask for the role."""
        if getattr(view, "action", None) == "stop":
            held = scopes_of_request(request)
            return bool(held & {"rollouts:write", "drift:write", "board:sign"})
        return super().has_permission(request, view)


class RolloutFilter(django_filters.FilterSet):
    """By workload, release and status."""

    workload = django_filters.CharFilter(field_name="workload__slug")
    release = django_filters.CharFilter(field_name="release__version")
    status = django_filters.CharFilter(method="by_status")
    hardware_target = django_filters.CharFilter(field_name="lanes__hardware_target__slug")

    class Meta:
        model = Rollout
        fields: list[str] = []

    def by_status(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        """The status is derived, so it is derived here too."""
        rows = queryset.prefetch_related("lanes")
        return queryset.filter(pk__in=[rollout.pk for rollout in rows if rollout.status == value])


def _release(workload: Workload, given: Any) -> Release:
    """By version, or by id where a number is given."""
    found = None
    if isinstance(given, int) and not isinstance(given, bool):
        found = Release.objects.select_related("workload").filter(pk=given, workload=workload).first()
    elif isinstance(given, str):
        found = release_for(workload, given)
        if found is None and given.isdecimal() and len(given) < 18:
            found = Release.objects.select_related("workload").filter(pk=int(given), workload=workload).first()
    if found is None:
        raise InvalidInput({"release": f"There is no release {given} of {workload.slug}."}, code="does_not_exist")
    return found


@extend_schema_view(
    list=extend_schema(responses={200: serializers.RolloutSerializer(many=True), **READ}),
    retrieve=extend_schema(responses={200: serializers.RolloutSerializer, **READ}),
)
class RolloutViewSet(CSVList, Resource):
    """Releases on their way, lane by lane."""

    scope = "rollouts"
    permission_classes = [MayAct]
    action_scopes = {"approve": "board:sign"}
    queryset = lanes.rollouts()
    serializer_class = serializers.RolloutSerializer
    filterset_class = RolloutFilter

    def _answer(self, rollout: Rollout, status: int = 200) -> Response:
        """The rollout as it is now, with its lanes in full."""
        fresh = self.get_queryset().get(pk=rollout.pk)
        return Response(self._detail(fresh), status=status)

    def _detail(self, rollout: Rollout) -> dict[str, Any]:
        data = dict(self.get_serializer(rollout).data)
        views = lanes.lane_views(rollout, self.now)
        data["lanes"] = [lanes.as_dict(view) for view in views]
        start = next((view.sheet for view in views if view.lane.state == "awaiting_approval" and view.sheet), None)
        data["evidence_hash"] = start.evidence.sha256 if start else None
        data["missing_roles"] = start.missing(self.now) if start else []
        data["approvals"] = serializers.ApprovalSerializer(board.approvals(rollout), many=True).data
        return data

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One rollout with its lanes in full."""
        return Response(self._detail(self.get_object()))

    @extend_schema(request=serializers.RolloutInput, responses={201: serializers.RolloutSerializer, **WRITE})
    def create(self, request: Request) -> Response:
        """Draft a rollout."""
        fields = self.valid(serializers.RolloutInput)
        workload = fields.pop("workload")
        release = _release(workload, fields.pop("release"))
        rollout = drafting.create_rollout(release=release, by=request.user, actor=self.actor, now=self.now, **fields)
        return self._answer(rollout, 201)

    @extend_schema(request=serializers.RolloutChange, responses={200: serializers.RolloutSerializer, **WRITE})
    def partial_update(self, request: Request, reference: str) -> Response:
        """Change a draft; parts that are not named stay as they are."""
        fields = self.valid(serializers.RolloutChange)
        rollout = drafting.update_draft(self.get_object(), by=request.user, actor=self.actor, now=self.now, **fields)
        return self._answer(rollout)

    @extend_schema(request=serializers.ActionInput, responses={200: serializers.RolloutSerializer, **WRITE})
    def submit(self, request: Request, reference: str) -> Response:
        """Freeze the plan and ask for signatures; `evidence_hash` of the answer is what they refer to."""
        rollout, fields = self.get_object(), self.valid(serializers.ActionInput)
        drafting.submit(rollout, by=request.user, actor=self.actor, now=self.now, reason=fields["reason"])
        return self._answer(rollout)

    @extend_schema(request=serializers.ActionInput, responses={200: serializers.RolloutSerializer, **WRITE})
    def revise(self, request: Request, reference: str) -> Response:
        """Take a submitted rollout back into drafting."""
        rollout, fields = self.get_object(), self.valid(serializers.ActionInput)
        drafting.revise(rollout, by=request.user, actor=self.actor, now=self.now, reason=fields["reason"])
        return self._answer(rollout)

    @extend_schema(request=serializers.ApprovalInput, responses={200: serializers.RolloutSerializer, **WRITE})
    def approve(self, request: Request, reference: str) -> Response:
        """Sign the document with this hash in one's board role."""
        rollout, fields = self.get_object(), self.valid(serializers.ApprovalInput)
        approvals.sign(
            rollout,
            by=request.user,
            actor=self.actor,
            now=self.now,
            remark=fields["remark"] or fields["reason"],
            evidence_hash=fields["evidence_hash"],
            role=fields["role"],
        )
        return self._answer(rollout)

    @extend_schema(
        request=serializers.ActionInput,
        responses={200: serializers.RolloutSerializer, 202: serializers.RolloutSerializer, **WRITE},
    )
    def start(self, request: Request, reference: str) -> Response:
        """Begin the first stage; 202 while a large one is still being written down (`starting` of its lanes)."""
        return self._decide(deciding.start, "hardware_target", "evidence_hash")

    @extend_schema(
        request=serializers.ActionInput,
        responses={200: serializers.RolloutSerializer, 202: serializers.RolloutSerializer, **WRITE},
    )
    def promote(self, request: Request, reference: str) -> Response:
        """Take the lanes whose evidence is named into their next stage; with `override` also a lane that is held."""
        return self._decide(deciding.promote, "hardware_target", "evidence_hash", "override")

    @extend_schema(request=serializers.ActionInput, responses={200: serializers.RolloutSerializer, **WRITE})
    def hold(self, request: Request, reference: str) -> Response:
        """Hold lanes until somebody resumes them."""
        return self._decide(deciding.hold, "hardware_target")

    @extend_schema(request=serializers.ActionInput, responses={200: serializers.RolloutSerializer, **WRITE})
    def pause(self, request: Request, reference: str) -> Response:
        """Offer the release to no further device."""
        return self._decide(deciding.pause, "hardware_target")

    @extend_schema(request=serializers.ActionInput, responses={200: serializers.RolloutSerializer, **WRITE})
    def resume(self, request: Request, reference: str) -> Response:
        """Let paused and held lanes go on."""
        return self._decide(deciding.resume, "hardware_target")

    @extend_schema(request=serializers.ActionInput, responses={200: serializers.RolloutSerializer, **WRITE})
    def stop(self, request: Request, reference: str) -> Response:
        """Emergency stop: one person with any role, and a reason."""
        return self._decide(deciding.stop, "hardware_target")

    @extend_schema(request=serializers.ActionInput, responses={200: serializers.RolloutSerializer, **WRITE})
    def rollback(self, request: Request, reference: str) -> Response:
        """Take every device of the lanes back to what it ran before."""
        return self._decide(deciding.roll_back, "hardware_target", "evidence_hash")

    def _decide(self, decision: Callable[..., Any], *names: str) -> Response:
        rollout, fields = self.get_object(), self.valid(serializers.ActionInput)
        decision(
            rollout,
            by=self.request.user,
            actor=self.actor,
            now=self.now,
            reason=fields["reason"],
            **{name: fields[name] for name in names},
        )
        starting = rollout.runs.filter(ready_at=None).exists()
        return self._answer(rollout, 202 if starting else 200)

    @extend_schema(responses={200: OpenApiTypes.OBJECT, **READ}, filters=False)
    def cohorts(self, request: Request, reference: str) -> Response:
        """Who is in which arm of which stage: frozen where a stage has begun, drawn as of now where it has not."""
        return Response(cohorts_of(self.get_object()))

    @extend_schema(responses={200: OpenApiTypes.OBJECT, **READ}, filters=False)
    def lanes(self, request: Request, reference: str) -> Response:
        """Every lane in full: state, deliveries, metrics of the newest look, recommendation, signatures."""
        views = lanes.lane_views(self.get_object(), self.now)
        return Response({"results": [lanes.as_dict(view) for view in views]})

    @extend_schema(responses={200: serializers.LookSerializer(many=True), **READ}, filters=False)
    def looks(self, request: Request, reference: str) -> Response:
        """Every look at every stage, newest first."""
        rows = Look.objects.filter(run__rollout=self.get_object()).select_related("run__stage").order_by("-pk")
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(serializers.LookSerializer(page, many=True).data)

    @extend_schema(responses={200: serializers.TransitionSerializer(many=True), **READ}, filters=False)
    def transitions(self, request: Request, reference: str) -> Response:
        """Every move of every lane, newest first."""
        rows = board.timeline(self.get_object())
        return Response({"results": serializers.TransitionSerializer(rows, many=True).data})

    @extend_schema(
        responses={200: serializers.DeliverySerializer(many=True), **READ},
        parameters=[OpenApiParameter("status", str), OpenApiParameter("device", str)],
        filters=False,
    )
    def deliveries(self, request: Request, reference: str) -> Response:
        """Deliveries to devices, newest first."""
        rows = Delivery.objects.filter(lane__rollout=self.get_object()).select_related(
            "device__hardware_target", "release", "previous_release"
        )
        status = request.query_params.get("status", "")
        if status and status not in Delivery.Status.values:
            raise InvalidInput(
                {"status": f"There is no status “{status}”; known: {', '.join(Delivery.Status.values)}."}
            )
        for name, lookup in (("status", "status"), ("device", "device__serial")):
            if value := request.query_params.get(name):
                rows = rows.filter(**{lookup: value})
        page = self.paginate_queryset(rows.order_by("-pk"))
        return self.get_paginated_response(serializers.DeliverySerializer(page, many=True).data)

    @extend_schema(
        responses={200: serializers.EvidenceSerializer(many=True), **READ},
        parameters=[OpenApiParameter("hash", str, description="Only the document with this SHA-256, with its body.")],
        filters=False,
    )
    def evidence(self, request: Request, reference: str) -> Response:
        """Every frozen document, newest first; with `?hash=` one document whole, replayed."""
        rollout = self.get_object()
        rows = Evidence.objects.filter(rollout=rollout).select_related(
            "lane__hardware_target", "stage", "recommendation"
        )
        wanted = request.query_params.get("hash", "")
        if not wanted:
            rows = rows.defer("body")
            return Response({"results": serializers.EvidenceSerializer(rows, many=True).data})
        found = rows.filter(sha256=wanted).first()
        if found is None:
            raise Http404("No document of this rollout has this hash.")
        result = replay(found)
        return Response(
            {
                **serializers.EvidenceSerializer(found).data,
                "body": json.loads(found.body),
                "canonical": found.body,
                "replay": {
                    "agrees": result.agrees,
                    "differences": list(result.differences),
                    "same_code": result.same_code,
                },
            }
        )
