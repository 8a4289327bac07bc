"""The Django admin: for administrators alone, audited where it writes, and read-only where services write."""

import pytest
from django.contrib import admin
from django.urls import reverse

from fleet.models import AuditEntry, Region, User

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture
def browser(cast, browser_client):
    cast.administrator.is_staff = True
    cast.administrator.save()
    return browser_client(cast.administrator)


def fleet_tables():
    return [model for model in admin.site._registry if model._meta.app_label == "fleet"]


@pytest.mark.parametrize("model", fleet_tables(), ids=lambda model: model._meta.model_name)
def test_every_table_of_the_fleet_opens(browser, cast, make_device, device_token, model):
    device_token(make_device("cam-001"))
    assert browser.get(reverse(f"admin:fleet_{model._meta.model_name}_changelist")).status_code == 200
    row = model.objects.first()
    if row is not None:
        answer = browser.get(reverse(f"admin:fleet_{model._meta.model_name}_change", args=[row.pk]))
        assert answer.status_code == 200
        assert b"secret_hmac" not in answer.content


@pytest.mark.parametrize("who", ["engineer", "manager", "qa", "visitor"])
def test_nobody_else_gets_in(cast, browser_client, who):
    answer = browser_client(getattr(cast, who)).get("/admin/")
    assert (answer.status_code, answer.url) == (302, "/admin/login/?next=/admin/")


def test_a_change_of_a_label_is_audited(browser, cast):
    url = reverse("admin:fleet_region_change", args=[cast.north.pk])
    answer = browser.post(url, {"name": "EU north 1", "description": "", "timezone": "UTC"})
    assert answer.status_code == 302
    assert Region.objects.get(pk=cast.north.pk).name == "EU north 1"
    row = AuditEntry.objects.latest("id")
    assert (row.action, row.user_id) == ("region.changed", cast.administrator.pk)
    assert (row.old, row.new) == ({"name": "EU north"}, {"name": "EU north 1"})


def test_a_person_is_added_with_roles_and_administrators_reach_this_site(browser):
    body = {"username": "nora", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    answer = browser.post(reverse("admin:fleet_user_add"), body | {"roles": ["administrator", "qa"]})
    assert answer.status_code == 302, answer.context["errors"]
    nora = User.objects.get(username="nora")
    assert (nora.roles, nora.is_staff) == (["administrator", "qa"], True)
    assert PASSWORD not in str(AuditEntry.objects.latest("id").new)
    assert AuditEntry.objects.latest("id").action == "user.created"


def test_a_password_set_here_is_audited_without_it(browser, cast):
    url = reverse("admin:auth_user_password_change", args=[cast.engineer.pk])
    answer = browser.post(url, {"usable_password": "true", "password1": PASSWORD, "password2": PASSWORD})
    assert answer.status_code == 302
    cast.engineer.refresh_from_db()
    assert cast.engineer.check_password(PASSWORD)
    row = AuditEntry.objects.latest("id")
    assert (row.action, row.object_label, row.new) == ("user.changed", "erin", {"password": "changed"})


@pytest.mark.parametrize("name", ["release", "token", "auditentry", "waiver", "budget", "enrollmentkey"])
def test_what_services_write_cannot_be_written_here(browser, name):
    assert browser.get(reverse(f"admin:fleet_{name}_add")).status_code == 403


def test_nothing_is_deleted_here(browser, cast):
    assert browser.post(reverse("admin:fleet_region_delete", args=[cast.north.pk]), {"post": "yes"}).status_code == 403
