"""Every address of the product: pages, REST under /api/v1/, the OpenAPI description, and the Django admin."""

from importlib import import_module
from importlib.util import find_spec

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.urls.resolvers import RoutePattern
from drf_spectacular.views import SpectacularAPIView

handler404 = "config.errors.page_not_found"
handler500 = "config.errors.server_error"


def with_and_without_slash(patterns: list[URLPattern | URLResolver]) -> list[URLPattern | URLResolver]:
    """Each route in both spellings: devices and scripts post to either, and a redirect would lose the body."""
    both: list[URLPattern | URLResolver] = []
    for pattern in patterns:
        both.append(pattern)
        route = pattern.pattern
        if isinstance(pattern, URLPattern) and isinstance(route, RoutePattern) and str(route):
            text = str(route)
            other = text.removesuffix("/") if text.endswith("/") else f"{text}/"
            both.append(path(other, pattern.callback, pattern.default_args))
    return both


def app_patterns(app: str) -> list[URLResolver]:
    """The addresses of one app in its namespace: `page_patterns`, `api_patterns` and perhaps `root_patterns`."""
    if find_spec(f"{app}.urls") is None:
        return []
    urls = import_module(f"{app}.urls")
    rest = with_and_without_slash(urls.api_patterns)
    patterns = [*urls.page_patterns, *getattr(urls, "root_patterns", []), path("api/v1/", include(rest))]
    return [path("", include((patterns, app)))]


urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("", include("django_prometheus.urls")),
    *app_patterns("fleet"),
    *app_patterns("telemetry"),
    *app_patterns("drift"),
    *app_patterns("rollouts"),
]
