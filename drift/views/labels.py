"""Labels: is it still right? The queue with its answers, accuracy per release, import and export."""

import contextlib
import csv
import io
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware
from django.views.decorators.http import require_GET, require_POST

from drift.models import Label, LabelRequest
from drift.models.labels import Sampling
from drift.selectors import labels as selectors
from drift.selectors.accuracy import MINIMUM_LABELS, ReleaseAccuracy, accuracy_by_release, signal_between
from drift.services import labels as service
from drift.stats.accuracy import TOLERATED_DROP, Accuracy
from fleet import page
from fleet.actors import Actor
from fleet.exceptions import DomainError, InvalidInput
from fleet.models import Workload
from fleet.scopes import scopes_of_user

FILTERS = ("workload", "release", "hardware_target")
DRAWN_AT_MOST = 1_000
IMPORTED_AT_MOST = 10_000
FILE_AT_MOST = 5_000_000
COLUMNS = (
    "device", "time", "true_class", "predicted_class", "release", "confidence", "sample_ref", "sampling",
    "inclusion_probability",
)  # fmt: skip
ERRORS_SHOWN = 10


@login_required
@require_GET
def labels(request: HttpRequest) -> HttpResponse:
    """The queue, and what the labels say of each release within the time range."""
    params = request.GET
    workload = _workload(params.get("workload", ""))
    if workload is None and "workload" not in params and (newest := _newest_workload()):
        return redirect(f"{request.path}?{urlencode({**params.dict(), 'workload': newest})}")
    sampling = page.Choice("sampling", "Why", params.get("sampling", ""), list(Sampling.choices[:2]))
    state = page.context(request, now=timezone.now(), filters=FILTERS, more=(sampling,), default="-30d")
    found = accuracy_by_release(workload, start=state["range"].start, end=state["range"].end) if workload else []
    return render(
        request,
        "drift/labels.html",
        {
            **state,
            "workload": workload,
            "rows": [_row(row) for row in found],
            "signals": [
                {"newer": newer.release, "older": older.release, **signal_between(older, newer)}
                for newer, older in zip(found, found[1:], strict=False)
            ],
            "tolerated_drop": TOLERATED_DROP,
            "minimum_labels": MINIMUM_LABELS,
            "ever": LabelRequest.objects.exists() or Label.objects.exists(),
            "may_label": "drift:write" in scopes_of_user(request.user),
            "columns": ", ".join(COLUMNS),
            **_queue(request, workload),
        },
    )


@login_required
@require_GET
def queue(request: HttpRequest) -> HttpResponse:
    """The next inference of the queue, as the page shows it in place."""
    return _panel(request)


@page.needs_scope("drift:write")
@require_POST
def answer(request: HttpRequest, pk: int) -> HttpResponse:
    """Label or skip an inference; htmx gets the next one in its place, a plain form the page."""
    asked = get_object_or_404(LabelRequest, pk=pk)
    try:
        if request.POST.get("skip"):
            service.skip_request(asked)
        else:
            service.answer_request(
                asked,
                true_class=request.POST.get("other", "").strip() or request.POST.get("true_class", ""),
                actor=Actor.of_request(request),
                now=timezone.now(),
            )
    except InvalidInput as refusal:
        return _next(request, " ".join(refusal.errors.values()))
    except DomainError:
        return _next(request, "Somebody else was faster with that one; this is the next.")
    return _next(request)


@page.needs_scope("drift:write")
@require_POST
def draw(request: HttpRequest) -> HttpResponse:
    """Put inferences of the last day into the queue."""
    workload = get_object_or_404(Workload, slug=request.POST.get("workload", ""))
    counts: dict[str, int] = {}
    for name in ("random", "uncertain"):
        text = request.POST.get(name, "0").strip() or "0"
        if not (text.isascii() and text.isdigit()) or int(text) > DRAWN_AT_MOST:
            messages.error(request, f"Nothing was drawn: {name} must be a number from 0 to {DRAWN_AT_MOST}.")
            return redirect(_address(workload))
        counts[name] = int(text)
    now = timezone.now()
    start, end = service.default_span(now)
    # a new seed each time: the same one would draw what is in the queue already
    drawn = service.draw_requests(workload, **counts, seed=int(now.timestamp()), start=start, end=end, now=now)
    if drawn:
        messages.success(request, f"{len(drawn)} inferences of the last day are in the queue.")
    else:
        messages.info(request, f"{workload.slug} recorded no single inference within the last day.")
    return redirect(_address(workload))


@page.needs_scope("drift:write")
@require_POST
def import_csv(request: HttpRequest) -> HttpResponse:
    """Keep the labels of a CSV file: all of them, or none with what is wrong by line."""
    workload = get_object_or_404(Workload, slug=request.POST.get("workload", ""))
    try:
        rows = read_csv(request.FILES.get("file"), workload)
        kept = service.record_labels(rows, actor=Actor.of_request(request), now=timezone.now())
    except InvalidInput as refusal:
        shown = [f"{_line(name)}: {text}" for name, text in list(refusal.errors.items())[:ERRORS_SHOWN]]
        more = len(refusal.errors) - len(shown)
        messages.error(request, f"Nothing was imported. {' '.join(shown)}{f' And {more} more.' if more > 0 else ''}")
    except DomainError as refusal:
        messages.error(request, f"Nothing was imported. {refusal}")
    else:
        messages.success(request, f"{len(kept)} labels are kept.")
    return redirect(_address(workload))


