"""Writers of saved views; what is shared with everyone leaves audit rows, what is one's own does not."""

from datetime import datetime
from urllib.parse import parse_qsl, urlencode

from django.db import IntegrityError, transaction
from django.urls import Resolver404, resolve

from fleet.actors import Actor
from fleet.exceptions import InvalidInput, NotAllowed
from fleet.models import SavedView, User
from fleet.selectors.saved_views import PASSING
from fleet.services import audit

MOST_OWN = 200


@transaction.atomic
def save_view(
    *,
    owner: User,
    name: str,
    path: str,
    query: str,
    actor: Actor,
    now: datetime,
    shared: bool = False,
    note: str = "",
    tour_step: int | None = None,
) -> SavedView:
    """Keep a page's filters and range under a name; a view of that name that is one's own already is changed.

    Raises `InvalidInput` for a name that another's shared view has, for an address that is no page of the product, and
    for more views than a person can use.
    """
    known = SavedView.objects.filter(owner=owner, path=path, name=name.strip(), tour_step=tour_step).first()
    if known is not None:
        return change_view(known, by=owner, actor=actor, now=now, query=query, shared=shared, note=note)
    if SavedView.objects.filter(owner=owner).count() >= MOST_OWN:
        raise InvalidInput({"name": f"You have {MOST_OWN} views already; delete one first."})
    view = SavedView(
        owner=owner,
        name=_named(name),
        path=_page(path),
        query=_kept(query),
        shared=shared,
        note=note.strip(),
        tour_step=tour_step,
        created_at=now,
        changed_at=now,
    )
    _store(view)
    if shared:
        audit.record(actor=actor, action="saved_view.created", obj=view, now=now, new=_description(view))
    return view


@transaction.atomic
def change_view(
    view: SavedView,
    *,
    by: User,
    actor: Actor,
    now: datetime,
    name: str | None = None,
    query: str | None = None,
    shared: bool | None = None,
    note: str | None = None,
) -> SavedView:
    """Rename a view, give it other filters, share it or take it back; its owner and administrators may."""
    assert_may_change(view, by)
    old, was_shared = _description(view), view.shared
    if name is not None:
        view.name = _named(name)
    if query is not None:
        view.query = _kept(query)
    if shared is not None:
        view.shared = shared
    if note is not None:
        view.note = note.strip()
    new = _description(view)
    if new == old:
        return view
    view.changed_at = now
    _store(view)
    if was_shared or view.shared:
        audit.record(actor=actor, action="saved_view.changed", obj=view, now=now, old=old, new=new)
    return view


@transaction.atomic
def delete_view(view: SavedView, *, by: User, actor: Actor, now: datetime) -> None:
    """Delete a view; its owner and administrators may."""
    assert_may_change(view, by)
    if view.shared:
        audit.record(actor=actor, action="saved_view.deleted", obj=view, now=now, old=_description(view))
    view.delete()


def assert_may_change(view: SavedView, person: User) -> None:
    """Raise `NotAllowed` unless the person owns the view or administers the product."""
    if view.owner_id != person.pk and not person.is_administrator:
        raise NotAllowed(f"The view “{view.name}” belongs to {view.owner.username}.")


def _named(name: str) -> str:
    name = name.strip()
    if not name or len(name) > 64:
        raise InvalidInput({"name": "Give the view a name of 1 to 64 characters."})
    return name


def _page(path: str) -> str:
    """A path that a page of the product answers: views never lead elsewhere."""
    try:
        match = resolve(path)
    except Resolver404:
        match = None
    if match is None or path.startswith(("/api/", "/admin/", "/panels/", "/figures/")) or len(path) > 200:
        raise InvalidInput({"path": f"“{path[:80]}” is no page."})
    return path


def _kept(query: str) -> str:
    """The query string without what says nothing of the view."""
    kept = urlencode([(name, value) for name, value in parse_qsl(query.lstrip("?")) if name not in PASSING])
    if len(kept) > 2000:
        raise InvalidInput({"query": "The query string is longer than 2,000 characters."})
    return kept


def _store(view: SavedView) -> None:
    try:
        with transaction.atomic():
            view.save()
    except IntegrityError as exc:
        text = f"There is a view “{view.name}” of this page already."
        raise InvalidInput({"name": text}, code="unique") from exc


def _description(view: SavedView) -> dict[str, object]:
    return {"name": view.name, "address": view.address, "shared": view.shared, "note": view.note}
