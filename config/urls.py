"""Every address of the product: pages, REST under /api/v1/, the OpenAPI description, and the Django admin."""

from types import ModuleType

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.urls.resolvers import RoutePattern
from drf_spectacular.views import SpectacularAPIView

from drift import urls as drift_urls
from fleet import urls as fleet_urls
from rollouts import urls as rollouts_urls
from telemetry import urls as telemetry_urls

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


def app(namespace: str, urls: ModuleType) -> URLResolver:
    """The addresses of one app in its namespace: `page_patterns`, `api_patterns` and perhaps `root_patterns`."""
    rest = with_and_without_slash(urls.api_patterns)
    patterns = [*urls.page_patterns, *getattr(urls, "root_patterns", []), path("api/v1/", include(rest))]
    return path("", include((patterns, namespace)))


urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    app("fleet", fleet_urls),
    app("telemetry", telemetry_urls),
    app("drift", drift_urls),
    app("rollouts", rollouts_urls),
]