def read_csv(upload: Any, workload: Workload) -> list[dict[str, Any]]:
    """The rows of a file as drift.services.labels takes them; InvalidInput names column and line of what is wrong."""
    if upload is None:
        raise InvalidInput({"file": "Choose a file."})
    if upload.size > FILE_AT_MOST:
        raise InvalidInput({"file": f"{upload.size:,} bytes; at most {FILE_AT_MOST:,}."})
    try:
        text = upload.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput({"file": "This is no UTF-8 text."}) from None
    reader = csv.DictReader(io.StringIO(text))
    header = reader.fieldnames or []
    missing = [name for name in COLUMNS[:3] if name not in header]
    unknown = [name for name in header if name not in COLUMNS]
    if missing or unknown:
        problem = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(map(str, unknown))}, which is unknown"
        raise InvalidInput({"file": f"The first line {problem}. Columns: {', '.join(COLUMNS)}."})
    errors: dict[str, str] = {}
    rows = []
    for index, line in enumerate(reader):
        if index >= IMPORTED_AT_MOST:
            raise InvalidInput({"file": f"More than {IMPORTED_AT_MOST:,} lines."})
        rows.append(_parsed(line, workload, f"[{index}].", errors))
    if not rows:
        raise InvalidInput({"file": "There is no line after the first."})
    if errors:
        raise InvalidInput(errors)
    return rows


def _parsed(line: dict[str, str], workload: Workload, path: str, errors: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {name: value.strip() for name, value in line.items() if name and value and value.strip()}
    row["workload"] = workload.slug
    for name in COLUMNS[:3]:
        if not row.get(name):
            errors[f"{path}{name}"] = "Is empty."
    moment = None
    with contextlib.suppress(ValueError):
        moment = parse_datetime(row.get("time", ""))
    if row.get("time") and (moment is None or not is_aware(moment)):
        errors[f"{path}time"] = "Must be RFC 3339 with a zone, such as 2026-03-02T12:00:00Z."
    row["time"] = moment
    for name in ("confidence", "inclusion_probability"):
        if name in row:
            try:
                row[name] = float(row[name])
            except ValueError:
                errors[f"{path}{name}"] = "Must be a number."
                continue
            if not 0.0 <= row[name] <= 1.0:
                errors[f"{path}{name}"] = "Must lie between 0 and 1."
    if row.get("sampling") and row["sampling"] not in Sampling.values:
        errors[f"{path}sampling"] = f"Must be one of {', '.join(Sampling.values)}."
    elif row.get("sampling") == Sampling.UNCERTAIN and not row.get("inclusion_probability"):
        errors[f"{path}inclusion_probability"] = "Needed for uncertain samples."
    return row


def _line(name: str) -> str:
    """`[3].time` as people count lines of a file: the first data line is line 2."""
    if not name.startswith("["):
        return name
    index, _, column = name[1:].partition("].")
    return f"Line {int(index) + 2}, {column}"


def _workload(slug: str) -> Workload | None:
    """The workload that is named, else the only one there is."""
    if slug:
        return Workload.objects.filter(slug=slug).first()
    found = list(Workload.objects.order_by("slug")[:2])
    return found[0] if len(found) == 1 else None


def _newest_workload() -> str | None:
    """The workload whose inferences were drawn last, for whoever names none."""
    return LabelRequest.objects.order_by("-created_at", "-id").values_list("workload__slug", flat=True).first()


def _address(workload: Workload) -> str:
    return f"{reverse('drift:labels')}?workload={workload.slug}"


def _next(request: HttpRequest, problem: str = "") -> HttpResponse:
    if request.headers.get("HX-Request"):
        return _panel(request, problem)
    if problem:
        messages.error(request, problem)
    return redirect(f"{reverse('drift:labels')}?{request.GET.urlencode()}")


def _panel(request: HttpRequest, problem: str = "") -> HttpResponse:
    may_label = "drift:write" in scopes_of_user(request.user)
    if not may_label and request.method == "POST":
        raise PermissionDenied("This needs the right drift:write.")
    workload = _workload(request.GET.get("workload", ""))
    state = _queue(request, workload) | {"may_label": may_label, "workload": workload, "problem": problem}
    return render(request, "drift/_label_queue.html", state)


def _queue(request: HttpRequest, workload: Workload | None) -> dict[str, Any]:
    waiting = selectors.queue(request.GET)
    first = waiting.first()
    known = selectors.classes(first.workload) if first else []
    shown = [name for name in known if first and name != first.predicted_class][: selectors.CLASSES_SHOWN]
    return {
        "asked": first,
        "counts": selectors.counts(request.GET),
        "classes": list(enumerate(shown, start=1)),
        "all_classes": known,
        "selection": request.GET.urlencode(),
        "known_workload": workload,
    }


def _row(row: ReleaseAccuracy) -> dict[str, Any]:
    return {
        "release": row.release,
        "random": _text(row.random),
        "weighted": _text(row.weighted),
        "unlabelled": _text(row.unlabelled),
        "targets": [(slug, _text(found)) for slug, found in sorted(row.targets.items())],
        "calibration": row.calibration,
    }


def _text(found: Accuracy | None) -> dict[str, Any] | None:
    if found is None or found.estimate != found.estimate:
        return None
    return {
        "estimate": found.estimate,
        "lower": found.lower,
        "upper": found.upper,
        "labels": found.labels,
        "devices": found.devices,
        "assumption": found.assumption,
    }
