"""Every page in a real browser, light and dark, desk and phone: no error, nothing off the machine, no axe finding."""

from datetime import timedelta

import pytest

from fleet.actors import Actor
from fleet.models import Device
from fleet.services import enrollment, saved_views, signing_keys, tokens
from tests.browser.accessibility import violations
from tests.browser.conftest import DESK, NARROW, PHONE

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ENROLLMENT = ("devices", "keys", "tokens", "people", "signing", "roles")
# Without plotly.js, which is cached and loaded only where a chart is.
MOST_BYTES = 150_000


def pages(field_day, cast) -> list[str]:
    """Addresses of all pages that the field day gives something to show."""
    device = next(iter(field_day.field.devices))
    alarm = cast.workload.alarm_set.get()
    return [
        "/?from=-6h",
        "/devices/",
        "/devices/?hardware_target=orin-nx-16&sort=energy&tz=local",
        f"/devices/{device}/?from=-6h&tz=site",
        f"/devices/{device}/sticker/",
        "/releases/?from=-6h",
        f"/releases/{cast.candidate.pk}/?from=-6h",
        "/rollouts/",
        f"/rollouts/{field_day.rollout.pk}/",
        f"/rollouts/{field_day.rollout.pk}/?lane=hailo-8",
        "/rollouts/new/",
        "/alarms/",
        f"/alarms/{alarm.pk}/",
        "/explore/?from=-6h&workload=lane-assist&sel_from=-2h&sel_low=20",
        "/compare/?from=-6h&workload=lane-assist&release=4.2.0&against=4.1.0",
        "/energy/?from=-6h",
        "/budgets/?from=-6h",
        "/qualifications/",
        "/labels/",
        "/drift/",
        "/drift/slow/",
        "/drift/creep/",
        "/retrospectives/",
        "/retrospectives/new/",
        "/retrospectives/history/",
        "/ingest/?from=-6h",
        *(
            f"/enrollment/?part={part}&state=any"
            for part in ("devices", "keys", "tokens", "people", "signing", "roles")
        ),
        "/status/",
        "/audit/?from=-7d",
        f"/rollouts/new/?release={cast.candidate.pk}",
        "/qualifications/",
        "/webhooks/",
        f"/decisions/{field_day.rollout.evidence.first().sha256}/",
        "/no-such-page/",
    ]


@pytest.fixture
def at_the_door(field_day, cast, make_device) -> None:
    """A device that waits, one that is suspended, a key, tokens and a signing key, so that no list is empty."""
    actor, now = Actor.of_user(cast.administrator), field_day.now
    make_device("door-1", status=Device.Status.PENDING)
    make_device("door-2", status=Device.Status.SUSPENDED)
    enrollment.create_key(name="Line 7", actor=actor, now=now, max_uses=5, expires_at=now + timedelta(days=3))
    tokens.issue_device_token(Device.objects.get(serial="door-2"), actor=actor, now=now)
    tokens.issue_api_token(cast.administrator, "Device CI", ["fleet:read"], actor=actor, now=now)
    signing_keys.register_signing_key(name="build", public_key="d7" * 32, actor=actor, now=now)
    saved_views.save_view(
        owner=cast.administrator, name="Hot", path="/devices/", query="seen=online", shared=True, actor=actor, now=now
    )


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_every_page_is_sound_in_light_and_in_dark(visit, field_day, at_the_door, cast, width):
    opened = visit("/login/", cast.administrator, width=width)
    wrong = []
    for path in pages(field_day, cast):
        expected = 404 if path == "/no-such-page/" else 200
        opened.page.set_viewport_size({"width": width, "height": 900})
        opened.use_theme("light")
        status = opened.go(path)
        found = [] if status == expected else [f"answered {status}"]
        opened.show_everything()
        if opened.bytes_sent > MOST_BYTES:
            found.append(f"{opened.bytes_sent} bytes before its charts")
        found += [f"light: {text}" for text in violations(opened.page)]
        opened.use_theme("dark")
        found += [f"dark: {text}" for text in violations(opened.page)]
        found += [text for text in opened.problems if expected == 200 or "status of 404" not in text]
        for window in (PHONE, NARROW) if width == PHONE else (DESK,):
            opened.page.set_viewport_size({"width": window, "height": 900})
            found += filter(None, [opened.overflow()])
        wrong += [f"{path} at {width}: {text}" for text in found]
    assert not wrong, "\n".join(wrong)


def test_the_log_in_page_is_sound_and_lets_in(visit, cast):
    for width, theme in ((DESK, "light"), (PHONE, "dark")):
        opened = visit("/login/", width=width, theme=theme)
        assert opened.problems + violations(opened.page) == []
    cast.engineer.set_password("ridges and canaries")
    cast.engineer.save()
    page = visit("/login/?next=/alarms/").page
    page.get_by_label("User name").fill(cast.engineer.username)
    page.get_by_label("Password").fill("ridges and canaries")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/alarms/")


def test_the_theme_is_kept_and_charts_follow_it(visit, field_day, cast):
    opened = visit(f"/releases/{cast.candidate.pk}/?from=-6h", cast.engineer)
    page = opened.page
    page.wait_for_selector(".js-plotly-plot .main-svg")
    colour = "getComputedStyle(document.querySelector('.js-plotly-plot .xtick text')).fill"
    before = page.evaluate(colour)
    page.locator("summary[aria-label=Theme]").click()
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.wait_for_function(f"() => {colour} !== '{before}'")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_the_table_under_a_chart_has_the_numbers_of_the_chart(visit, field_day, cast):
    page = visit(f"/releases/{cast.candidate.pk}/?from=-6h", cast.engineer).page
    page.wait_for_selector(".js-plotly-plot .main-svg")
    chart = page.locator("[data-figure-url*='/figures/latency/']")
    chart.get_by_role("button", name="Table").click()
    rows = chart.locator("table tbody tr")
    rows.first.wait_for()
    answer = page.request.get(f"{page.url.split('/releases')[0]}{chart.get_attribute('data-figure-url')}").json()
    assert rows.count() == len(answer["table"]["rows"])


def test_keys_search_step_and_explain(visit, field_day, cast):
    opened = visit("/?from=-6h", cast.engineer)
    page = opened.page
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("[")
    page.wait_for_url("**from=2026-**")
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.wait_for_url("**/devices/")
