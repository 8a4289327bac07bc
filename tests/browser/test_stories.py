"""Three stories, told with a browser: the engineer's, the release manager's, the operator's."""

import re
from datetime import timedelta

import pytest

from rollouts.machine import State
from tests.browser.conftest import PHONE

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_an_engineer_with_a_phone_finds_which_release_made_a_device_slower(visit, field_day, cast):
    slow = next(s for s, release in field_day.field.running.items() if release == "4.2.0" and s.startswith("orin"))
    page = visit("/?from=-6h", cast.engineer, width=PHONE).page
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Devices", exact=True).click()
    page.get_by_role("button", name="Menu").click()
    page.get_by_label("Search devices by serial").fill(slow)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/devices/{slow}/")
    page.get_by_text("In words").wait_for()
    words = page.locator("#device-now").inner_text()
    assert "4.2.0" in words and "p95" in words
    page.goto(f"{page.url}?from=-6h")
    page.wait_for_selector("#chart-lanes")
    page.locator("#chart-lanes").scroll_into_view_if_needed()
    page.wait_for_selector(".chart--lanes .main-svg")
    lanes = page.locator(".chart--lanes").inner_text()
    assert "4.1.0" in lanes and "4.2.0" in lanes
    page.get_by_role("link", name="4.2.0").first.click()
    page.wait_for_url("**/releases/*/")
    page.get_by_text("By hardware target").wait_for()


def test_an_engineer_with_a_phone_selects_what_is_slow_and_learns_what_sets_it_apart(visit, field_day, cast):
    page = visit("/?from=-6h", cast.engineer, width=PHONE).page
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name=re.compile("^Explore")).click()
    page.wait_for_url("**/explore/")
    page.goto(f"{page.url}?from=-6h&workload=lane-assist&hardware_target=orin-nx-16")
    form = page.locator("#region-form")
    form.get_by_label("Above, ms").fill("24")
    form.get_by_role("button", name="What differs?").click()
    page.wait_for_url("**sel_low=24")
    release = page.locator(".mixes .mix", has_text="Release").first
    release.wait_for()
    assert release.locator(".mix__name").first.inner_text() == "4.2.0", "the slow release comes first"
    assert "device" in page.locator("#differences").inner_text()
    release.get_by_role("link", name="4.2.0").click()
    page.wait_for_url("**release=4.2.0")
    assert "sel_low=24" in page.url, "the selection goes along"
    page.goto(page.url.replace("/explore/", "/compare/").replace("release=4.2.0", "release=4.2.0&against=4.1.0"))
    figures = page.locator("#figures-panel")
    figures.get_by_text("Same devices").first.wait_for(state="attached")
    assert "+" in figures.get_by_role("row", name=re.compile("Latency p95")).inner_text()


def test_a_region_dragged_on_the_heatmap_is_asked_about_and_stays_in_the_address(visit, field_day, cast):
    opened = visit("/explore/?from=-6h&workload=lane-assist", cast.engineer)
    page = opened.page
    plot = page.locator("[data-figure-url*='/figures/heatmap/'] .nsewdrag").first
    plot.wait_for()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.05 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.6 * box["height"], steps=5)
    page.mouse.up()
    page.wait_for_url("**sel_high=**")
    page.locator(".region__facts").wait_for()
    page.locator("[data-figure-url*='sel_high'] .shapelayer path").first.wait_for(state="attached")
    facts = page.locator(".region__facts").inner_text()
    page.reload()
    opened.settle()
    assert page.locator(".region__facts").inner_text().split(" between ")[0] == facts.split(" between ")[0]
    assert opened.problems == []


def test_a_zoom_in_time_becomes_the_range_of_the_page(visit, field_day, cast):
    opened = visit("/energy/?from=-6h&workload=lane-assist", cast.engineer)
    page = opened.page
    plot = page.locator("[data-figure-url*='/figures/energy/'] .nsewdrag").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.5 * box["height"], steps=5)
    page.mouse.up()
    page.wait_for_url(re.compile("from=2026-.*&to=2026-"))
    assert "workload=lane-assist" in page.url
    opened.settle()
    assert opened.problems == []


def test_a_release_manager_decides_on_evidence_and_prints_the_decision(visit, field_day, cast):
    opened = visit(f"/rollouts/{field_day.rollout.pk}/", cast.manager)
    page = opened.page
    page.get_by_text("Roll back is recommended").wait_for()
    page.get_by_role("button", name=re.compile("Roll back")).click()
    dialog = page.get_by_role("dialog")
    assert "devices return to 4.1.0" in dialog.inner_text()
    assert "The other lanes go on" in dialog.inner_text()
    dialog.get_by_role("button", name="Roll back").click()
    assert field_day.states()["orin-nx-16"] == State.ROLLBACK_RECOMMENDED, "a reason is asked for first"
    dialog.get_by_label("Reason").fill("Energy is over its margin")
    dialog.get_by_role("button", name="Roll back").click()
    page.get_by_text("Rolling back: orin-nx-16.").wait_for()
    assert field_day.states()["orin-nx-16"] == State.ROLLING_BACK
    assert field_day.states()["hailo-8"] not in (State.ROLLING_BACK, State.STOPPED)
    page.emulate_media(media="print")
    assert not page.locator(".bar").is_visible()
    assert page.get_by_text("Energy is over its margin").first.is_visible()
    assert len(page.pdf()) > 20_000


def test_an_operator_finds_why_the_data_of_a_device_are_missing(visit, field_day, clock, cast, device_token, client):
    device = next(iter(field_day.field.devices.values()))
    headers = {"Authorization": f"Bearer {device_token(device)}"}
    refused = client.post("/api/v1/telemetry", data="{not json", content_type="application/json", headers=headers)
    assert refused.status_code == 400
    clock(field_day.now + timedelta(minutes=1))
    page = visit("/", cast.engineer).page
    page.get_by_text("Operate").click()
    page.get_by_role("link", name=re.compile("Ingest health")).click()
    page.wait_for_url("**/ingest/")
    assert "1 whole request was refused" in page.inner_text("main")
    row = page.get_by_role("row", name=re.compile("whole request, 400"))
    row.get_by_text("Newest sample").click()
    assert "{not json" in row.inner_text()
    page.get_by_role("link", name=device.serial).first.click()
    page.wait_for_url(f"**/devices/{device.serial}/")
