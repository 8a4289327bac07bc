"""One rollout: may I promote, and on what do I rely? The board, the lane in question, and every decision about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from drift.charts import described_in_words
from fleet.actors import Actor
from fleet.exceptions import DomainError, InvalidInput
from fleet.models import User
from fleet.models.people import Role
from rollouts.machine import WATCHED, State
from rollouts.models import Evidence, Rollout, StageRun
from rollouts.selectors import board as selectors
from rollouts.selectors.lanes import LaneView
from rollouts.selectors.lanes import rollouts as all_rollouts
from rollouts.selectors.populations import explain_empty
from rollouts.selectors.signatures import SignatureSheet, start_sheet
from rollouts.services import approvals, deciding, drafting
from rollouts.views.pictures import (
    ATTENTION,
    Action,
    board_rows,
    change_record,
    gate_rows,
    lane_actions,
    moves,
    status,
)


@login_required
@require_GET
def rollout(request: HttpRequest, pk: int) -> HttpResponse:
    """The board, and below it the lane that `lane` names, else the one that most needs somebody."""
    found = get_object_or_404(all_rollouts(), pk=pk)
    now = timezone.now()
    picture = selectors.board(found, now)
    views = [row.view for row in picture.rows]
    wanted = request.GET.get("lane", "")
    chosen = _chosen(views, wanted)
    manager = request.user.has_role(Role.RELEASE_MANAGER)
    sheet = start_sheet(found)
    return render(
        request,
        "rollouts/rollout.html",
        {
            "now": now,
            "rollout": found,
            "status": status(picture.status),
            "board": picture,
            "rows": board_rows(picture),
            "chosen": chosen,
            "no_such_lane": wanted if wanted and (chosen is None or chosen.target != wanted) else "",
            "lane": _lane_context(chosen, picture, request.user, now) if chosen else None,
            "start": _sheet_context(sheet, request.user, found, now) if sheet else None,
            "actions": _rollout_actions(found, picture, sheet, now) if manager else [],
            "timeline": moves(selectors.timeline(found)[:100]),
            "change_record": change_record(found.change_record_rows),
            "evidence": found.evidence.select_related("lane__hardware_target", "stage")[:30],
            "may_plan": manager,
            "editable": manager and set(picture.summary) <= {State.DRAFT},
            "starting": _starting(found),
            "nobody": "" if picture.rows else explain_empty(found.release, [found.selector]),
            "crumbs": [("Rollouts", reverse("rollouts:rollouts")), (str(found.release), None)],
        },
    )


def _starting(found: Rollout) -> list[StageRun]:
    return list(found.runs.filter(ready_at=None).select_related("stage").order_by("pk"))


@login_required
@require_GET
def starting(request: HttpRequest, pk: int) -> HttpResponse:
    """How far the start of a large stage is; once it is whole, the whole page is fetched anew."""
    found = get_object_or_404(Rollout, pk=pk)
    runs = _starting(found)
    if runs:
        return render(request, "rollouts/_starting.html", {"rollout": found, "starting": runs})
    return HttpResponse(headers={"HX-Refresh": "true"})


@login_required
@require_GET
def evidence(request: HttpRequest, pk: int, evidence_id: int) -> HttpResponse:
    """A frozen document exactly as it was hashed."""
    found = get_object_or_404(Evidence, pk=evidence_id, rollout_id=pk)
    return HttpResponse(
        found.body,
        content_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="evidence-{found.sha256[:12]}.json"'},
    )


@login_required
@require_POST
def act(request: HttpRequest, pk: int) -> HttpResponse:
    """A decision about the rollout or one of its lanes; a refusal is said in words and changes nothing."""
    found = get_object_or_404(Rollout, pk=pk)
    action, target = request.POST.get("action", ""), request.POST.get("hardware_target", "")
    try:
        if action not in DECISIONS:
            raise InvalidInput({"action": f"There is no action “{action}”."})
        messages.success(request, DECISIONS[action](request, found, target))
    except DomainError as refusal:
        messages.error(request, f"Nothing was changed. {refusal}")
    address = reverse("rollouts:rollout", args=[found.pk])
    return redirect(f"{address}?{urlencode({'lane': target})}" if target else address)


def _common(request: HttpRequest, target: str) -> dict[str, Any]:
    return {
        "by": request.user,
        "actor": Actor.of_user(request.user),
        "now": timezone.now(),
        "reason": request.POST.get("reason", "").strip(),
        "hardware_target": target,
    }


def _sign(request: HttpRequest, found: Rollout, target: str) -> str:
    signed = approvals.sign(
        found,
        by=request.user,
        actor=Actor.of_user(request.user),
        now=timezone.now(),
        remark=request.POST.get("remark", ""),
        evidence_hash=request.POST.get("evidence_hash", ""),
        role=request.POST.get("role", ""),
    )
    return f"Signed as {Role(signed.role).label}."


def _submit(request: HttpRequest, found: Rollout, target: str) -> str:
    common = _common(request, target)
    common.pop("hardware_target")
    drafting.submit(found, **common)
    return "Submitted: the plan is frozen and waits for its signatures."


def _revise(request: HttpRequest, found: Rollout, target: str) -> str:
    common = _common(request, target)
    common.pop("hardware_target")
    drafting.revise(found, **common)
    return "Taken back into drafting; signatures given so far no longer count."


def _decide(service: Callable[..., list], done: str, *, with_hash: bool = False, **more: Any) -> Callable[..., str]:
    def decide(request: HttpRequest, found: Rollout, target: str) -> str:
        hashes = {"evidence_hash": request.POST.get("evidence_hash", "")} if with_hash else {}
        lanes = service(found, **_common(request, target), **hashes, **more)
        return f"{done}: {', '.join(lane.hardware_target.slug for lane in lanes)}."

    return decide


DECISIONS: dict[str, Callable[[HttpRequest, Rollout, str], str]] = {
    "submit": _submit,
    "revise": _revise,
    "sign": _sign,
    "start": _decide(deciding.start, "Started", with_hash=True),
    "promote": _decide(deciding.promote, "Promoted", with_hash=True),
    "override": _decide(deciding.promote, "Going on", with_hash=True, override=True),
    "hold": _decide(deciding.hold, "Held"),
    "pause": _decide(deciding.pause, "Paused"),
    "resume": _decide(deciding.resume, "Resumed"),
    "stop": _decide(deciding.stop, "Stopped"),
    "rollback": _decide(deciding.roll_back, "Rolling back", with_hash=True),
}


def _chosen(views: list[LaneView], wanted: str) -> LaneView | None:
    named = next((view for view in views if view.target == wanted), None)
    return named or min(views, key=lambda view: ATTENTION.index(State(view.lane.state)), default=None)


def _lane_context(view: LaneView, picture: selectors.Board, user: User, now: Any) -> dict[str, Any]:
    """Everything about one lane that a decision rests on."""
    advice = view.recommendation
    entry = (view.look.lane(view.target) if view.look else None) or {}
    table = gate_rows(selectors.gate_table(view.look, view.target))
    actions = lane_actions(view, picture)
    if not user.has_role(Role.RELEASE_MANAGER):
        actions = [action for action in actions if action.name == "stop" and (user.roles or user.is_administrator)]
    # what starts a rollout is signed for all lanes at once, above the board
    of_lane = view.sheet is not None and view.lane.state != State.AWAITING_APPROVAL
    return {
        "view": view,
        "status": status(view.lane.state),
        "gate": table,
        "described": described_in_words(entry.get("described", ())),
        "metrics": [row for row in table if row["kind"] == "metric" and row["effect"] is not None],
        "actions": actions,
        "sheet": _sheet_context(view.sheet, user, picture.rollout, now) if of_lane else None,
        "since": selectors.since_decision(advice, now) if advice else None,
        "reverse_plan": advice.reverse_plan if advice else None,
        "run": view.lane.run,
        "is_watched": view.lane.state in WATCHED - {State.ROLLBACK_RECOMMENDED},
    }


def _sheet_context(sheet: SignatureSheet, user: User, found: Rollout, now: Any) -> dict[str, Any]:
    """A document with its signatures, and the roles in which this person may sign it."""
    missing = sheet.missing(now)
    signed = {approval.user_id for approval in sheet.approvals}
    may = [role for role in missing if user.has_role(role)]
    blocked = ""
    if user.pk == found.created_by_id:
        blocked = "You created this rollout, so others sign it."
    elif user.pk in signed:
        blocked = "You have signed this document."
    by_role = {approval.role: approval for approval in sheet.approvals}
    return {
        "sheet": sheet,
        "rows": [(Role(role).label, by_role.get(role)) for role in sheet.required],
        "missing": [Role(role).label for role in missing],
        "roles": [(role, Role(role).label) for role in may] if not blocked else [],
        "blocked": blocked if missing else "",
    }


def _rollout_actions(found: Rollout, picture: selectors.Board, sheet: SignatureSheet | None, now: Any) -> list[Action]:
    """What may be done with the rollout as a whole."""
    states = {row.view.lane.state for row in picture.rows}
    actions = []
    if not states - {State.DRAFT}:
        words = ["The plan is frozen; whoever must sign sees exactly this."]
        actions.append(
            Action("submit", "Submit for signatures", "Submit this rollout?", words, primary=True, asks_reason=False)
        )
    if sheet is not None:
        waiting = sheet.missing(now)
        words = ["The first stage is drawn: its devices get the release, the control group stays on its own."]
        if waiting:
            words.append(f"Signatures are missing: {', '.join(waiting)}. Starting is refused until they are there.")
        actions.append(
            Action(
                "start",
                "Start",
                "Start this rollout?",
                words,
                primary=not waiting,
                asks_reason=False,
                evidence_hash=sheet.evidence.sha256,
            )
        )
    if states == {State.AWAITING_APPROVAL}:
        words = ["Signatures given so far end with the document that they signed."]
        actions.append(Action("revise", "Take back", "Take this rollout back into drafting?", words))
    return actions
