"""The device table and who is heard: columns that say what rows would, counted where the rows are."""

import math
from datetime import timedelta
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.models import Device, DeviceGroup, Workload
from telemetry.models import DeviceLatest
from telemetry.selectors.device_table import SMALLEST_COHORT, cohort_medians, device_rows, worst_devices
from telemetry.selectors.gauges import fleet_gauges
from telemetry.selectors.presence import presence, selected_devices, state_of
from tests.telemetry.records import make_context

MINUTE = timedelta(minutes=1)
AGES = (0, 2.9, 3.1, 9.9, 10.1, 40, 100, 400, 700)


@pytest.fixture
def fleet(cast, make_device, now):
    """Twelve devices that sent something, four on another workload besides, one that never sent; by serial."""
    context = make_context(cast.release, now)
    slow = Workload.objects.create(slug="slow", name="Slow", expected_interval_s=3600, created_at=now)
    for k in range(12):
        device = make_device(f"cam-{k:02}", "orin-nx-16" if k % 2 else "hailo-8", "eu-north" if k < 6 else "us-west")
        values = {"latency_p95_ms": 20.0 + k, "energy_mj": None if k == 3 else 40.0, "fallback_rate": 0.01}
        rows = [(cast.workload, AGES[k % len(AGES)])] + [(slow, AGES[-1 - k % 4])] * (k < 4)
        for workload, age in rows:
            DeviceLatest.objects.create(
                device=device, workload=workload, release=cast.release, context=context, boot_id="b", batch_seq=1,
                last_seen_at=now - age * MINUTE, **values,
            )  # fmt: skip
    make_device("never")
    make_device("suspended", status="suspended")
    return {device.serial: device for device in Device.objects.all()}


def newest(device, workload=""):
    rows = DeviceLatest.objects.filter(device=device, **({"workload__slug": workload} if workload else {}))
    return rows.order_by("-last_seen_at", "-pk").select_related("workload").first()


@pytest.mark.django_db
@pytest.mark.parametrize("workload", ["", "lane-assist", "slow"])
def test_the_database_counts_states_as_the_definition_tells_them(fleet, now, workload):
    wanted = dict.fromkeys(("online", "late", "silent", "never"), 0)
    for device in fleet.values():
        row = newest(device, workload)
        if device.status == "accepted":
            wanted[state_of(row and row.last_seen_at, row and row.workload.expected_interval_s, now)] += 1
    found = presence(Device.objects.all(), now=now, workload=workload)
    assert {state: getattr(found, state) for state in wanted} == wanted
    assert found.total == 13


@pytest.mark.django_db
def test_the_states_of_a_group_and_of_a_region_count_their_devices_alone(fleet, now):
    group = DeviceGroup.objects.create(slug="beta", name="Beta", created_at=now)
    group.devices.set([fleet["cam-00"], fleet["never"]])
    found = presence(selected_devices({"group": "beta"}), now=now)
    assert (found.online, found.never, found.total) == (1, 1, 2)
    assert presence(selected_devices({"region": "us-west"}), now=now).total == 6


@pytest.mark.django_db
def test_gauges_name_every_state_of_every_hardware_target(fleet, now):
    devices = fleet_gauges(now).devices
    assert sum(devices.values()) == 13
    assert len(devices) == 8 and devices[("orin-nx-16", "never")] == 1


@pytest.mark.django_db
def test_each_row_says_what_its_device_sent_last(fleet, now):
    table = device_rows({"sort": "serial"}, now=now)
    assert [row.serial for row in table] == sorted(fleet)
    for row in table:
        sent = newest(fleet[row.serial])
        assert row.presence == state_of(sent and sent.last_seen_at, sent and sent.workload.expected_interval_s, now)
        told = (row.last_seen_at, row.latency_p95_ms, row.energy_mj, row.workload)
        if sent is None:
            assert told == (None, None, None, "") and row.release_id is None
        else:
            assert told == (sent.last_seen_at, sent.latency_p95_ms, sent.energy_mj, sent.workload.slug)
            assert row.release == "4.1.0"


