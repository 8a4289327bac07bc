"""The device page's parts: clock lane, counters, groups from the table, and the device behind its QR code."""

from datetime import timedelta

import pytest
from django.utils import timezone

from fleet.actors import Actor
from fleet.models import AuditEntry, Device
from telemetry.charts.figure import Span
from telemetry.charts.lanes import CohortBand, DeviceLanes, device_lanes
from telemetry.services import directives
from telemetry.services.directives import set_directive
from telemetry.store.events import ClockRow
from telemetry.views.device import clock_stretches
from tests.telemetry.records import make_context, note_device

STEP = timedelta(minutes=1)


def clock(now, minute, *, synced=1.0, offset_ms=0.0) -> ClockRow:
    """The clock in a minute."""
    return ClockRow(now + minute * STEP, 1, synced, 3.0, offset_ms, 1.0)


def test_neighbouring_steps_with_the_same_clock_are_one_stretch(now):
    rows = [clock(now, 0), clock(now, 1), clock(now, 2, synced=0.5), clock(now, 5, offset_ms=400_000.0)]
    found = clock_stretches(rows, STEP)
    assert [(span.start, span.end, span.label) for span in found] == [
        (now, now + 2 * STEP, "synced"),
        (now + 2 * STEP, now + 3 * STEP, "unsynced"),
        (now + 5 * STEP, now + 6 * STEP, "corrected"),
    ]


def test_the_lanes_show_clock_and_cohort_and_name_both(now):
    times = [now, now + STEP]
    lanes = DeviceLanes(
        times=times,
        values={
            "latency_p50": [7.0, 7.0],
            "latency_p95": [10.0, 11.0],
            "latency_p99": [14.0, 14.0],
            "queue": [0.5, 1.0],
        },
        releases=[],
        clock=[Span(now, now + STEP, "corrected")],
        cohort={"latency_p95": CohortBand([8.0, 8.0], [9.0, 9.5], [12.0, 12.0])},
        cohort_label="others like it (23)",
    )
    plain = device_lanes(lanes, start=now, end=now + 2 * STEP).to_dict()
    texts = [note["text"] for note in plain["figure"]["layout"]["annotations"]]
    assert "clock: times corrected by minutes" in texts
    assert "latency, ms, and others like it (23)" in texts
    assert plain["table"]["columns"][-1] == "p95 ms, cohort median"
    assert [row[-1] for row in plain["table"]["rows"]] == [9.0, 9.5]


@pytest.mark.django_db
def test_all_devices_that_the_filters_leave_are_tagged_with_a_reason(browser_client, cast, make_device):
    for n in range(3):
        make_device(f"cam-{n}", "orin-nx-16")
    make_device("box-1", "hailo-8")
    form = {"tag": "line-7", "whom": "all", "query": "hardware_target=orin-nx-16&page=2", "reason": "moved"}
    answer = browser_client(cast.manager).post("/tag-devices/matching/", form, follow=True)
    assert "3 put into line-7." in answer.content.decode()
    assert set(Device.objects.filter(groups__slug="line-7").values_list("serial", flat=True)) == {
        "cam-0", "cam-1", "cam-2"
    }  # fmt: skip
    rows = AuditEntry.objects.filter(action="device.tagged")
    assert rows.count() == 3 and {row.reason for row in rows} == {"moved"}
    form |= {"whom": "ticked", "serial": ["cam-1"], "how": "remove"}
    browser_client(cast.manager).post("/tag-devices/matching/", form)
    assert Device.objects.filter(groups__slug="line-7").count() == 2
    assert browser_client(cast.engineer).post("/tag-devices/matching/", form).status_code == 403


@pytest.mark.django_db
def test_the_csv_has_exactly_what_is_filtered(browser_client, cast, make_device):
    make_device("cam-0", "orin-nx-16")
    make_device("box-1", "hailo-8")
    answer = browser_client(cast.engineer).get("/panels/devices/", {"hardware_target": "hailo-8", "format": "csv"})
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert [line.split(",")[0] for line in lines] == ["serial", "box-1"]


@pytest.mark.django_db
def test_what_the_server_asks_of_a_device_is_told_on_its_page(browser_client, cast, make_device):
    device, clock_now = make_device("cam-0"), timezone.now()
    note_device(device, make_context(cast.release, clock_now), seen_at=clock_now)
    client = browser_client(cast.engineer)
    assert "The server asks" not in client.get("/panels/device/", {"device": "cam-0"}).content.decode()
    asked = {"raw_sample_rate": 0.25, "window_s": 30, "min_interval_s": 30, "max_batch": 1000}
    set_directive(asked, device=device, actor=Actor.system("tests"), now=clock_now)
    directives.forget()
    text = client.get("/panels/device/", {"device": "cam-0"}).content.decode()
    assert "asks it for 25 % of its records whole, windows of 30 s, at least 30 s between batches, at most 1" in text


@pytest.mark.django_db
def test_counters_of_a_device_without_any_take_no_room(browser_client, cast, make_device):
    make_device("cam-0")
    answer = browser_client(cast.engineer).get("/panels/counters/", {"device": "cam-0"})
    assert answer.status_code == 200 and answer.content.strip() == b""


def test_a_lane_of_what_is_not_measured_is_left_out_and_a_step_that_stands_alone_is_a_dot(now):
    nan = float("nan")
    values = {name: [10.0, nan, 11.0] for name in ("latency_p50", "latency_p95", "latency_p99")}
    lanes = DeviceLanes(
        times=[now, now + STEP, now + 2 * STEP], values={**values, "temperature": [nan] * 3}, releases=[]
    )
    plain = device_lanes(lanes, start=now, end=now + 3 * STEP).to_dict()["figure"]
    texts = [note["text"] for note in plain["layout"]["annotations"]]
    assert "°C" not in texts and "queue depth" not in texts and "latency, ms" in texts
    [p95] = [trace for trace in plain["data"] if trace.get("name") == "p95"]
    assert p95["mode"] == "lines+markers" and p95["marker"]["size"][0] == p95["marker"]["size"][2] == 4


def test_the_whole_height_is_shared_by_the_lanes_that_are_there(now):
    values = {name: [10.0] for name in ("latency_p50", "latency_p95", "latency_p99", "energy")}
    plain = device_lanes(DeviceLanes(times=[now], values=values, releases=[]), start=now, end=now + STEP).to_dict()
    domains = [axis["domain"] for name, axis in plain["figure"]["layout"].items() if name.startswith("yaxis")]
    assert max(top for _, top in domains) == 1.0 and min(bottom for bottom, _ in domains) < 0.01
