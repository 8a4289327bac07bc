"""Saved views: which a person sees, and which of them a page shows."""

from collections.abc import Iterable
from urllib.parse import parse_qsl

from django.db.models import Q, QuerySet

from fleet.models import SavedView, User

# Parameters that say nothing of what is shown: a view is the current one whatever they are.
PASSING = frozenset({"page", "tz", "format"})


def visible_to(user: User) -> QuerySet[SavedView]:
    """One's own views and those that are shared with everyone."""
    return SavedView.objects.filter(Q(owner=user) | Q(shared=True)).select_related("owner")


def views_of_page(user: User, path: str) -> list[SavedView]:
    """The views of one page: shared ones first, each kind by name."""
    found = visible_to(user).filter(path=path, tour_step=None)
    return sorted(found, key=lambda view: (not view.shared, view.name.lower()))


def same_query(one: str, other: str) -> bool:
    """Whether two query strings show the same: order, empty values and the page number do not count."""
    return _meaning(one) == _meaning(other)


def tour() -> list[SavedView]:
    """The steps of the tour, in order; empty unless example data brought one along."""
    return list(SavedView.objects.filter(shared=True, tour_step__isnull=False).order_by("tour_step", "id"))


def _meaning(query: str) -> list[tuple[str, str]]:
    pairs: Iterable[tuple[str, str]] = parse_qsl(query)
    return sorted((name, value) for name, value in pairs if name not in PASSING)
