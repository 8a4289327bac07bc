"""Every alarm without statistics from provoked data: what is seen, since when, on whom, how much, and what to do."""

from datetime import timedelta

import numpy as np
import pytest

from drift.models import Alarm, Label
from drift.services import detection, playbooks
from fleet.models import Device
from telemetry.models import BatchGap, Context, DeviceLatest
from tests.drift.conftest import hourly
from tests.telemetry.records import make_context, store_batch

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def context(cast, now) -> Context:
    return make_context(cast.release, now)


@pytest.fixture
def make_latest(cast, now, make_device, context):
    """A device that was last heard of so many minutes ago."""

    def make(serial: str, minutes: int = 1, *, target: str = "orin-nx-16", **fields) -> DeviceLatest:
        device = make_device(serial, target, "eu-north")
        return DeviceLatest.objects.create(
            device=device,
            workload=cast.workload,
            release=cast.release,
            last_seen_at=now - minutes * MINUTE,
            boot_id="boot",
            batch_seq=1,
            **({"context": context, "release_since": now - 72 * HOUR} | fields),
        )

    return make


def the_alarm(kind: str) -> Alarm:
    """The one alarm of a kind, with what every alarm must carry."""
    alarm = Alarm.objects.get(kind=kind)
    assert alarm.playbook is not None and alarm.playbook.playbook.alarm_kind == kind
    assert alarm.lower <= alarm.effect <= alarm.upper
    assert alarm.attribution["readings"]
    assert alarm.entries.get().kind == "raised"
    return alarm


def test_devices_that_fall_silent_together_are_a_telemetry_gap_with_its_share_and_start(make_latest, cast, now) -> None:
    for index in range(8):
        make_latest(f"cam-{index}")
    for index in range(8, 12):
        make_latest(f"cam-{index}", 60 + index)
    detection.detect(now=now)
    alarm = the_alarm("telemetry_gap")
    assert (alarm.devices_affected, alarm.effect, alarm.hardware_target) == (4, pytest.approx(1 / 3), cast.orin)
    assert alarm.started_at == now - 71 * MINUTE
    assert alarm.evidence["devices"] == ["cam-10", "cam-11", "cam-8", "cam-9"]


def test_one_silent_device_and_devices_that_were_given_up_raise_nothing(make_latest, now) -> None:
    for index in range(5):
        make_latest(f"cam-{index}")
    make_latest("cam-late", 60)
    make_latest("cam-gone", 3 * 24 * 60)
    assert detection.detect(now=now) == []


def test_a_suspended_device_is_not_missed(make_latest, now) -> None:
    for index in range(4):
        latest = make_latest(f"cam-{index}", 60)
        Device.objects.filter(pk=latest.device_id).update(status="suspended")
    assert detection.detect(now=now) == []


def test_silence_right_after_an_update_is_critical_and_counts_those_that_were_updated(make_latest, cast, now) -> None:
    for index in range(9):
        make_latest(f"cam-{index}", release_since=now - 3 * HOUR)
    for index in range(9, 12):
        make_latest(f"cam-{index}", 150, release_since=now - 3 * HOUR)
    detection.detect(now=now)
    alarm = the_alarm("silent_after_update")
    assert (alarm.severity, alarm.release, alarm.effect) == ("critical", cast.release, 0.25)
    assert alarm.started_at == now - 150 * MINUTE


def test_batches_that_never_came_are_a_gap_once_they_can_no_longer_be_late(make_latest, now) -> None:
    for index in range(4):
        latest = make_latest(f"cam-{index}")
        if index < 2:
            BatchGap.objects.create(
                device=latest.device,
                boot_id="boot",
                missing_from=5,
                missing_to=9,
                after_time=now - 2 * HOUR,
                found_at=now - (20 if index else 30) * MINUTE,
            )
    detection.detect(now=now)
    alarm = the_alarm("telemetry_gap")
    assert (alarm.metric, alarm.evidence["batches"], alarm.effect) == ("lost_batches", 10, 0.5)
    assert alarm.started_at == now - 2 * HOUR


