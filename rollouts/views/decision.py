"""One decision on paper: the evidence as it was frozen, who signed, what was done, what has arrived since, replayed."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from drift.charts import described_in_words
from fleet.models.people import Role
from rollouts.models import Approval, Evidence, LaneTransition, Recommendation
from rollouts.plans import CHANGE_RECORD
from rollouts.selectors.board import since_decision, table_of
from rollouts.selectors.replay import replay
from rollouts.views.pictures import change_record, gate_rows, moves


def _found(sha256: str) -> Evidence:
    rows = Evidence.objects.filter(sha256=sha256).select_related(
        "rollout__release__workload", "rollout__created_by", "lane__hardware_target", "stage"
    )
    found = rows.first()
    if found is None:
        raise Http404("No evidence has this hash.")
    return found


@login_required
@require_GET
def decision(request: HttpRequest, sha256: str) -> HttpResponse:
    """The document with this hash, with everything that was decided on it."""
    evidence = _found(sha256)
    document = json.loads(evidence.body)
    rollout = evidence.rollout
    title = (
        f"Start of {rollout.release}"
        if evidence.kind == Evidence.Kind.SUBMISSION
        else f"{rollout.release} on {evidence.lane.hardware_target.slug}"
    )
    context = {
        "evidence": evidence,
        "rollout": rollout,
        "document": document,
        "title": title,
        "signatures": [
            (approval, Role(approval.role).label)
            for approval in Approval.objects.filter(evidence=evidence).select_related("user", "stage")
        ],
        "moves": moves(
            LaneTransition.objects.filter(lane__rollout=rollout, evidence_hash=evidence.sha256)
            .select_related("lane__hardware_target", "stage")
            .order_by("at", "id")
        ),
        "change_record": change_record(rollout.change_record_rows),
        "now": timezone.now(),
        "crumbs": [
            ("Rollouts", reverse("rollouts:rollouts")),
            (str(rollout.release), reverse("rollouts:rollout", args=[rollout.pk])),
            ("Decision", None),
        ],
    }
    if evidence.kind == Evidence.Kind.SUBMISSION:
        plan = document["plan"]
        context["change_record"] = change_record(
            [(words, plan["change_record"].get(name, "")) for name, words in CHANGE_RECORD.items()]
        )
    else:
        context |= _recommendation(evidence, document)
    return render(request, "rollouts/decision.html", context)


def _recommendation(evidence: Evidence, document: dict[str, Any]) -> dict[str, Any]:
    advice = Recommendation.objects.select_related("run__stage", "run__rollout", "lane", "closed_by").filter(
        evidence=evidence
    )
    found = advice.first()
    look = document["facts"]["look"]
    table = gate_rows(table_of(look))
    completeness = document.get("completeness") or {}
    return {
        "advice": found,
        "decision": document["decision"],
        "gate": table,
        "described": described_in_words((look or {}).get("described", ())),
        "metrics": [row for row in table if row["kind"] == "metric" and row["effect"] is not None],
        "run": found.run if found else None,
        "target": document["hardware_target"],
        "since": since_decision(found, timezone.now()) if found else None,
        "exposure": document["facts"]["exposure"],
        "arms": [(arm, completeness[arm]) for arm in ("treated", "control") if isinstance(completeness.get(arm), dict)],
        "would_settle": look.get("would_settle") if look else "",
        "attribution": document.get("attribution"),
        "reverse_plan": document.get("reverse_plan"),
    }


@login_required
@require_POST
def replay_now(request: HttpRequest, sha256: str) -> HttpResponse:
    """Compute the verdict again from the frozen numbers alone, and say whether it comes out the same."""
    return render(request, "rollouts/_replay.html", {"replay": replay(_found(sha256)), "now": timezone.now()})
