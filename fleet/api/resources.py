"""What every noun of the REST API shares: how a row is found, who acts, and when."""

from datetime import datetime
from typing import Any

from django.db.models import Model, QuerySet
from django.http import Http404
from django.utils import timezone
from django.utils.functional import cached_property
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import mixins, serializers, viewsets

from fleet.actors import Actor
from fleet.api.fields import unknown_names

MAX_ID = 2**63 - 1


@extend_schema_serializer(component_name="ActionReason")
class ReasonSerializer(serializers.Serializer):
    """An action with its reason."""

    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


def find(queryset: QuerySet, reference: str, *fields: str) -> Model:
    """The row that a path names: by each of the text fields in turn, then by id; 404 where there is none."""
    if "\0" in reference:
        raise Http404
    for field in fields:
        row = queryset.filter(**{field: reference}).first()
        if row is not None:
            return row
    if reference.isascii() and reference.isdecimal() and int(reference) <= MAX_ID:
        row = queryset.filter(pk=int(reference)).first()
        if row is not None:
            return row
    raise Http404(f"There is no {queryset.model._meta.verbose_name} “{reference}”.")


class Resource(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """A noun that can be listed and read; writers are added by its subclass and call services."""

    # Text fields by which a path may name the row, besides its id.
    named_by: tuple[str, ...] = ()
    lookup_url_kwarg = "reference"

    def get_object(self) -> Model:
        """The row that the path names."""
        return find(self.get_queryset(), self.kwargs["reference"], *self.named_by)

    @cached_property
    def actor(self) -> Actor:
        """Who sent the request."""
        return Actor.of_request(self.request)

    @cached_property
    def now(self) -> datetime:
        """The moment of the request."""
        return timezone.now()

    def valid(self, serializer_class: type[serializers.Serializer], **options: Any) -> Any:
        """The validated body; 422 with one entry per bad field, and for each name that is no field."""
        data = self.request.data if self.request.data is not None else {}
        serializer = serializer_class(data=data, context=self.get_serializer_context(), **options)
        one = getattr(serializer, "child", serializer)
        unknown = [unknown_names(one, row) for row in (data if isinstance(data, list) else [data])]
        if any(unknown):
            raise serializers.ValidationError(unknown if isinstance(data, list) else unknown[0])
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    def reason(self) -> str:
        """The reason given with an action."""
        return self.valid(ReasonSerializer)["reason"]
