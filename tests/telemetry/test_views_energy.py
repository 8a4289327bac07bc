"""Energy and heat: figures by group, throttled minutes, details, and honest gaps."""

import csv
import io
from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from telemetry import store
from telemetry.models import ClassLabel, DeviceLatest
from telemetry.services.folding import fold
from tests.telemetry.records import draw_records, make_context, note_device, store_batch

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def clock(monkeypatch, now):
    """The wall clock of the pages stands at the tests' moment."""
    monkeypatch.setattr(timezone, "now", lambda: now)


@pytest.fixture
def measured(cast, make_device, now):
    """One device in each of two power modes, three hours; by serial the records."""
    rng = np.random.default_rng(5)
    ClassLabel.objects.bulk_create(ClassLabel(id=k, workload=cast.workload, name=f"class-{k}") for k in range(1, 6))
    stored = {}
    for number, mode in enumerate(("15W", "25W")):
        device = make_device(f"orin-{number}")
        context = make_context(cast.release, now, power_mode=mode)
        records = draw_records(rng, [now - 3 * HOUR * share for share in rng.uniform(0.001, 0.999, 120)])
        store_batch(device, context, records, seq=0, received_at=now)
        note_device(device, context, seen_at=now, since=now - 3 * HOUR)
        stored[mode] = records
    fold(now)
    return stored


@pytest.fixture
def client(browser_client, cast):
    """A field engineer's browser."""
    return browser_client(cast.engineer)


def text_of(client, path, **query):
    answer = client.get(path, {"from": "-6h", **query})
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_figures_are_those_of_the_records_by_power_mode(client, measured):
    answer = client.get("/panels/energy/", {"from": "-6h", "format": "csv"})
    rows = {row["group"]: row for row in csv.DictReader(io.StringIO(b"".join(answer).decode()))}
    assert set(rows) == {"orin-nx-16 · 15W", "orin-nx-16 · 25W"}
    for mode, records in measured.items():
        energy = records.measures["energy"].astype(np.float64)
        row = rows[f"orin-nx-16 · {mode}"]
        assert int(row["inferences"]) == np.count_nonzero(~np.isnan(energy))
        assert float(row["mean_mj"]) == pytest.approx(np.nanmean(energy), rel=1e-6)
        assert float(row["throttled_share"]) == pytest.approx(records.throttled.mean())
    text = text_of(client, "/panels/energy/")
    assert "orin-nx-16 · 25W" in text and "Sustained power" in text
    assert "no device told its idle energy" in text


@pytest.mark.parametrize(
    ("by", "group"),
    [("release", "orin-nx-16 · 4.1.0"), ("hardware", "orin-nx-16"), ("region", "orin-nx-16 · eu-north")],
)
def test_the_figures_come_by_other_groups_too(client, measured, by, group):
    assert f'<th scope="row">{group}</th>' in text_of(client, "/panels/energy/", by=by, workload="lane-assist")


def test_bad_input_is_answered_in_its_place(client, measured):
    assert "by: “colour” is none of" in text_of(client, "/panels/energy/", by="colour")
    assert "There is no hardware target" in text_of(client, "/panels/energy-details/", hardware_target="abacus")


def test_an_empty_answer_names_its_cause(client, measured, cast):
    assert "The filters leave nothing" in text_of(client, "/panels/energy/", hardware_target=cast.hailo.slug)
    assert "No energy was measured" in text_of(client, "/panels/energy/", to="-5h")


def test_throttled_minutes_add_up(client, measured):
    answer = client.get("/figures/throttled/", {"from": "-6h"}).json()
    minutes = [row[2] for row in answer["table"]["rows"]]
    assert answer["foot"]["unit"] == "devices" and answer["foot"]["count"] == 2
    share = np.mean([records.throttled.mean() for records in measured.values()])
    assert sum(minutes) == pytest.approx(share * 2 * 180, rel=0.35)


def test_details_say_where_energy_varies_and_what_classes_cost(client, measured):
    text = text_of(client, "/panels/energy-details/")
    assert "Between devices" in text and "class-1" in text
    assert "No device of this selection reports a battery level" in text


def test_a_battery_is_estimated_with_its_formula(client, measured, now, cast):
    latest = DeviceLatest.objects.first()
    DeviceLatest.objects.filter(pk=latest.pk).update(battery_pct=60.0)
    levels = [(now - hours * HOUR, latest.device_id, None, None, None, level) for hours, level in ((2, 70), (1, 60))]
    store.copy_rows("device_state", levels)
    text = text_of(client, "/panels/energy-details/")
    assert "Hours = 100 × hours spent discharging ÷ percentage points lost meanwhile" in text
    assert 'data-label="Hours">10.0</td>' in text


def test_the_page_offers_power_modes_and_keeps_its_grouping(client, measured):
    text = text_of(client, "/energy/", by="release")
    assert '<option value="25W">' in text
    assert "group_by=hardware_target%2Crelease" in text
    assert '<input type="hidden" name="by" value="release">' in text
