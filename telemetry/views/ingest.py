"""Ingest health: why is my data not on the chart?"""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from fleet import page
from fleet.exceptions import InvalidInput
from fleet.status import words_of_seconds
from fleet.tables import table_response
from telemetry.api.ingest_health import (
    DEVICE_COLUMNS,
    LATE_COLUMNS,
    REASON_COLUMNS,
    device_rows,
    late_row,
    reason_row,
)
from telemetry.reasons import remedy_of
from telemetry.selectors.ingest_health import MOST_DEVICES, IngestHealth, Reason, ingest_health
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
    form = request.GET.get("format", "")
    # a file holds all devices with trouble, the page the worst
    limit = None if form in ("csv", "json") else MOST_DEVICES
    health = ingest_health(question.selection, start=state["range"].start, end=state["range"].end, limit=limit)
    if file := _file(request.GET.get("table", ""), form, health):
        return file
    return render(
        request,
        "telemetry/ingest.html",
        {
            **state,
            "health": health,
            "devices": list(device_rows(health)),
            "late": [(row, words_of_seconds(row.oldest.total_seconds())) for row in health.late if row.oldest],
            "reasons": [_reason(reason) for reason in health.reasons],
            "device": params.get("device", ""),
            "question": question,
            "verdict": _in_words(health),
        },
    )


def _file(table: str, form: str, health: IngestHealth) -> HttpResponseBase | None:
    """One of the page's tables as the file that is asked for: `reasons`, `late`, or else the devices."""
    if table == "reasons":
        rows = [{**reason_row(one), "remedy": remedy_of(one.status, one.code)} for one in health.reasons]
        return table_response(form, "ingest-reasons", REASON_COLUMNS, rows)
    if table == "late":
        return table_response(form, "ingest-late", LATE_COLUMNS, map(late_row, health.late))
    return table_response(form, "ingest-health", DEVICE_COLUMNS, device_rows(health))


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
    # the ledger counts all of them, the quarantine keeps no more than its bounds allow
    rejected = max(health.rejected, sum(reason.count for reason in health.reasons if not reason.status))
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
    words = words or ["everything that devices are known to have measured has arrived"]
    if health.late_batches:
        how = "batch" if health.late_batches == 1 else "batches"
        words.append(
            f"{health.late_records:,} inferences came late, in {health.late_batches:,} {how}; they are in their own "
            "place all the same"
        )
    return [f"{word[0].upper()}{word[1:]}." for word in words]


def _were(noun: str, count: int) -> str:
    """The noun with its verb: record was, records were."""
    return f"{noun} was" if count == 1 else f"{noun}s were"
