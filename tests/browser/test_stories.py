"""Three stories, told with a browser: the engineer's, the release manager's, the operator's."""

import re
from datetime import timedelta

import pytest

from rollouts.machine import State
from tests.browser.conftest import PHONE

# Devices are drawn by their ids: with the sequences set back every run tells the same story.
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True, reset_sequences=True)]


def test_an_engineer_with_a_phone_finds_the_cause_of_a_rise_in_latency(visit, field_day, cast):
    """From a serial to the release that made it slower, on one board alone, and what differs in that release."""
    slow = next(s for s, release in field_day.field.running.items() if release == "4.2.0" and s.startswith("orin"))
    page = visit("/", cast.engineer, width=PHONE).page
    page.get_by_role("button", name="Menu").click()
    page.get_by_label("Search devices by serial").fill(slow)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/devices/{slow}/")
    page.get_by_text("In words").wait_for()
    words = page.locator("#device-now").inner_text()
    assert "4.1.0" in words and "4.2.0" in words and "p95" in words
    # it is alone with that: the others of its hardware behind it
    page.get_by_role("group", name="Time range").get_by_text("6h").click()
    page.wait_for_url("**from=-6h**")
    lanes = page.locator(".chart--lanes")
    lanes.scroll_into_view_if_needed()
    lanes.locator(".main-svg").first.wait_for()
    assert "4.1.0" in lanes.inner_text() and "4.2.0" in lanes.inner_text()
    lanes.get_by_label("compare with cohort").check()
    lanes.get_by_text("and others like it").wait_for()
    # what it runs, on which boards that is slower, and what is new in it
    page.locator("#device-now").get_by_role("link", name="4.2.0").click()
    page.wait_for_url("**/releases/*/")
    matrix = page.locator("#matrix")
    matrix.get_by_role("heading", name="By hardware target").wait_for()
    rise = {}
    for row in matrix.locator("tbody tr", has_text="4.2.0").all():
        figure = row.locator("[data-label='p95 ms']").inner_text()
        change = re.search(r"([+−]?\d+\.\d)\s%", figure)
        assert change, figure
        rise[row.locator("th").inner_text()] = float(change[1].replace("−", "-"))
    assert set(rise) == {"orin-nx-16", "hailo-8"}
    assert rise["orin-nx-16"] > max(10.0, rise["hailo-8"] + 10.0)
    bom = page.get_by_role("region", name="Bill of materials").first
    assert not bom.is_visible(), "a phone folds it"
    page.get_by_role("navigation", name="On this page").get_by_role("link", name="Bill of materials").click()
    bom.wait_for()
    changed = bom.locator("tr", has_text="changed").all_inner_texts()
    assert len(changed) == 1 and changed[0].startswith("model_version")


def test_a_release_manager_decides_a_stage_and_prints_the_decision(visit, field_day, cast):
    """From the fleet home to a decision with its reason, and the decision on paper."""
    page = visit("/?from=-6h", cast.manager).page
    page.locator("#rollouts").get_by_role("link", name=re.compile("4.2.0")).first.click()
    page.wait_for_url(f"**/rollouts/{field_day.rollout.pk}/**")
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
    page.emulate_media(media="screen")
    # the page that is kept of it: on what it rests, its hash, who decided and why
    page.locator("a[href*='/decisions/']").first.click()
    page.wait_for_url("**/decisions/*/")
    page.emulate_media(media="print")
    paper = page.inner_text("main")
    assert "orin-nx-16" in paper and re.search("[0-9a-f]{64}", paper) and "Energy is over its margin" in paper
    assert not page.get_by_role("button", name=re.compile("Print")).is_visible()
    assert len(page.pdf()) > 15_000


def test_an_operator_finds_why_the_data_of_a_device_are_missing(visit, field_day, clock, cast, device_token, client):
    """From a device whose page says that something was refused to the reason, the remedy and the very bytes."""
    device = next(iter(field_day.field.devices.values()))
    headers = {"Authorization": f"Bearer {device_token(device)}"}
    refused = client.post("/api/v1/telemetry", data="{not json", content_type="application/json", headers=headers)
    assert refused.status_code == 400
    clock(field_day.now + timedelta(minutes=1))
    page = visit(f"/devices/{device.serial}/", cast.engineer).page
    page.get_by_role("link", name="see why").click()
    page.wait_for_url(f"**/ingest/?device={device.serial}**")
    assert "1 whole request was refused" in page.inner_text("main")
    row = page.get_by_role("row", name=re.compile("whole request, 400"))
    assert "The body is no JSON" in row.inner_text()
    row.get_by_text("Newest sample").click()
    assert "{not json" in row.inner_text()
    # the same is found from the menu, without knowing the device
    page.get_by_text("Operate").click()
    page.get_by_role("link", name=re.compile("Ingest health")).click()
    page.wait_for_url("**/ingest/")
    page.get_by_role("link", name=device.serial).first.click()
    page.wait_for_url(f"**/devices/{device.serial}/")


def test_a_view_is_saved_from_the_filters_and_found_again_as_a_tab(visit, field_day, cast):
    page = visit("/devices/?hardware_target=orin-nx-16&from=-6h", cast.manager).page
    page.get_by_role("button", name="Save view…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("Orins")
    dialog.get_by_label("Show it to everyone").check()
    dialog.get_by_role("button", name="Save").click()
    page.get_by_text("Saved as “Orins”").wait_for()
    other = visit("/devices/", cast.engineer).page
    other.get_by_role("navigation", name="Saved views").get_by_role("link", name="Orins").click()
    other.wait_for_url("**hardware_target=orin-nx-16**")
    other.get_by_role("heading", name="14 devices").wait_for()


def test_devices_at_the_door_are_let_in_together_and_a_secret_is_shown_once(visit, field_day, make_device, cast):
    for n in range(3):
        make_device(f"door-{n}", status="pending")
    page = visit("/enrollment/", cast.administrator).page
    page.get_by_label("Tick all").check()
    page.get_by_role("button", name="Decide on 3 ticked…").click()
    page.get_by_role("dialog").get_by_role("button", name="Accept").click()
    page.get_by_text("3 devices were accepted.").wait_for()
    page.goto(page.url.split("?")[0] + "?part=keys")
    page.get_by_role("button", name="New key…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("Line 7")
    dialog.get_by_role("button", name="Make the key").click()
    secret = page.locator("[data-secret]")
    secret.wait_for()
    assert secret.inner_text().startswith("rdk_")
    assert page.locator("svg.qr").is_visible()
    page.get_by_role("link", name="I have kept it").click()
    page.get_by_role("row", name=re.compile("Line 7")).get_by_role("button", name="Revoke…").click()
    dialog = page.get_by_role("dialog")
    assert "the key Line 7" in dialog.inner_text()
    dialog.get_by_label("Reason").fill("lost")
    dialog.get_by_role("button", name="Revoke").click()
    page.get_by_text("The key Line 7 is revoked").wait_for()
