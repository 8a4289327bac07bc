"""GET /api/v1/events and the timeline of a device: order, pages, filters, stretches."""

import csv
import io
import uuid
from datetime import timedelta

import numpy as np
import pytest
from psycopg.types.json import Jsonb

from telemetry import store
from telemetry.metrics import METRICS
from telemetry.models import BatchGap, ReleaseSpan
from telemetry.selectors.events import event_counts
from telemetry.selectors.selection import Selection
from telemetry.selectors.series import metric_series
from telemetry.selectors.timeline import device_timeline, silences, throttled_stretches
from telemetry.services import folding
from tests.telemetry.records import draw_records, make_context, store_batch

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def client(cast, api_client):
    return api_client(cast.engineer, scopes=["telemetry:read"])


def put_events(*rows):
    """Each row: (time, device, context or None, type, severity code, detail)."""
    store.copy_rows(
        "event",
        [
            (time, device.pk, context.pk if context else None, None, uuid.uuid4(), kind, severity, Jsonb(detail))
            for time, device, context, kind, severity, detail in rows
        ],
    )


@pytest.fixture
def happened(cast, make_device, now):
    """Five events of two devices within an hour, one of them a day old."""
    one, other = make_device("cam-1"), make_device("cam-2", "hailo-8", "us-west")
    old, new = make_context(cast.release, now), make_context(cast.candidate, now)
    put_events(
        (now - 10 * MINUTE, one, old, "boot", 1, {}),
        (now - 8 * MINUTE, one, old, "thermal_throttle_start", 2, {"temperature_c": 91}),
        (now - 8 * MINUTE, other, new, "driver_reset", 3, {}),
        (now - 2 * MINUTE, other, None, "boot", 1, {}),
        (now - 25 * HOUR, one, old, "boot", 1, {}),
    )
    return one, other


def asked(client, now, **parameters):
    span = {"from": (now - HOUR).isoformat(), "to": now.isoformat()}
    return client.get("/api/v1/events", {**span, **parameters})


@pytest.mark.django_db
def test_events_come_newest_first_with_public_names(client, happened, now):
    rows = asked(client, now).json()["results"]
    assert [row["type"] for row in rows][0] == "boot"
    assert {row["type"] for row in rows[1:3]} == {"thermal_throttle_start", "driver_reset"}
    throttled = next(row for row in rows if row["type"] == "thermal_throttle_start")
    assert (throttled["device"], throttled["severity"], throttled["release"]) == ("cam-1", "warning", "4.1.0")
    assert throttled["detail"] == {"temperature_c": 91}
    assert rows[0]["release"] is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({}, 4),
        ({"device": "cam-1"}, 2),
        ({"hardware_target": "hailo-8"}, 2),
        ({"region": "eu-north"}, 2),
        ({"release": "4.2.0"}, 1),
        ({"workload": "lane-assist"}, 3),
        ({"type": "boot"}, 2),
        ({"type": "boot,driver_reset"}, 3),
        ({"severity": "warning"}, 2),
        ({"severity": "critical"}, 0),
        ({"from": "2026-03-01T00:00:00Z"}, 5),
    ],
)
def test_each_filter_narrows_the_list(client, happened, now, parameters, count):
    assert len(asked(client, now, **parameters).json()["results"]) == count


@pytest.mark.django_db
def test_pages_follow_one_another_without_a_row_twice_even_at_equal_times(client, happened, now):
    seen, address = [], None
    while True:
        answer = (client.get(address) if address else asked(client, now, page_size="1")).json()
        seen += [row["id"] for row in answer["results"]]
        address = answer["next"]
        if address is None:
            break
    assert len(seen) == len(set(seen)) == 4


