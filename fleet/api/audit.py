"""REST: the audit trail, to read only."""

import django_filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers

from fleet.api.resources import Resource
from fleet.models import AuditEntry
from fleet.openapi import READ
from fleet.tables import CSVList


class AuditFilter(django_filters.FilterSet):
    """What audit rows can be filtered by."""

    actor = django_filters.CharFilter(lookup_expr="icontains")
    user = django_filters.CharFilter(field_name="user__username")
    action = django_filters.CharFilter(lookup_expr="startswith")
    object_type = django_filters.CharFilter()
    object_id = django_filters.CharFilter()
    object = django_filters.CharFilter(field_name="object_label", lookup_expr="icontains")
    evidence_hash = django_filters.CharFilter()

    class Meta:
        model = AuditEntry
        fields: list[str] = []


# `from` is a word of the language, so it cannot be written as an attribute.
AuditFilter.base_filters["from"] = django_filters.IsoDateTimeFilter(field_name="at", lookup_expr="gte")
AuditFilter.base_filters["to"] = django_filters.IsoDateTimeFilter(field_name="at", lookup_expr="lt")


class AuditSerializer(serializers.ModelSerializer):
    """Who did what to which object, when, why, and on what evidence."""

    # The name stands in `actor`; the account may be gone.
    user = serializers.IntegerField(source="user_id", allow_null=True)

    class Meta:
        model = AuditEntry
        fields = [
            "id",
            "at",
            "actor",
            "user",
            "action",
            "object_type",
            "object_id",
            "object_label",
            "old",
            "new",
            "reason",
            "evidence_hash",
        ]


@extend_schema_view(
    list=extend_schema(responses={200: AuditSerializer(many=True), **READ}),
    retrieve=extend_schema(responses={200: AuditSerializer, **READ}),
)
class AuditViewSet(CSVList, Resource):
    """Every change of state, newest first; append-only, which the database enforces."""

    scope = "audit"
    queryset = AuditEntry.objects.all()
    serializer_class = AuditSerializer
    filterset_class = AuditFilter
    cursor_ordering = ("-at", "-id")

    def basename_of_table(self) -> str:
        """The name of the file."""
        return "audit"
