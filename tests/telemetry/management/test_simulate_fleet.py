"""`manage.py simulate_fleet`: its options, and a short run against the running product."""

import json

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from fleet.actors import Actor
from fleet.models import Device
from fleet.services import enrollment
from telemetry.models import Batch

ADDRESS = {"url": "http://127.0.0.1:1", "enrollment_key": "key"}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"url": None}, "--url or RIDGELINE_URL"),
        ({"enrollment_key": None}, "--enrollment-key or RIDGELINE_ENROLLMENT_KEY"),
        ({"fault": ["gremlins"]}, "no fault 'gremlins'"),
        ({"since": "yesterday"}, "--since takes a duration"),
        ({"speed": 0.0}, "speed must be positive"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_with_the_reason(options, complaint):
    with pytest.raises(CommandError, match=complaint):
        call_command("simulate_fleet", **{**ADDRESS, **options})


@pytest.mark.django_db(transaction=True)
def test_a_short_run_ends_with_a_report_that_agrees_with_the_ledger(live_server, cast, tmp_path, capsys):
    _, key = enrollment.create_key(
        name="simulated", actor=Actor.system("test"), now=timezone.now(), may_register_labels=True
    )
    report = tmp_path / "report.json"
    call_command(
        "simulate_fleet",
        url=live_server.url,
        enrollment_key=key,
        devices=3,
        rate=20.0,
        duration="2s",
        since="30s",
        speed=30.0,
        report=report,
    )
    accounts = json.loads(report.read_text())
    assert len(accounts) == Device.objects.count() == 3
    recorded = sum(account["recorded"] for account in accounts)
    assert recorded == sum(Batch.objects.values_list("inferences", flat=True)) > 0
    assert "3 devices (3 on 4.1.0)" in capsys.readouterr().out


@pytest.mark.django_db(transaction=True)
def test_a_key_that_is_refused_ends_the_run_with_the_reason(live_server, cast):
    with pytest.raises(CommandError, match="no device was enrolled: 401"):
        call_command("simulate_fleet", url=live_server.url, enrollment_key="rdk_bad", devices=2, duration="20s")
