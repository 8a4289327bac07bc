"""Analysis with a browser: a selection by form and by drag, drilling down into compare, a zoom in time."""

import re

import pytest

from tests.browser.conftest import PHONE

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


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
