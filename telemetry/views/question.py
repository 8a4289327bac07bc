"""What a chart or panel is asked, read from the query string of its page, and how a chart is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.module_loading import import_string
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET

from fleet import timerange
from fleet.exceptions import InvalidInput
from fleet.models import HardwareTarget, Workload
from fleet.problems import problem_response
from fleet.selectors.budgets import current_budget
from fleet.tables import csv_response, json_response
from fleet.timerange import TimeRange
from telemetry.charts import Chart, Empty, Footing, Marker
from telemetry.charts.figure import SERIES
from telemetry.resolution import NICE_STEPS
from telemetry.selectors.absence import why_empty
from telemetry.selectors.adoption import arrivals
from telemetry.selectors.completeness import completeness
from telemetry.selectors.selection import Selection, parse_group_by, parse_selection
from telemetry.selectors.series import SeriesGroup, series_step
from telemetry.services.folding import catch_up

# More lines than this nobody can tell apart; the busiest are drawn, the rest is named in the footing.
MOST_GROUPS = SERIES - 1
MOST_MARKERS = 6
MOST_POINTS = 120


@dataclass(frozen=True)
class Question:
    """A selection over a range as of now; `params` is the query string as plain text by name."""

    params: Mapping[str, str]
    selection: Selection
    range: TimeRange
    now: datetime
    as_of: datetime

    @classmethod
    def of(cls, params: Mapping[str, str], *, now: datetime, default: str = timerange.DEFAULT) -> Question:
        """Read a query string; `against` names a second release beside `release`.

        Raises:
            InvalidInput: naming each parameter that makes no sense.
        """
        chosen = dict(params)
        if chosen.get("release") and chosen.get("against"):
            chosen["release"] = f"{chosen['release']},{chosen['against']}"
        return cls(
            chosen,
            parse_selection(chosen),
            timerange.parse(chosen.get("from"), chosen.get("to"), now=now, default=default),
            now,
            catch_up(now),
        )

    @property
    def end(self) -> datetime:
        """The end of the range, or now where the range reaches beyond it."""
        return min(self.range.end, self.now)

    @property
    def step(self) -> timedelta:
        """The step that suits the range and what is still kept: enough points for a shape, few enough to be steady."""
        least = (self.end - self.range.start) / MOST_POINTS
        wanted = next((step for step in NICE_STEPS if step >= least), least)
        return series_step(self.selection, self.range.start, self.end, now=self.now, wanted=wanted)

    @property
    def one_cell(self) -> tuple[Workload, HardwareTarget] | None:
        """The workload and hardware target, where exactly one of each is named: only then a budget applies."""
        targets = self.selection.hardware_target_ids
        if self.selection.workload_id is None or targets is None or len(targets) != 1:
            return None
        return Workload.objects.get(pk=self.selection.workload_id), HardwareTarget.objects.get(pk=targets[0])

    def limit(self, name: str) -> float | None:
        """The hard limit of the budget that applies, if any."""
        cell = self.one_cell
        budget = current_budget(*cell) if cell else None
        return budget.hard_limits.get(name) if budget else None

    @property
    def devices_query(self) -> str:
        """The filters of this question for the devices page, to be followed by more parameters."""
        names = ("workload", "release", "hardware_target", "region", "group")
        return urlencode({name: self.params[name] for name in names if self.params.get(name)})

    def markers(self) -> list[Marker]:
        """When releases arrived and stages of rollouts began or ended within the range, the newest few of each."""
        span = {"start": self.range.start, "end": self.end}
        found = [Marker(moment, version) for moment, version in arrivals(self.selection, **span)[-MOST_MARKERS:]]
        for source in settings.CHART_MARKS:
            marks = import_string(source)(self.selection, **span)
            found += [Marker(moment, label, "--accent") for moment, label in marks[-MOST_MARKERS:]]
        return sorted(found, key=lambda marker: marker.time)

    def footing(
        self,
        *,
        count: int,
        unit: str = "inferences",
        resolution: timedelta | str = "",
        left_out: int = 0,
        notes: Sequence[str] = (),
    ) -> Footing:
        """What a chart of this question rests on."""
        arrived = completeness(self.selection, start=self.range.start, end=self.end)
        shown = [f"{left_out} smaller groups not drawn"] if left_out else []
        return Footing(
            as_of=min(self.as_of, self.range.end),
            count=count,
            unit=unit,
            resolution=words(resolution) if isinstance(resolution, timedelta) else resolution,
            completeness=arrived.share,
            notes=[*shown, *notes],
        )

    def nothing(self) -> Chart:
        """An empty chart with its cause."""
        cause, refused = why_empty(self.selection, start=self.range.start, end=self.end)
        empty = {
            "no_device": lambda: Empty.no_device(address("fleet:enrollment")),
            "not_measured": lambda: Empty.not_measured(self.range.words),
            "filtered_out": lambda: Empty.filtered_out(""),
            "still_aggregating": Empty.still_aggregating,
            "rejected": lambda: Empty.rejected(refused, address("telemetry:ingest")),
            "no_data_in_range": lambda: Empty.no_data_in_range(self.range.words),
        }[cause]()
        return Chart.nothing(empty, Footing(as_of=self.as_of))


def figure(name: str, *, default: str = timerange.DEFAULT) -> Callable[[Callable[[Question], Chart]], Callable]:
    """Turn a function from question to chart into a view: JSON for the page, the table with `format=csv` or `json`."""

    def decorate(build: Callable[[Question], Chart]) -> Callable[[HttpRequest], HttpResponse]:
        @login_required
        @require_GET
        @gzip_page
        @wraps(build)
        def view(request: HttpRequest) -> HttpResponse:
            try:
                chart = build(Question.of(request.GET.dict(), now=timezone.now(), default=default))
            except InvalidInput as refusal:
                errors = [
                    {"field": field, "message": text, "code": refusal.code} for field, text in refusal.errors.items()
                ]
                return problem_response(422, refusal.code, refusal.detail, errors=errors)
            return answer(chart, name, request.GET.get("format", ""))

        return view

    return decorate


def answer(chart: Chart, name: str, form: str) -> HttpResponseBase:
    """A chart as its page wants it, or its table as a file."""
    plain = chart.to_dict()
    table = plain["table"]
    if form == "csv":
        return csv_response(
            name, table["columns"], (dict(zip(table["columns"], row, strict=True)) for row in table["rows"])
        )
    if form == "json":
        return json_response(name, table["rows"], about={"name": name, **plain["foot"], "columns": table["columns"]})
    return JsonResponse(plain, headers={"Cache-Control": "private, no-store"})


def address(route: str) -> str:
    """The address of a page, empty while no such page exists."""
    try:
        return reverse(route)
    except NoReverseMatch:
        return ""


def group_by(question: Question, default: tuple[str, ...] = ("release",)) -> tuple[str, ...]:
    """The dimensions that `group_by` names, else the default ones."""
    named = question.params.get("group_by")
    if named is not None:
        return parse_group_by(named, devices=question.selection.device_ids is not None)
    return default


def busiest(groups: Sequence[SeriesGroup], most: int = MOST_GROUPS) -> tuple[list[SeriesGroup], int]:
    """The groups with the most inferences in the order given, and how many were left out."""
    ranked = sorted(groups, key=lambda group: int(group.count.sum()), reverse=True)[:most]
    kept = [group for group in groups if any(group is one for one in ranked)]
    return kept, len(groups) - len(kept)


def window_notes(groups: Sequence[SeriesGroup]) -> list[str]:
    """What to say where a point stands for more than its own step."""
    return ["windows are drawn over all of their length"] if any(group.has_windows for group in groups) else []


def group_label(group: Mapping[str, str]) -> str:
    """A group as people read it: its public names side by side."""
    return " · ".join(value or "none" for value in group.values()) or "all"


def words(step: timedelta) -> str:
    """A step in words: 5 min, 1 h, 1 d."""
    seconds = int(step.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def answer_refusal(request: HttpRequest, refusal: InvalidInput) -> HttpResponse:
    """A panel's answer to bad input: the sentence in its place (htmx swaps only what is answered with 200)."""
    context = {"kind": "hold", "title": "This was not understood", "text": refusal.detail}
    return render(request, "_alert.html", context)
