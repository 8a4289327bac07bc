"""GET /healthz: which part of the product is away, for probes and for people who cannot log in because of it."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import loader
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from fleet.selectors.health import NAMES, Health, health
from fleet.status import BAD

RETRY_AFTER_S = 5


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """JSON, or a page for whoever accepts HTML; 503 while the database is away, 200 otherwise. No log-in, no secret."""
    # By name: `*/*` is what programs send.
    if "text/html" in request.headers.get("Accept", ""):
        return health_page()
    found = health(timezone.now())
    return _with_status(JsonResponse(found.to_dict()), found.state)


def health_page() -> HttpResponse:
    """The page, made without session and log-in, which would need the database."""
    found = health(timezone.now())
    return _with_status(_page(found, refused=False), found.state)


def away_page() -> HttpResponse | None:
    """The page while the database is away, for one that would ask for a log-in first; None while it is there."""
    return health_page() if health(timezone.now()).state == NAMES[BAD] else None


def unavailable_page() -> HttpResponse:
    """The same page in place of one that the database did not answer for, 503 also where it answers again by now."""
    return _with_status(_page(health(timezone.now()), refused=True), NAMES[BAD])


def _page(found: Health, *, refused: bool) -> HttpResponse:
    context = {"health": found, "refused": refused, "retry_after_s": RETRY_AFTER_S}
    return HttpResponse(loader.render_to_string("fleet/health.html", context))


def _with_status(answer: HttpResponse, state: str) -> HttpResponse:
    if state == NAMES[BAD]:
        answer.status_code = 503
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer
