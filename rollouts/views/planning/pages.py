"""The pages of the wizard: a new rollout, a draft that is planned further, and what a plan would do if it began now."""

import secrets
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from fleet import page
from fleet.actors import Actor
from fleet.exceptions import DomainError, InvalidInput
from fleet.models import Release
from rollouts.models import Rollout
from rollouts.plans import DEFAULT_PRESET, missing_from_change_record
from rollouts.selectors import populations
from rollouts.selectors.cohorts import Plan
from rollouts.selectors.gates import gate
from rollouts.services import drafting
from rollouts.views.planning.form import PlanForm
from rollouts.views.planning.layout import layout
from rollouts.views.planning.preview import stage_rows

SCOPE = "rollouts:write"


def _release(text: str) -> Release | None:
    rows = Release.objects.select_related("workload").filter(status=Release.Status.PUBLISHED)
    return rows.filter(pk=int(text)).first() if text.isdecimal() and len(text) < 18 else None


@page.needs_scope(SCOPE)
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Plan a rollout; `release` in the address names the release to begin with."""
    if request.method == "POST":
        return _go_on(request, PlanForm.of_post(request.POST), None)
    release = _release(request.GET.get("release", ""))
    form = PlanForm.new(release, [])
    if release is None and request.GET.get("release"):
        form.errors["release"] = "There is no such published release; choose one."
    _fill(form, request.GET.get("preset", "") or DEFAULT_PRESET)
    return _show(request, form, None)


@page.needs_scope(SCOPE)
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Go on planning a draft; a rollout that was submitted says so and changes no more."""
    rollout = get_object_or_404(Rollout.objects.select_related("release__workload", "workload", "created_by"), pk=pk)
    try:
        drafting.assert_draft(rollout)
    except DomainError as refusal:
        messages.error(request, str(refusal))
        return redirect("rollouts:rollout", pk)
    if request.method == "POST":
        return _go_on(request, PlanForm.of_post(request.POST), rollout)
    stages = [drafting.describe_stage(stage) for stage in rollout.stages.all()]
    return _show(request, PlanForm.of_draft(rollout, stages), rollout)


def _show(request: HttpRequest, form: PlanForm, rollout: Rollout | None, opens: str = "") -> HttpResponse:
    shown = layout(form, rollout)
    context = {**shown, "opens": opens or shown["opens"], "now": timezone.now()}
    return render(request, "rollouts/plan/wizard.html", context, status=422 if form.errors else 200)


def _go_on(request: HttpRequest, form: PlanForm, rollout: Rollout | None) -> HttpResponse:
    """What the button that was pressed asks for."""
    what, _, which = request.POST.get("do", "save").partition(":")
    if what == "fill":
        _fill(form, which or form.text("preset"))
        return _show(request, form, rollout, "stages")
    if what == "add":
        taken = [int(number) for number in form.numbers]
        form.values["stages"] = [*form.numbers, str(max(taken, default=-1) + 1)]
        return _show(request, form, rollout, "stages")
    if what == "remove":
        form.values["stages"] = [number for number in form.numbers if number != which]
        return _show(request, form, rollout, "stages")
    if what == "add_margins":
        form.values["margin_targets"] = [*form.margin_targets, form.text("margin_target")]
        return _show(request, form, rollout, "policy")
    if what == "remove_margins":
        form.values["margin_targets"] = [target for target in form.margin_targets if target != which]
        return _show(request, form, rollout, "policy")
    return _write(request, form, rollout, submit=what == "submit")


def _fill(form: PlanForm, preset: str) -> None:
    """The stages of a preset for the release and population that stand in the form."""
    release = _release(form.text("release"))
    plan = form.read()
    form.errors = {name: text for name, text in form.errors.items() if name == "release"}
    if release is None:
        release = Release.objects.select_related("workload").filter(status=Release.Status.PUBLISHED).first()
    if release is None:
        return
    try:
        stages, notes = drafting.stages_of_preset(release, preset, plan["selector"])
    except InvalidInput as refusal:
        form.errors["stages"] = " ".join(refusal.errors.values())
        return
    form.fill_stages([drafting.describe_stage(row) for row in drafting.stage_rows(stages)])
    form.values["notes"] = notes


