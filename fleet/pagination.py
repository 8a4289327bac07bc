"""How lists are cut into pages: by cursor, so that rows which arrive meanwhile shift nothing."""

from django.db.models import QuerySet
from rest_framework import pagination
from rest_framework.request import Request
from rest_framework.views import APIView


class CursorPagination(pagination.CursorPagination):
    """Pages of `?page_size=` rows (100 unless told, at most 1,000), newest first unless the view sets `ordering`."""

    page_size_query_param = "page_size"
    max_page_size = 1000
    ordering = "-pk"

    def get_ordering(self, request: Request, queryset: QuerySet, view: APIView) -> tuple[str, ...]:
        """The view's own `cursor_ordering` where it has one; it must end in a unique field."""
        ordering = getattr(view, "cursor_ordering", self.ordering)
        return (ordering,) if isinstance(ordering, str) else tuple(ordering)