@pytest.mark.django_db
def test_all_pages_come_as_one_table(client, happened, now, monkeypatch):
    monkeypatch.setattr("telemetry.api.events.LARGEST_PAGE", 2)
    span = {"from": (now - HOUR).isoformat(), "to": now.isoformat()}
    response = client.get("/api/v1/events.csv", span)
    rows = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))
    assert [row["type"] for row in rows].count("boot") == 2
    assert len(rows) == 4


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"severity": "terrible"}, "severity"),
        ({"page_size": "0"}, "page_size"),
        ({"page_size": "many"}, "page_size"),
        ({"cursor": "bm9uc2Vuc2U="}, "cursor"),
        ({"cursor": "?"}, "cursor"),
        ({"type": "a\0"}, "type"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(client, cast, now, parameters, field):
    response = asked(client, now, **parameters)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field


@pytest.mark.django_db
def test_events_are_counted_by_type_the_most_severe_first(happened, now):
    counts = event_counts(Selection(), start=now - 2 * 24 * HOUR, end=now)
    assert [(row.type, row.severity, row.count, row.devices) for row in counts] == [
        ("driver_reset", "error", 1, 1),
        ("thermal_throttle_start", "warning", 1, 1),
        ("boot", "info", 3, 2),
    ]


@pytest.fixture
def device(cast, make_device, now):
    """A device with records in the first and the last of three hours, throttled in the last."""
    device, context = make_device("cam-1"), make_context(cast.release, now)
    type(device).objects.filter(pk=device.pk).update(enrolled_at=now - 30 * 24 * HOUR)
    device.refresh_from_db()
    rng = np.random.default_rng(61)
    for seq, age in enumerate((3, 1)):
        times = [now - age * HOUR + k * MINUTE for k in range(60)]
        records = draw_records(rng, times)
        records.throttled[:] = age == 1
        store_batch(device, context, records, seq=seq, received_at=now - (age - 1) * HOUR, clock_offset_us=-250_000)
    ReleaseSpan.objects.create(
        device=device,
        workload=cast.workload,
        release=cast.release,
        first_time=now - 3 * HOUR,
        last_time=now,
    )
    folding.fold(now)
    return device


@pytest.mark.django_db
def test_a_timeline_tells_releases_silences_throttling_clock_states_and_counters(device, now):
    store.copy_rows(
        "device_state", [(now - HOUR + k * MINUTE, device.pk, 60.0 + k, 5.0, None, 90.0) for k in range(10)]
    )
    store.copy_rows("counter_rate", [(now - HOUR, device.pk, "resets", 3.0, 60.0, 7.0, "boot")])
    BatchGap.objects.create(
        device=device,
        boot_id="boot",
        missing_from=7,
        missing_to=7,
        after_time=now - 2 * HOUR,
        before_time=now - HOUR,
        found_at=now,
    )
    put_events((now - MINUTE, device, None, "boot", 1, {}))
    told = device_timeline(device, start=now - 3 * HOUR, end=now, step=5 * MINUTE)
    assert [(r.release, r.start, r.end) for r in told.releases] == [("4.1.0", now - 3 * HOUR, now)]
    assert [(s.start, s.end) for s in told.silences] == [(now - 2 * HOUR, now - HOUR)]
    assert [(s.start, s.end, s.share) for s in told.throttled] == [(now - HOUR, now, 1.0)]
    assert [loss.kind for loss in told.losses] == ["gap"]
    assert [event.type for event in told.events] == ["boot"]
    # batches received at the very end of the range belong to the next one
    assert [(row.time, row.batches, row.offset_ms, row.lag_s) for row in told.clock] == [
        (now - 2 * HOUR, 1, 250.0, 60.0)
    ]
    assert [row.temperature_max_c for row in told.states] == [64.0, 69.0]
    assert [(row.name, row.delta) for row in told.counters] == [("resets", 3.0)]


@pytest.mark.django_db
def test_silence_is_not_told_before_enrolment_nor_within_expected_intervals(device, now):
    series = metric_series(
        Selection(device_ids=(device.pk,)),
        METRICS["throttled_share"],
        start=now - 6 * HOUR,
        end=now,
        step=5 * MINUTE,
    )
    since = now - 4 * HOUR
    told = [(s.start, s.end) for s in silences(series, expected=MINUTE, since=since)]
    assert told == [(since, now - 3 * HOUR), (now - 2 * HOUR, now - HOUR)]
    assert silences(series, expected=HOUR, since=since) == []


@pytest.mark.django_db
def test_nothing_is_throttled_where_nothing_was_measured(device, now):
    series = metric_series(
        Selection(device_ids=()), METRICS["throttled_share"], start=now - HOUR, end=now, step=5 * MINUTE
    )
    assert throttled_stretches(series) == []
