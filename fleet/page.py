"""The state of a page: time range, filters and zone, all of it in the query string and shared by every app's pages."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import NoReverseMatch, reverse
from django.utils.http import url_has_allowed_host_and_scheme

from fleet import timerange
from fleet.exceptions import InvalidInput
from fleet.models import DeviceGroup, HardwareTarget, Region, Release, Workload
from fleet.scopes import scopes_of_user
from fleet.selectors.saved_views import same_query, views_of_page

# Parameters that are not filters: they survive a change of filter, and a change of range.
RANGE = ("from", "to")
ZONES = (("utc", "UTC"), ("local", "Local"), ("site", "Site"))
KEPT_WITH_FILTERS = ("from", "to", "tz", "q", "sort")


@dataclass(frozen=True)
class Choice:
    """One filter of a page: name in the query string, label, what is chosen, and (value, text) to choose from."""

    name: str
    label: str
    value: str
    options: Sequence[tuple[str, str]]


def context(
    request: HttpRequest,
    *,
    now: datetime,
    filters: Iterable[str] = (),
    more: Iterable[Choice] = (),
    default: str = timerange.DEFAULT,
    stage_of: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What templates/_time_range.html and templates/_filters.html need; `more` are filters of the app that calls.

    `stage_of` names the release or device whose newest rollout stage "this stage" means; without it the filters do.

    A range that makes no sense is answered by the default range and a sentence in `range_error`: a page that was opened
    with a mistyped address shows something, and says what.
    """
    params = request.GET
    error = ""
    try:
        chosen = timerange.parse(params.get("from"), params.get("to"), now=now, default=default)
    except InvalidInput as refusal:
        error = " ".join(refusal.errors.values())
        chosen = timerange.parse(None, None, now=now, default=default)
    error = " ".join(part for part in (error, timerange.bad_zone(params.get("tz"))) if part)
    shown = [*(CHOICES[name](params) for name in filters), *more]
    return {
        "now": now,
        "range": chosen,
        "range_error": error,
        "presets": timerange.PRESETS,
        "zones": ZONES,
        "filters": shown,
        "filters_active": sum(bool(choice.value) for choice in shown),
        "kept_with_filters": [(name, params[name]) for name in KEPT_WITH_FILTERS if params.get(name)],
        "kept_with_range": [(name, value) for name, value in params.items() if name not in RANGE and value],
        "query": query(params, chosen),
        "zone": zone(params),
        "site_zone": _site_zone(params),
        "stage_address": _stage_address(request, stage_of),
        "views": saved_views(request) if shown else (),
        "address": request.get_full_path(),
    }


def query(params: QueryDict, chosen: timerange.TimeRange, **more: str) -> str:
    """The query string as it goes on to panels and charts, with its question mark; `more` replaces what is there.

    The range stands in it even where the page took its default, so that every panel shows the same.
    """
    kept = params.copy()
    kept["from"] = chosen.preset or chosen.start_text
    if not chosen.preset:
        kept["to"] = chosen.end_text
    for name, value in more.items():
        kept[name] = value
    return f"?{kept.urlencode()}"


def saved_views(request: HttpRequest) -> list[dict[str, Any]]:
    """The saved views of this page: each with whether it is what is shown, and whether the reader may change it."""
    if not request.user.is_authenticated:
        return []
    here = request.META.get("QUERY_STRING", "")
    return [
        {
            "view": view,
            "current": same_query(view.query, here),
            "mine": view.owner_id == request.user.pk or request.user.is_administrator,
        }
        for view in views_of_page(request.user, request.path)
    ]


def safe_address(request: HttpRequest, address: str, otherwise: str) -> str:
    """An address within the product, as a form sent it; `otherwise` where it leads elsewhere."""
    inside = address.startswith("/") and url_has_allowed_host_and_scheme(address, allowed_hosts=None)
    return address if inside else otherwise


def without_range(query: str) -> str:
    """A query string without its time range: the page then opens with its usual one."""
    kept = QueryDict(query, mutable=True)
    for name in RANGE:
        kept.pop(name, None)
    return kept.urlencode()


def zone(params: QueryDict) -> str:
    """The zone in which the page shows times: utc, local, site, or a name of the IANA database."""
    text = params.get("tz") or "utc"
    return text.lower() if text.lower() in timerange.ZONES else text


def _site_zone(params: QueryDict) -> str:
    """The time zone of the region that the page is narrowed to, "" where there is none."""
    slug = params.get("region")
    return (Region.objects.filter(slug=slug).values_list("timezone", flat=True).first() or "") if slug else ""


def _stage_address(request: HttpRequest, stage_of: Mapping[str, str] | None) -> str:
    """Where "this stage" leads on a page about a release or a device; "" elsewhere."""
    wanted = dict(stage_of or {})
    if not wanted and request.GET.get("release"):
        wanted = {name: request.GET[name] for name in ("workload", "release") if request.GET.get(name)}
    if not wanted:
        return ""
    try:
        address = reverse("rollouts:this-stage")
    except NoReverseMatch:
        return ""
    return f"{address}?{urlencode({**wanted, 'back': request.get_full_path()})}"


def needs_scope(scope: str) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """Open a page's action to people whose roles give them the scope; others get the page that says so."""

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @login_required
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if scope not in scopes_of_user(request.user):
                raise PermissionDenied(f"This needs the right {scope}.")
            return view(request, *args, **kwargs)

        return checked

    return decorate


def _slugs(name: str, label: str, kind: type) -> Callable[[QueryDict], Choice]:
    return lambda params: Choice(
        name,
        label,
        params.get(name, ""),
        [(slug, slug) for slug in kind.objects.order_by("slug").values_list("slug", flat=True)],
    )


def _releases(params: QueryDict) -> Choice:
    releases = Release.objects.exclude(status=Release.Status.DRAFT).order_by("workload__slug", "-created_at")
    if params.get("workload"):
        releases = releases.filter(workload__slug=params["workload"])
    versions = list(dict.fromkeys(releases.values_list("version", flat=True)))[:200]
    return Choice("release", "Release", params.get("release", ""), [(version, version) for version in versions])


CHOICES: dict[str, Callable[[QueryDict], Choice]] = {
    "workload": _slugs("workload", "Workload", Workload),
    "hardware_target": _slugs("hardware_target", "Hardware target", HardwareTarget),
    "region": _slugs("region", "Region", Region),
    "group": _slugs("group", "Group", DeviceGroup),
    "release": _releases,
}
