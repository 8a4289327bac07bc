"""Every page of the menus before any device has reported: the first thing that a new installation shows."""

import os
import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import Client
from django.urls import URLPattern
from playwright.sync_api import Browser, Page, sync_playwright

from drift import urls as drift_urls
from fleet import urls as fleet_urls
from rollouts import urls as rollouts_urls
from telemetry import urls as telemetry_urls

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

AXE = Axe()
# WCAG 2.1, levels A and AA.
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
# Parts of pages, charts' numbers, and addresses that take a POST alone.
NO_PAGES = ("panels/", "figures/", "logout/", "tag-devices/")


@pytest.fixture(scope="module")
def own_chromium() -> Iterator[Browser]:
    """A Chromium for this file, closed behind it; the path is in RIDGELINE_CHROMIUM where it is not on the PATH."""
    path = os.environ.get("RIDGELINE_CHROMIUM") or shutil.which("chromium")
    assert path, "No chromium on the PATH; install it, or name it in RIDGELINE_CHROMIUM."
    # playwright's event loop runs in this thread, and so does the ORM
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def addresses() -> list[str]:
    """Every page without a parameter, from the routes, so that a new page is looked at from its first day."""
    patterns = [p for urls in (fleet_urls, telemetry_urls, drift_urls, rollouts_urls) for p in urls.page_patterns]
    routes = [str(p.pattern) for p in patterns if isinstance(p, URLPattern)]
    return [f"/{route}" for route in routes if "<" not in route and not route.startswith(NO_PAGES)]


def listen(page: Page, home: str) -> list[str]:
    """A list that fills with console errors, exceptions, and every request that leaves the machine."""
    heard: list[str] = []

    def on_console(message) -> None:
        if message.type in ("error", "warning"):
            heard.append(f"console {message.type}: {message.text}")

    def on_request(request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(home).netloc:
            heard.append(f"request off the machine: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: heard.append(f"exception: {error}"))
    page.on("request", on_request)
    return heard


def violations(page: Page) -> list[str]:
    """What axe finds on the page, one line per element."""
    return [
        f"{violation['id']} ({violation['impact']}): {node['html'][:160]}"
        for violation in AXE.run(page, options=RULES).response["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize(("width", "theme"), [(1400, "light"), (390, "dark")])
def test_every_page_is_sound_on_an_empty_fleet(own_chromium, live_server, cast, width, theme):
    paths = addresses()
    assert {"/", "/devices/", "/releases/", "/rollouts/", "/alarms/", "/ingest/", "/audit/"} <= set(paths)
    client = Client()
    client.force_login(cast.administrator, backend="django.contrib.auth.backends.ModelBackend")
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    wrong = []
    with own_chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce", is_mobile=width < 1000
    ) as context:
        context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": live_server.url}])
        page = context.new_page()
        heard = listen(page, live_server.url)
        for path in paths:
            heard.clear()
            answer = page.goto(live_server.url + path, wait_until="networkidle")
            found = violations(page) + heard
            if answer.status != 200:
                found.append(f"answered {answer.status}")
            # /login/ shows its form to people who are logged in, too; every other page must not send them there
            if urlsplit(page.url).path != path:
                found.append(f"went on to {page.url}")
            overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            if overflow > 0:
                found.append(f"{overflow} px wider than the window")
            wrong += [f"{path}: {text}" for text in found]
    assert not wrong, "\n".join(wrong)
