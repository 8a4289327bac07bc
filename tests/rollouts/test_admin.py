"""The Django admin of rollouts: administrators read every table, and nobody changes one."""

import pytest
from django.contrib import admin
from django.urls import reverse

from rollouts.models import WebhookEndpoint

pytestmark = pytest.mark.django_db

TABLES = [model for model in admin.site._registry if model._meta.app_label == "rollouts"]


def test_administrators_read_every_table_and_change_none(browser_client, cast, draft, make_fleet, now):
    make_fleet(2)
    rollout = draft()
    cast.administrator.is_staff = True
    cast.administrator.save()
    client = browser_client(cast.administrator)
    assert len(TABLES) == 14
    for model in TABLES:
        name = f"admin:rollouts_{model._meta.model_name}"
        assert client.get(reverse(f"{name}_changelist")).status_code == 200, model
        assert client.get(reverse(f"{name}_add")).status_code == 403, model
    address = reverse("admin:rollouts_rollout_change", args=[rollout.pk])
    assert client.get(address).status_code == 200
    assert client.post(address, {"seed": 1}).status_code == 403


def test_a_webhooks_secret_is_not_shown(browser_client, cast, now):
    row = WebhookEndpoint.objects.create(name="ota", url="https://x/", secret="never-to-be-seen-1", created_at=now)
    cast.administrator.is_staff = True
    cast.administrator.save()
    page = browser_client(cast.administrator).get(reverse("admin:rollouts_webhookendpoint_change", args=[row.pk]))
    assert "never-to-be-seen-1" not in page.content.decode()