@pytest.mark.django_db
@pytest.mark.parametrize(("sort", "field"), [("latency", "latency_p95_ms"), ("energy", "energy_mj")])
def test_the_largest_come_first_and_what_is_not_known_last_whichever_way_round(fleet, now, sort, field):
    for name in (sort, f"-{sort}"):
        values = [getattr(row, field) for row in device_rows({"sort": name}, now=now)]
        known = [value for value in values if value is not None]
        assert known == sorted(known, reverse=name == sort)
        assert values[len(known) :] == [None] * (len(values) - len(known))


@pytest.mark.django_db
def test_a_page_of_the_table_is_a_piece_of_the_whole(fleet, now):
    table = device_rows({}, now=now)
    whole = list(table)
    assert len(table) == len(whole) == 14
    assert table[3:7] == whole[3:7] and table[13] == table[-1] == whole[13]
    with pytest.raises(IndexError):
        table[14]


@pytest.mark.django_db
def test_a_state_and_filters_narrow_the_table(fleet, now):
    assert {row.serial for row in device_rows({"seen": "never"}, now=now)} == {"never", "suspended"}
    assert {row.serial for row in device_rows({"q": "cam-0", "region": "us-west"}, now=now)} == {
        "cam-06", "cam-07", "cam-08", "cam-09",
    }  # fmt: skip
    assert len(device_rows({"workload": "slow", "release": "4.1.0"}, now=now)) == 4
    assert list(device_rows({"q": "nothing"}, now=now)) == []


@pytest.mark.django_db
def test_a_device_lies_from_its_cohort_by_a_robust_score_of_its_logarithm(fleet, now):
    DeviceLatest.objects.filter(device=fleet["cam-11"]).update(latency_p95_ms=60.0)
    (row,) = [row for row in device_rows({}, now=now) if row.serial == "cam-11"]
    # the cohort of odd numbers on lane-assist; 1 and 3 sent last from the other workload
    kept = [d.latency_p95_ms for d in DeviceLatest.objects.filter(device__serial__in=["cam-05", "cam-07", "cam-09"])]
    others = [
        newest(fleet[f"cam-{k:02}"]).latency_p95_ms
        for k in (1, 3)
        if newest(fleet[f"cam-{k:02}"]).workload.slug == "lane-assist"
    ]
    cohort = [*kept, *others, 60.0]
    assert len(cohort) >= SMALLEST_COHORT
    middle = median(map(math.log, cohort))
    spread = max(1.4826 * median(abs(math.log(x) - middle) for x in cohort), math.log(1.02))
    assert row.deviation == pytest.approx((math.log(60) - middle) / spread)
    assert row.difference == pytest.approx(60 / math.exp(middle) - 1)
    assert (row.deviates_in, row.is_far) == ("p95", abs(row.deviation) > 3.5)


@pytest.mark.django_db
def test_the_worst_are_those_that_fall_back_then_the_silent_then_the_slow_each_once(fleet, now):
    DeviceLatest.objects.filter(device=fleet["cam-00"]).update(fallback_rate=0.5)
    DeviceLatest.objects.update(last_seen_at=now)
    DeviceLatest.objects.filter(device=fleet["cam-01"]).update(last_seen_at=now - 700 * MINUTE)
    DeviceLatest.objects.filter(device=fleet["cam-04"]).update(latency_p95_ms=200.0, last_seen_at=now)
    which = {"workload": "lane-assist"}
    assert [row.serial for row in worst_devices(which, now=now, most=8)] == ["cam-00", "cam-01", "cam-04"]
    assert [row.serial for row in worst_devices(which, now=now, most=1)] == ["cam-00"]


@given(st.lists(st.tuples(st.integers(0, 3), st.none() | st.integers(-5, 5)), max_size=40))
def test_a_cohorts_median_is_that_of_its_known_values_where_there_are_enough(pairs):
    cohort = np.array([c for c, _ in pairs], dtype=np.int64)
    values = np.array([np.nan if v is None else v for _, v in pairs], dtype=float)
    found = cohort_medians(values, cohort)
    for k, c in enumerate(cohort):
        known = [v for d, v in pairs if d == c and v is not None]
        if len(known) < SMALLEST_COHORT:
            assert np.isnan(found[k])
        else:
            assert found[k] == median(known)
