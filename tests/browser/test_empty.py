"""Every page of the menus before any device has reported: the first thing that a new installation shows."""

from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import URLPattern

from drift import urls as drift_urls
from fleet import urls as fleet_urls
from rollouts import urls as rollouts_urls
from telemetry import urls as telemetry_urls
from tests.browser.conftest import DESK, PHONE

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

AXE = Axe()
# WCAG 2.1, levels A and AA.
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
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


def violations(page) -> list[str]:
    """What axe finds on the page, one line per element."""
    return [
        f"{violation['id']} ({violation['impact']}): {node['html'][:160]}"
        for violation in AXE.run(page, options=RULES).response["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize(("width", "theme"), [(DESK, "light"), (PHONE, "dark")])
def test_every_page_is_sound_on_an_empty_fleet(visit, cast, browser_client, width, theme):
    paths = shown(browser_client(cast.administrator))
    assert {"/", "/devices/", "/releases/", "/rollouts/", "/alarms/", "/enrollment/", "/status/", "/audit/"} <= set(
        paths
    )
    opened = visit("/", cast.administrator, width=width, theme=theme)
    page, wrong = opened.page, []
    for path in paths:
        opened.problems.clear()
        answer = page.goto(opened.address.removesuffix("/") + path)
        opened.settle()
        found = opened.problems + violations(page)
        if answer.status != 200:
            found.append(f"answered {answer.status}")
        if urlsplit(page.url).path != path:
            found.append(f"went on to {page.url}")
        if opened.overflow() > 0:
            found.append(f"{opened.overflow()} px wider than the window")
        wrong += [f"{path}: {text}" for text in found]
    assert not wrong, "\n".join(wrong)