def _write(request: HttpRequest, form: PlanForm, rollout: Rollout | None, *, submit: bool) -> HttpResponse:
    """Draft, or change the draft, and perhaps submit: all of it or nothing."""
    common = {"by": request.user, "actor": Actor.of_user(request.user), "now": timezone.now()}
    plan = form.read()
    release = rollout.release if rollout else _release(form.text("release"))
    if release is None:
        form.errors["release"] = "Choose a published release."
    try:
        # Also where something is no number already: whoever mends one field hears of the others at once.
        drafting.check(**plan)
        if not form.errors:
            with transaction.atomic():
                if rollout is None:
                    rollout_now = drafting.create_rollout(release=release, **plan, **common)
                else:
                    rollout_now = drafting.update_draft(rollout, **plan, **common)
                if submit:
                    drafting.submit(rollout_now, **common)
    except InvalidInput as refusal:
        form.refuse(refusal)
    except DomainError as refusal:
        form.errors["preview"] = str(refusal)
    if form.errors and submit:
        # The service may not have come so far.
        form.refuse(InvalidInput(missing_from_change_record(plan["change_record"])))
    if form.errors:
        return _show(request, form, rollout)
    messages.success(
        request,
        "Submitted: the plan is frozen and waits for its signatures." if submit else "The draft is saved.",
    )
    return redirect("rollouts:rollout", rollout_now.pk)


@page.needs_scope(SCOPE)
@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    """What the plan in the form would do if it began now; nothing is written."""
    form, now = PlanForm.of_post(request.POST), timezone.now()
    draft = request.POST.get("draft", "")
    rollout = Rollout.objects.filter(pk=int(draft)).first() if draft.isdecimal() and len(draft) < 18 else None
    release = rollout.release if rollout else _release(form.text("release"))
    if release is None:
        form.errors["release"] = "Choose a published release."
    plan = form.read()
    try:
        checked = drafting.check(**plan)
    except InvalidInput as refusal:
        form.refuse(refusal)
    context: dict[str, Any] = {"errors": [(name.replace(".", "-"), text) for name, text in form.errors.items()]}
    if not form.errors:
        seed = rollout.seed if rollout else secrets.randbelow(drafting.SEED_BELOW)
        stages = drafting.stage_rows(checked.stages)
        context |= _preview(Plan(release, checked.selector, stages, checked.policy, seed, rollout), now)
    return render(request, "rollouts/plan/_preview.html", context)


def _preview(plan: Plan, now: datetime) -> dict[str, Any]:
    rows = stage_rows(plan, now)
    everyone = plan.everyone
    return {
        "rows": rows,
        "candidates": len(everyone.candidates),
        "excluded": everyone.excluded_by_target,
        "never_reported": everyone.never_reported,
        "nobody": populations.explain_empty(plan.release, [plan.selector]) if not everyone.candidates else "",
    }


@page.needs_scope(SCOPE)
@require_GET
def baseline(request: HttpRequest) -> HttpResponse:
    """What devices run now and what device CI says of the release, hardware target by hardware target."""
    release, now = _release(request.GET.get("release", "")), timezone.now()
    context: dict[str, Any] = {"release": release}
    if release is not None:
        match = populations.match(release, [])
        counts: dict[str, dict[int | None, int]] = {}
        for candidate in match.candidates:
            per_target = counts.setdefault(candidate.hardware_target, {})
            running = match.running.get(candidate.device_id)
            per_target[running] = per_target.get(running, 0) + 1
        versions = dict(Release.objects.filter(pk__in=set(match.running.values())).values_list("pk", "version"))
        found = gate(release, now)
        verdicts = {row["hardware_target"]: row for row in found["targets"]}
        context["targets"] = [
            {
                "slug": slug,
                "gate": verdicts.get(slug),
                "devices": sum(counts.get(slug, {}).values()),
                "running": [
                    (versions.get(pk, "no telemetry yet"), count)
                    for pk, count in sorted(counts.get(slug, {}).items(), key=lambda item: -item[1])
                ],
            }
            for slug in sorted({*verdicts, *counts})
        ]
    return render(request, "rollouts/plan/_baseline.html", context)
