"""Every page of the menus before any device has reported: the first thing that a new installation shows."""

from urllib.parse import urlsplit

import pytest
from django.urls import URLPattern

from drift import urls as drift_urls
from fleet import urls as fleet_urls
from rollouts import urls as rollouts_urls
from telemetry import urls as telemetry_urls
from tests.browser.accessibility import violations
from tests.browser.conftest import DESK, PHONE

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

# Parts of pages and charts' numbers.
NO_PAGES = ("panels/", "figures/", "logout/")


def addresses() -> list[str]:
    """Every page without a parameter, from the routes, so that a new page is looked at from its first day."""
    patterns = [p for urls in (fleet_urls, telemetry_urls, drift_urls, rollouts_urls) for p in urls.page_patterns]
    routes = [str(p.pattern) for p in patterns if isinstance(p, URLPattern)]
    return [f"/{route}" for route in routes if "<" not in route and not route.startswith(NO_PAGES)]


def shown(client) -> list[str]:
    """Those of the addresses that show a page: some only take a POST (405), some only lead on (302)."""
    answers = {path: client.get(path).status_code for path in addresses()}
    assert set(answers.values()) <= {200, 302, 405}, answers
    return [path for path, status in answers.items() if status == 200]


def test_every_page_is_sound_on_an_empty_fleet(visit, cast, browser_client):
    """Each is loaded once, on a desk in light, and then shown as a phone in the dark would."""
    paths = shown(browser_client(cast.administrator))
    assert {"/", "/devices/", "/releases/", "/rollouts/", "/alarms/", "/enrollment/", "/status/", "/audit/"} <= set(
        paths
    )
    opened = visit("/login/", cast.administrator)
    page, wrong = opened.page, []
    for path in paths:
        page.set_viewport_size({"width": DESK, "height": 900})
        opened.use_theme("light")
        status = opened.go(path)
        found = [] if status == 200 else [f"answered {status}"]
        if urlsplit(page.url).path != path:
            found.append(f"went on to {page.url}")
        for width, theme in ((DESK, "light"), (PHONE, "dark")):
            page.set_viewport_size({"width": width, "height": 900})
            opened.use_theme(theme)
            opened.settle()
            found += [f"{theme}: {text}" for text in violations(page)]
            found += filter(None, [opened.overflow()])
        wrong += [f"{path}: {text}" for text in found + opened.problems]
    assert not wrong, "\n".join(wrong)