def test_a_device_that_contradicts_its_bill_of_materials_is_enough_and_says_where(
    make_latest, cast, now, context
) -> None:
    wrong = Context.objects.create(
        digest="wrong",
        workload=cast.workload,
        release=cast.release,
        driver_version="9.9",
        power_mode="15W",
        mismatches={"driver": {"release": "9.8", "device": "9.9"}},
        created_at=now,
    )
    for index in range(6):
        make_latest(f"cam-{index}")
    for index in range(6, 12):
        make_latest(f"cam-{index}", context=wrong)
    detection.detect(now=now)
    alarm = the_alarm("bom_mismatch")
    assert alarm.evidence["mismatches"] == {"driver": {"release": "9.8", "device": "9.9"}}
    (place,) = alarm.attribution["concentration"]
    assert (place["label"], place["value"], place["affected"], place["others"]) == ("Driver", "9.9", 6, 0)


@pytest.mark.parametrize(
    ("kind", "field", "latest"),
    [("cpu_fallback", "fallback", {"fallback_rate": 0.4}), ("thermal_soak", "throttled", {"throttled": True})],
)
def test_shares_that_rose_within_the_hour_alarm_where_they_were_low_before(
    kind, field, latest, make_latest, cast, now, context
) -> None:
    rng = np.random.default_rng(2)
    for index in range(6):
        row = make_latest(f"cam-{index}", **(latest if index < 4 else {}))
        before = hourly(rng, now - 20 * HOUR, 18, 20, own=1.0)
        lately = hourly(rng, now - 50 * MINUTE, 1, 200, own=1.0)
        if index < 4:
            # the fourth device did so before as well: nothing new there
            getattr(lately, field)[: 60 + 10 * index] = 1
            if index == 3:
                getattr(before, field)[::4] = 1
        store_batch(row.device, context, before, seq=1, received_at=now)
        store_batch(row.device, context, lately, seq=2, received_at=now)
    detection.detect(now=now)
    alarm = the_alarm(kind)
    assert alarm.devices_affected == 3
    assert alarm.effect == pytest.approx(0.35)
    assert alarm.started_at == now - HOUR


def test_the_same_trouble_is_one_alarm_however_often_it_is_looked_for(make_latest, now) -> None:
    for index in range(6):
        make_latest(f"cam-{index}", 60)
    assert len(detection.detect(now=now)) == 1
    assert detection.detect(now=now + MINUTE) == []
    assert Alarm.objects.get().sightings == 2


def test_an_empty_fleet_raises_nothing(db, now) -> None:
    assert detection.detect(now=now) == []
    assert detection.detect_accuracy(now=now) == []


def test_a_release_that_is_right_less_often_raises_an_accuracy_drop_with_an_interval(cast, now, make_device) -> None:
    playbooks.install_defaults(now=now)
    devices = [make_device(f"cam-{k:02d}", ("orin-nx-16", "hailo-8")[k % 2]) for k in range(20)]
    for index in range(300):
        for release, every in ((cast.release, 50), (cast.candidate, 4)):
            Label.objects.create(
                workload=cast.workload,
                release=release,
                device=devices[index % 20],
                time=now - (index + 1) * MINUTE - (release == cast.release) * timedelta(seconds=1),
                predicted_class="a",
                true_class="b" if index % every == 0 else "a",
                sampling="random",
                inclusion_probability=0.1,
                labelled_by="tests",
                created_at=now,
            )
    releases = {cast.release.version: 0.98, cast.candidate.version: 0.75}
    (alarm,) = detection.detect_accuracy(now=now)
    assert alarm.kind == "accuracy_drop" and alarm.playbook is not None
    assert alarm.release == cast.candidate
    expected = releases[cast.candidate.version] - releases[cast.release.version]
    assert alarm.lower < expected < alarm.upper < 0.0
    assert alarm.effect == pytest.approx(expected, abs=0.01)
