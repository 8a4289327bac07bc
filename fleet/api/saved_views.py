"""REST: saved views, one's own and those that are shared."""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.api.resources import Resource
from fleet.models import SavedView
from fleet.openapi import READ, WRITE
from fleet.selectors.saved_views import visible_to
from fleet.services import saved_views
from fleet.tables import CSVList


class SavedViewSerializer(serializers.ModelSerializer):
    """A page's filters and range under a name."""

    owner = serializers.SlugRelatedField(slug_field="username", read_only=True)
    address = serializers.CharField(read_only=True, help_text="Path and query string, as a link.")
    query = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")

    class Meta:
        model = SavedView
        fields = ["id", "name", "path", "query", "address", "note", "shared", "owner", "created_at", "changed_at"]
        read_only_fields = ["id", "created_at", "changed_at"]
        # names that are taken are refused by the service, in one sentence
        validators = []


@extend_schema_view(
    list=extend_schema(responses={200: SavedViewSerializer(many=True), **READ}),
    retrieve=extend_schema(responses={200: SavedViewSerializer, **READ}),
)
class SavedViewViewSet(CSVList, Resource):
    """Views that the caller sees: the caller's own, and those shared with everyone."""

    required_scopes = {"GET": "fleet:read", "POST": "account", "PATCH": "account", "DELETE": "account"}
    queryset = SavedView.objects.all()
    serializer_class = SavedViewSerializer
    filterset_fields = ["path", "shared", "name"]

    def get_queryset(self) -> QuerySet[SavedView]:
        """One's own and the shared ones."""
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return visible_to(self.request.user)

    @extend_schema(request=SavedViewSerializer, responses={201: SavedViewSerializer, **WRITE})
    def create(self, request: Request) -> Response:
        """Save a view; `path` is a page of the product, `query` its query string."""
        fields = self.valid(SavedViewSerializer)
        view = saved_views.save_view(owner=request.user, actor=self.actor, now=self.now, **fields)
        return Response(self.get_serializer(view).data, status=201)

    @extend_schema(request=SavedViewSerializer, responses={200: SavedViewSerializer, **WRITE})
    def partial_update(self, request: Request, reference: str) -> Response:
        """Rename, change, share or take back; for its owner and administrators."""
        view = self.get_object()
        fields = self.valid(SavedViewSerializer, instance=view, partial=True)
        fields.pop("path", None)
        view = saved_views.change_view(view, by=request.user, actor=self.actor, now=self.now, **fields)
        return Response(self.get_serializer(view).data)

    @extend_schema(responses={204: None, **WRITE})
    def destroy(self, request: Request, reference: str) -> Response:
        """Delete; for its owner and administrators."""
        saved_views.delete_view(self.get_object(), by=request.user, actor=self.actor, now=self.now)
        return Response(status=204)
