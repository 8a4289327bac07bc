"""Saving, changing and deleting the views that pages show as tabs."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from fleet import page
from fleet.actors import Actor
from fleet.exceptions import DomainError
from fleet.selectors.saved_views import visible_to
from fleet.services import saved_views as service


@login_required
@require_POST
def save(request: HttpRequest) -> HttpResponse:
    """Keep the page that is shown under a name, and go on showing it."""
    form = request.POST
    back = page.safe_address(request, form.get("back", ""), "/")
    path, _, query = back.partition("?")
    try:
        view = service.save_view(
            owner=request.user,
            name=form.get("name", ""),
            path=path,
            query=query if form.get("range") else page.without_range(query),
            shared=bool(form.get("shared")),
            note=form.get("note", "")[:200],
            actor=Actor.of_user(request.user),
            now=timezone.now(),
        )
    except DomainError as refusal:
        messages.error(request, f"The view was not saved: {refusal}")
        return redirect(back)
    messages.success(request, f"Saved as “{view.name}”{', for everyone' if view.shared else ''}.")
    return redirect(view.address)


@login_required
@require_POST
def act(request: HttpRequest, pk: int) -> HttpResponse:
    """Rename a view, share it or take it back, or delete it."""
    view = get_object_or_404(visible_to(request.user), pk=pk)
    form = request.POST
    back = page.safe_address(request, form.get("back", ""), view.path)
    actor, now = Actor.of_user(request.user), timezone.now()
    try:
        if form.get("action") == "delete":
            service.delete_view(view, by=request.user, actor=actor, now=now)
            messages.success(request, f"The view “{view.name}” is deleted.")
            return redirect(back)
        changed = service.change_view(
            view,
            by=request.user,
            actor=actor,
            now=now,
            name=form.get("name"),
            shared=bool(form.get("shared")),
            note=form.get("note", "")[:200],
        )
    except DomainError as refusal:
        messages.error(request, f"The view was not changed: {refusal}")
        return redirect(back)
    messages.success(request, f"The view “{changed.name}” is changed.")
    return redirect(changed.address)
