"""A real Chromium in front of the product, with a fleet in the field behind it."""

import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, Error, Page, sync_playwright

from drift.models import Alarm
from drift.services.alarms import Sighting, raise_alarm
from fleet.models import User
from rollouts.machine import State
from tests.rollouts.conftest import draft, make_fleet, play, qualify, start  # noqa: F401

DESK, PHONE, NARROW = 1400, 390, 320
# The page is whole: no panel is on its way, and every chart that can be seen is drawn or says why it is empty.
SETTLED = """() => {
  if (document.readyState !== "complete") return false;
  if (document.querySelector(".htmx-request, .skeleton:not(.chart__plot .skeleton)")) return false;
  return [...document.querySelectorAll("[data-figure-url]")].every((chart) => {
    const { top, bottom } = chart.getBoundingClientRect();
    if (!chart.checkVisibility() || bottom <= 0 || top >= window.innerHeight) return true;
    return !chart.dataset.loading && chart.querySelector("[data-plot] > .plot-container, [data-plot] > .empty");
  });
}"""
OVERFLOW = """(width) => {
  if (document.documentElement.scrollWidth <= width) return "";
  const clipped = (node) => node && (getComputedStyle(node).overflowX !== "visible" || clipped(node.parentElement));
  const right = (node) => Math.round(node.getBoundingClientRect().right);
  const wide = [...document.body.querySelectorAll("main *")].filter((node) =>
    node.checkVisibility() && right(node) > width + 1 && !clipped(node.parentElement));
  const widest = wide.sort((a, b) => right(a) - right(b)).at(-1)?.outerHTML.slice(0, 200);
  return `${document.documentElement.scrollWidth} px wide in a window of ${width}: ${widest}`;
}"""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium; the path is taken from RIDGELINE_CHROMIUM where it is not called `chromium`."""
    path = os.environ.get("RIDGELINE_CHROMIUM") or shutil.which("chromium")
    assert path, "No chromium on the PATH; install it, or name it in RIDGELINE_CHROMIUM."
    # playwright's event loop runs in this thread, and so does the ORM
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page that is open in the browser, and what went wrong on it."""

    page: Page
    address: str
    problems: list[str] = field(default_factory=list)
    # of everything but plotly.js and the figures; static files as WhiteNoise sends them, compressed
    bytes_sent: int = 0

    def go(self, path: str) -> int:
        """Open another page in the same window, with a clean slate; returns the status."""
        home = "/".join(self.address.split("/")[:3])
        self.problems.clear()
        self.bytes_sent = 0
        answer = self.page.goto(home + path)
        self.settle()
        return answer.status

    def use_theme(self, theme: str) -> None:
        """Let the system change to "light" or "dark"; the page follows without being loaded again."""
        self.page.emulate_media(color_scheme=theme)
        self.page.wait_for_function(f"() => document.documentElement.dataset.theme === '{theme}'")
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def settle(self) -> None:
        """Wait until panels and charts have come; not for a quiet network, which takes half a second to be sure."""
        self.page.wait_for_function(SETTLED)

    def show_everything(self) -> None:
        """Unfold what a phone folds and make the window as high as the page, so that every chart is drawn."""
        self.page.evaluate("document.querySelectorAll('details[data-fold]').forEach((part) => { part.open = true; })")
        height = self.page.evaluate("document.documentElement.scrollHeight")
        self.page.set_viewport_size({"width": self.page.viewport_size["width"], "height": min(height, 8000)})
        self.settle()

    def overflow(self) -> str:
        """What makes the page wider than the window; empty where it fits."""
        # not against window.innerWidth, which on a phone grows with what does not fit
        return self.page.evaluate(OVERFLOW, self.page.viewport_size["width"])


@pytest.fixture
def visit(chromium, live_server, cast) -> Iterator[Callable[..., Visit]]:
    """`visit("/devices/", cast.engineer, width=PHONE, theme="dark")` opens a page as somebody."""
    contexts = []

    def open_page(path: str, user: User | None = None, *, width: int = DESK, theme: str = "light") -> Visit:
        context = chromium.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=theme,
            reduced_motion="reduce",
            has_touch=width < DESK,
            is_mobile=width < DESK,
        )
        contexts.append(context)
        if user is not None:
            client = Client()
            client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
            cookie = client.cookies[settings.SESSION_COOKIE_NAME]
            context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": live_server.url}])
        opened = Visit(context.new_page(), f"{live_server.url}{path}")
        _listen(opened, live_server.url)
        opened.page.goto(opened.address)
        opened.settle()
        return opened

    yield open_page
    for context in contexts:
        context.close()


def _listen(opened: Visit, home: str) -> None:
    """Note console errors, exceptions, refused answers, and every request that leaves the machine."""
    page, host = opened.page, urlsplit(home).netloc

    def on_console(message) -> None:
        if message.type in ("error", "warning"):
            opened.problems.append(f"console {message.type}: {message.text}")

    def on_request(request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != host:
            opened.problems.append(f"request off the machine: {request.url}")

    def on_response(response) -> None:
        if response.status == 200 and "/figures/" not in response.url and "/static/plotly/" not in response.url:
            try:
                body = response.body()
            except Error:
                return  # of a page that was left before it had come
            opened.bytes_sent += len(gzip.compress(body)) if "/static/" in response.url else len(body)

    page.on("response", on_response)
    page.on("console", on_console)
    page.on("pageerror", lambda error: opened.problems.append(f"exception: {error}"))
    page.on("request", on_request)


@pytest.fixture
def clock(monkeypatch, now) -> Callable:
    """The wall clock of the server, set by hand."""

    def set_to(moment) -> None:
        monkeypatch.setattr(timezone, "now", lambda: moment)

    set_to(now)
    return set_to


@pytest.fixture
def field_day(play, clock, cast):  # noqa: F811
    """A canary that costs 15 % more energy on orin-nx-16, seen by the product, with an alarm beside it."""
    day = play(faults={("4.2.0", "orin-nx-16"): {"energy": 1.15, "latency": 1.2}}, per_target=14)
    for _ in range(12):
        day.pass_time()
        if day.states()["orin-nx-16"] == State.ROLLBACK_RECOMMENDED:
            break
    assert day.states()["orin-nx-16"] == State.ROLLBACK_RECOMMENDED
    clock(day.now)
    sighting = Sighting(
        kind=Alarm.Kind.ENERGY_DRIFT,
        severity=Alarm.Severity.CRITICAL,
        summary="Energy per inference rose on orin-nx-16 with 4.2.0.",
        started_at=day.now,
        workload_id=cast.workload.pk,
        release_id=cast.candidate.pk,
        hardware_target_id=cast.orin.pk,
        metric="energy_mean",
        effect=0.15,
        lower=0.11,
        upper=0.19,
        devices_affected=7,
    )
    raise_alarm(sighting, now=day.now)
    return day
