"""The pages of the fleet app: each answers, to those who may see it, with what it is about."""

from datetime import timedelta

import pytest
from django.urls import reverse

from fleet.actors import Actor
from fleet.models import AuditEntry, Device
from fleet.services import devices as device_service

pytestmark = pytest.mark.django_db


@pytest.fixture
def orin(make_device, cast) -> Device:
    """One device in the field."""
    return make_device("orin-0001", cast.orin, cast.north)


@pytest.mark.parametrize("name", ["home", "devices", "releases", "audit"])
def test_a_page_sends_a_stranger_to_the_log_in_and_back(client, name):
    answer = client.get(reverse(f"fleet:{name}"))
    assert answer.status_code == 302
    assert answer["Location"] == f"/login/?next={reverse(f'fleet:{name}')}"


def test_the_log_in_page_says_when_the_password_is_wrong(client, cast):
    answer = client.post("/login/", {"username": cast.engineer.username, "password": "wrong"})
    assert answer.status_code == 200
    assert "Please enter a correct" in answer.content.decode()


@pytest.mark.parametrize("name", ["home", "devices", "releases", "audit"])
def test_everyone_who_can_log_in_can_read(browser_client, cast, orin, name):
    answer = browser_client(cast.visitor).get(reverse(f"fleet:{name}"))
    assert answer.status_code == 200


def test_home_without_any_device_says_how_to_get_one(browser_client, cast):
    assert "No device yet" in browser_client(cast.engineer).get("/").content.decode()


def test_a_search_for_a_whole_serial_goes_to_the_device(browser_client, cast, orin):
    answer = browser_client(cast.engineer).get("/devices/", {"q": "orin-0001"})
    assert answer["Location"] == "/devices/orin-0001/"


def test_a_search_for_a_part_of_a_serial_stays_on_the_list(browser_client, cast, orin):
    answer = browser_client(cast.engineer).get("/devices/", {"q": "orin"})
    assert answer.status_code == 200


def test_an_unknown_device_is_not_found(browser_client, cast):
    assert browser_client(cast.engineer).get("/devices/nobody/").status_code == 404


def test_the_device_page_names_hardware_region_and_groups(browser_client, cast, orin):
    text = browser_client(cast.engineer).get("/devices/orin-0001/").content.decode()
    assert cast.orin.slug in text and cast.north.slug in text


def test_only_people_with_the_right_see_the_actions(browser_client, cast, orin):
    assert "Suspend" not in browser_client(cast.engineer).get("/devices/orin-0001/").content.decode()
    assert "Suspend" in browser_client(cast.manager).get("/devices/orin-0001/").content.decode()


def test_suspending_asks_for_a_reason(browser_client, cast, orin):
    answer = browser_client(cast.manager).post("/devices/orin-0001/act/", {"action": "suspend"}, follow=True)
    orin.refresh_from_db()
    assert orin.status == Device.Status.ACCEPTED
    assert "Say why" in answer.content.decode()


def test_suspending_with_a_reason_is_done_and_audited(browser_client, cast, orin):
    browser_client(cast.manager).post("/devices/orin-0001/act/", {"action": "suspend", "reason": "loose cable"})
    orin.refresh_from_db()
    assert orin.status == Device.Status.SUSPENDED
    entry = AuditEntry.objects.get(action="device.suspended")
    assert (entry.reason, entry.user_id) == ("loose cable", cast.manager.pk)


def test_a_state_that_does_not_allow_the_action_is_said_in_words(browser_client, cast, orin, now):
    device_service.move(orin, "retire", actor=Actor.system("test"), now=now)
    answer = browser_client(cast.manager).post("/devices/orin-0001/act/", {"action": "resume"}, follow=True)
    assert "Nothing was changed" in answer.content.decode()


def test_an_engineer_may_not_suspend(browser_client, cast, orin):
    answer = browser_client(cast.engineer).post("/devices/orin-0001/act/", {"action": "suspend", "reason": "x"})
    assert answer.status_code == 403


def test_ticked_devices_go_into_a_group_that_is_made_when_it_is_new(browser_client, cast, orin):
    browser_client(cast.manager).post("/tag-devices/", {"serial": ["orin-0001"], "tag": "line-7"})
    assert list(orin.groups.values_list("slug", flat=True)) == ["line-7"]
    browser_client(cast.manager).post("/tag-devices/", {"serial": ["orin-0001"], "tag": "line-7", "how": "remove"})
    assert not orin.groups.exists()


def test_tagging_returns_to_the_list_and_never_to_another_site(browser_client, cast, orin):
    form = {"serial": ["orin-0001"], "tag": "line-7", "back": "//elsewhere.example/devices/"}
    assert browser_client(cast.manager).post("/tag-devices/", form)["Location"] == "/devices/"


