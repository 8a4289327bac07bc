"""Ingest health: why is my data not on the chart?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from fleet import page
from fleet.exceptions import InvalidInput
from fleet.tables import csv_response
from telemetry.api.ingest_health import device_rows, reason_row
from telemetry.reasons import remedy_of
from telemetry.selectors.ingest_health import IngestHealth, Reason, ingest_health
from telemetry.views.question import Question


@login_required
@require_GET
def ingest(request: HttpRequest) -> HttpResponseBase:
    """Completeness, every reason for a refusal with a sample, and the devices with trouble, the worst first."""
    moment = timezone.now()
    state = page.context(request, now=moment, filters=("hardware_target", "region", "group"))
    params = {**request.GET.dict(), "from": state["range"].start_text, "to": state["range"].end_text}
    try:
        question = Question.of(params, now=moment)
    except InvalidInput as refusal:
        return render(request, "telemetry/ingest.html", {**state, "refusal": refusal.detail}, status=422)
    health = ingest_health(question.selection, start=state["range"].start, end=state["range"].end)
    rows = list(device_rows(health))
    if request.GET.get("format") in ("csv", "json"):
        return _file(request.GET, rows, health)
    return render(
        request,
        "telemetry/ingest.html",
        {
            **state,
            "health": health,
            "devices": rows,
            "reasons": [_reason(reason) for reason in health.reasons],
            "device": params.get("device", ""),
            "question": question,
            "verdict": _in_words(health),
        },
    )


def _file(wanted: Mapping[str, str], devices: list[dict[str, Any]], health: IngestHealth) -> HttpResponseBase:
    """One of the page's two tables as a file: `table=reasons`, or else the devices."""
    name, rows = "ingest-health", devices
    if wanted.get("table") == "reasons":
        name = "ingest-reasons"
        rows = [{**reason_row(one), "remedy": remedy_of(one.status, one.code)} for one in health.reasons]
    if wanted["format"] == "csv":
        return csv_response(name, list(rows[0]) if rows else ["device"], rows)
    disposition = {"Content-Disposition": f'attachment; filename="{name}.json"'}
    return JsonResponse(rows, safe=False, encoder=DjangoJSONEncoder, headers=disposition)


def _reason(reason: Reason) -> dict[str, Any]:
    """A reason with its remedy, and its sample as text."""
    sample = reason.sample
    shown = ""
    if sample is not None:
        shown = sample.body or sample.body_base64 or (json.dumps(sample.record, indent=1) if sample.record else "")
    return {
        "reason": reason,
        "sample": sample,
        "text": shown[:2000],
        "remedy": remedy_of(reason.status, reason.code),
    }


def _in_words(health: IngestHealth) -> list[str]:
    """The answer to the page's question in sentences, the largest loss first."""
    arrived = health.arrived
    words = []
    if arrived.received == 0 and not health.reasons:
        return ["Nothing was received in this range, and nothing was refused: no device sent anything."]
    refused = sum(reason.count for reason in health.reasons if reason.status)
    rejected = sum(reason.count for reason in health.reasons if not reason.status)
    losses = [
        (arrived.missing, f"about {arrived.missing:,.0f} inferences are in batches that never came"),
        (arrived.dropped, f"devices say that they dropped {arrived.dropped:,.0f} inferences"),
        (rejected, f"{rejected:,} {_were('record', rejected)} refused one by one"),
        (refused, f"{refused:,} whole {_were('request', refused)} refused"),
    ]
    words += [text for count, text in sorted(losses, key=lambda loss: -loss[0]) if count]
    silent = arrived.devices_expected - arrived.devices_reporting
    if silent > 0:
        words.append(f"{silent} of {arrived.devices_expected} expected devices sent nothing")
    return [f"{word[0].upper()}{word[1:]}." for word in words] or [
        "Everything that devices are known to have measured has arrived."
    ]


def _were(noun: str, count: int) -> str:
    """The noun with its verb: record was, records were."""
    return f"{noun} was" if count == 1 else f"{noun}s were"
