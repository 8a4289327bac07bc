"""Saved views: one's own and shared ones, as tabs on their page, over REST, and in the audit trail when shared."""

import pytest

from fleet.actors import Actor
from fleet.models import AuditEntry, SavedView
from fleet.services.saved_views import save_view

pytestmark = pytest.mark.django_db


def save(client, **form):
    """Save what the devices page shows."""
    address = "/devices/?hardware_target=orin-nx-16&sort=energy&page=2"
    return client.post("/save-view/", {"name": "Hot Orins", "back": address, **form})


def test_a_saved_view_is_a_link_that_shows_the_same_filters(browser_client, cast):
    client = browser_client(cast.engineer)
    answer = save(client)
    assert answer["Location"] == "/devices/?hardware_target=orin-nx-16&sort=energy"
    text = client.get("/devices/?sort=energy&hardware_target=orin-nx-16").content.decode()
    assert 'aria-current="true">Hot Orins' in text


def test_the_range_is_kept_only_where_it_is_asked_for(browser_client, cast):
    client = browser_client(cast.engineer)
    address = "/devices/?seen=silent&from=-6h"
    assert save(client, back=address)["Location"] == "/devices/?seen=silent"
    assert save(client, back=address, name="With range", range="1")["Location"] == address


def test_saving_under_the_name_of_a_view_of_ones_own_changes_that_view(browser_client, cast):
    client = browser_client(cast.engineer)
    save(client)
    save(client, back="/devices/?seen=silent")
    assert SavedView.objects.get().query == "seen=silent"


def test_a_personal_view_is_seen_by_its_owner_alone_and_leaves_no_audit_row(browser_client, cast):
    save(browser_client(cast.engineer))
    assert "Hot Orins" in browser_client(cast.engineer).get("/devices/").content.decode()
    assert "Hot Orins" not in browser_client(cast.manager).get("/devices/").content.decode()
    assert not AuditEntry.objects.filter(action__startswith="saved_view").exists()


def test_a_shared_view_is_seen_by_everyone_and_every_change_of_it_is_audited(browser_client, cast):
    owner = browser_client(cast.engineer)
    save(owner, shared="1")
    assert "Hot Orins" in browser_client(cast.manager).get("/devices/").content.decode()
    [view] = SavedView.objects.all()
    owner.post(f"/saved-views/{view.pk}/act/", {"name": "Warm Orins", "shared": "1"})
    owner.post(f"/saved-views/{view.pk}/act/", {"action": "delete"})
    rows = AuditEntry.objects.filter(action__startswith="saved_view").order_by("id")
    assert [row.action for row in rows] == ["saved_view.created", "saved_view.changed", "saved_view.deleted"]
    assert (rows[1].old["name"], rows[1].new["name"]) == ("Hot Orins", "Warm Orins")


def test_only_the_owner_and_administrators_change_a_shared_view(browser_client, cast):
    save(browser_client(cast.engineer), shared="1")
    [view] = SavedView.objects.all()
    answer = browser_client(cast.manager).post(f"/saved-views/{view.pk}/act/", {"action": "delete"}, follow=True)
    assert "belongs to erin" in answer.content.decode()
    browser_client(cast.administrator).post(f"/saved-views/{view.pk}/act/", {"action": "delete"})
    assert not SavedView.objects.exists()


@pytest.mark.parametrize("back", ["//elsewhere.example/x", "https://else.example/", "/api/v1/devices", "/nowhere/"])
def test_a_view_never_leads_out_of_the_pages(browser_client, cast, back):
    save(browser_client(cast.engineer), back=back)
    assert not SavedView.objects.exclude(path="/").exists()


def test_views_are_kept_over_rest_with_the_same_rules(api_client, cast):
    engineer, manager = api_client(cast.engineer), api_client(cast.manager)
    body = {"name": "Silent", "path": "/devices/", "query": "seen=silent", "shared": True}
    made = engineer.post("/api/v1/saved-views", body, format="json")
    assert made.status_code == 201
    assert made.json()["address"] == "/devices/?seen=silent"
    taken = manager.post("/api/v1/saved-views", body, format="json")
    assert taken.status_code == 422 and taken.json()["errors"][0]["field"] == "name"
    number = made.json()["id"]
    assert manager.patch(f"/api/v1/saved-views/{number}", {"name": "Mine"}, format="json").status_code == 403
    assert engineer.patch(f"/api/v1/saved-views/{number}", {"shared": False}, format="json").status_code == 200
    assert manager.get(f"/api/v1/saved-views/{number}").status_code == 404
    assert engineer.delete(f"/api/v1/saved-views/{number}").status_code == 204


def test_the_tour_stands_on_the_fleet_home_only_with_example_data_and_until_it_is_dismissed(browser_client, cast, now):
    client = browser_client(cast.engineer)
    assert "Three stories" not in client.get("/").content.decode()
    save_view(
        owner=cast.manager, name="A canary caught", path="/devices/", query="seen=late", note="Look at the lane.",
        shared=True, tour_step=1, actor=Actor.system("test"), now=now,
    )  # fmt: skip
    cast.orin.devices.create(serial="cam-1", region=cast.north, enrolled_at=now)
    text = client.get("/").content.decode()
    assert "Three stories" in text and "/devices/?seen=late" in text and "Look at the lane." in text
    assert "A canary caught" not in client.get("/devices/").content.decode(), "it is no tab of that page"
    client.cookies["ridgeline-tour"] = "seen"
    assert "Three stories" not in client.get("/").content.decode()