def test_the_release_page_shows_what_differs_from_the_one_before(browser_client, cast):
    text = browser_client(cast.engineer).get(f"/releases/{cast.candidate.pk}/").content.decode()
    assert f"What differs from {cast.release.version}?" in text


def test_the_release_page_compares_with_the_release_that_is_asked_for(browser_client, cast):
    answer = browser_client(cast.engineer).get(f"/releases/{cast.release.pk}/", {"against": cast.candidate.version})
    assert f"What differs from {cast.candidate.version}?" in answer.content.decode()


def test_withdrawing_a_release_asks_for_a_reason(browser_client, cast):
    client = browser_client(cast.manager)
    client.post(f"/releases/{cast.candidate.pk}/act/", {"action": "withdraw"})
    cast.candidate.refresh_from_db()
    assert cast.candidate.status == "published"
    client.post(f"/releases/{cast.candidate.pk}/act/", {"action": "withdraw", "reason": "wrong driver"})
    cast.candidate.refresh_from_db()
    assert cast.candidate.status == "withdrawn"


def test_the_release_list_keeps_to_its_filters(browser_client, cast):
    text = browser_client(cast.engineer).get("/releases/", {"status": "draft"}).content.decode()
    assert "The filters leave nothing" in text


def test_a_range_that_makes_no_sense_is_said_and_the_page_still_answers(browser_client, cast):
    answer = browser_client(cast.engineer).get("/audit/", {"from": "yesterday"})
    assert answer.status_code == 200
    assert "was not understood" in answer.content.decode()


def test_the_audit_page_finds_rows_by_object_and_gives_them_as_csv(browser_client, cast, orin, now):
    device_service.move(orin, "suspend", actor=Actor.system("test"), now=now, reason="loose cable")
    window = {"from": (now - timedelta(days=1)).isoformat(), "to": (now + timedelta(days=1)).isoformat()}
    client = browser_client(cast.engineer)
    assert "loose cable" in client.get("/audit/", {**window, "object": "orin-0001"}).content.decode()
    assert "loose cable" not in client.get("/audit/", {**window, "object": "nobody"}).content.decode()
    table = b"".join(client.get("/audit/", {**window, "format": "csv"}).streaming_content).decode()
    assert table.splitlines()[0].startswith("at,actor,action")
    assert "loose cable" in table


def test_no_page_has_inline_scripts_or_handlers(browser_client, cast, orin):
    client = browser_client(cast.manager)
    for address in (
        "/",
        "/devices/",
        "/devices/orin-0001/",
        "/releases/",
        f"/releases/{cast.candidate.pk}/",
        "/audit/",
    ):
        text = client.get(address).content.decode()
        assert "<script>" not in text and " onclick=" not in text, address


def test_a_zone_that_does_not_exist_is_said_in_place(browser_client, cast):
    text = browser_client(cast.engineer).get("/audit/", {"tz": "Middle/Earth"}).content.decode()
    assert "tz: “Middle/Earth” is neither utc" in text


def test_a_page_narrowed_to_a_region_knows_the_time_of_its_site(browser_client, cast, orin):
    cast.north.timezone = "Europe/Helsinki"
    cast.north.save()
    client = browser_client(cast.engineer)
    assert 'data-site-zone="Europe/Helsinki"' in client.get("/devices/orin-0001/").content.decode()
    assert 'data-site-zone="Europe/Helsinki"' in client.get("/", {"region": "eu-north"}).content.decode()
    assert "data-site-zone" not in client.get("/").content.decode()


def test_the_device_page_says_whether_a_token_is_live(browser_client, cast, orin, device_token):
    client = browser_client(cast.engineer)
    assert "None is live: it cannot send" in client.get("/devices/orin-0001/").content.decode()
    key_id = device_token(orin).split("_")[1]
    assert f"rdl_{key_id}_…" in client.get("/devices/orin-0001/").content.decode()


def test_the_sticker_leads_to_the_page_of_the_device(browser_client, cast, orin):
    text = browser_client(cast.engineer).get("/devices/orin-0001/sticker/").content.decode()
    assert "http://testserver/devices/orin-0001/" in text and 'class="qr"' in text


def test_this_stage_stands_on_pages_about_a_release_or_a_device_only(browser_client, cast, orin):
    client = browser_client(cast.engineer)
    assert "/this-stage/?device=orin-0001" in client.get("/devices/orin-0001/").content.decode()
    assert "/this-stage/?release=4.2.0" in client.get("/", {"release": "4.2.0"}).content.decode()
    assert f"release={cast.candidate.version}" in client.get(f"/releases/{cast.candidate.pk}/").content.decode()
    assert "/this-stage/" not in client.get("/").content.decode()
