"""Explore: the page, its charts, and the panel that names the dimension that differs in a selection."""

import csv
import io
import json
from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from telemetry.models import Context, ReleaseSpan
from telemetry.services.folding import fold
from tests.telemetry.records import draw_records, make_context, store_batch

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
SLOW = {"sel_from": "-2h", "sel_low": "60", "sel_high": "200"}


@pytest.fixture(autouse=True)
def clock(monkeypatch, now):
    """The wall clock of the pages stands at the tests' moment."""
    monkeypatch.setattr(timezone, "now", lambda: now)


@pytest.fixture
def measured(cast, make_device, now):
    """Sixteen devices, four hours; the half on 4.2.0 is now and then three times as slow in the last two."""
    rng = np.random.default_rng(7)
    contexts = {release: make_context(release, now) for release in (cast.release, cast.candidate)}
    for number in range(16):
        release = (cast.release, cast.candidate)[number % 2]
        device = make_device(f"cam-{number:02d}", ("orin-nx-16", "hailo-8")[number // 2 % 2])
        records = draw_records(rng, [now - 4 * HOUR * share for share in rng.uniform(0.001, 0.999, 90)])
        records.measures["latency"][:] = np.clip(records.measures["latency"], 1, 50)
        slow = (records.time > (now - 2 * HOUR).timestamp() * 1e6) & (rng.random(90) < 0.4) & (number % 2 == 1)
        records.measures["latency"][slow] = np.float32(90)
        store_batch(device, contexts[release], records, seq=0, received_at=now)
        ReleaseSpan.objects.create(
            device=device, workload=cast.workload, release=release, first_time=now - 4 * HOUR, last_time=now
        )
    fold(now)


@pytest.fixture
def client(browser_client, cast):
    """A field engineer's browser."""
    return browser_client(cast.engineer)


def figure(client, name, **query):
    answer = client.get(f"/figures/{name}/", {"workload": "lane-assist", "from": "-6h", **query})
    assert answer.status_code == 200, answer.content
    return answer.json()


def panel(client, **query):
    answer = client.get("/panels/differences/", {"workload": "lane-assist", "from": "-6h", **query})
    assert answer.status_code == 200
    return answer


def test_a_selection_of_slow_inferences_names_the_release_and_leads_into_it(client, measured):
    text = panel(client, **SLOW).content.decode()
    shown = text.split("not shown to differ")[0]
    assert "Release" in shown and "<strong>100.0 %</strong> inside" in shown
    assert "release=4.2.0" in shown and "sel_low=60" in shown, "the address goes on with the selection"
    assert "8 devices in it" in text
    assert "Hardware target" not in shown, "both hardware targets are slow alike"


def test_a_firmware_that_differs_leads_into_it_and_becomes_a_filter_of_the_page(client, measured, cast):
    assert "filter-firmware_version" not in client.get("/explore/").content.decode(), "there is no choice yet"
    for release, firmware in ((cast.release, "r36.4"), (cast.candidate, "r37")):
        Context.objects.filter(release=release).update(firmware_version=firmware, driver_version="540")
    answer = panel(client, **SLOW).content.decode()
    assert "firmware_version=r37" in answer and "sel_low=60" in answer
    page = client.get("/explore/", {"workload": "lane-assist", "firmware_version": "r37"}).content.decode()
    assert '<option value="r37" selected>r37</option>' in page and '<option value="r36.4">' in page
    assert "filter-driver_version" not in page, "one driver is no choice"
    assert figure(client, "latency", firmware_version="r37")["foot"]["count"] == 8 * 90
    assert (
        "No device has reported the firmware version “r38”"
        in panel(client, **SLOW, firmware_version="r38").content.decode()
    )


def test_a_selection_that_rests_on_one_device_says_so(client, measured, cast):
    text = panel(client, **SLOW, device="cam-01,cam-00").content.decode()
    assert "This rests on few devices" in text and "One device alone" in text


def test_the_answer_of_the_form_puts_the_selection_into_the_address_of_the_page(client, measured):
    query = {"workload": "lane-assist", "from": "-6h", **SLOW}
    answer = client.get("/panels/differences/", query, headers={"HX-Request": "true", "HX-Trigger": "region-form"})
    assert answer["HX-Replace-Url"].startswith("/explore/?workload=lane-assist&from=-6h&sel_from=-2h")
    assert "HX-Replace-Url" not in panel(client, **SLOW)


def test_the_differences_come_as_csv_and_json_too(client, measured):
    rows = list(csv.DictReader(io.StringIO(b"".join(panel(client, **SLOW, format="csv")).decode())))
    release = next(row for row in rows if row["dimension"] == "release")
    assert release["level"] == "4.2.0" and float(release["inside"]) == 1.0
    document = json.loads(b"".join(panel(client, **SLOW, format="json")))
    assert len(document["levels"]) == len(rows)
    assert (document["region"]["start"], document["devices"]) == ("2026-03-02T10:00:00Z", 8)


def test_an_empty_fleet_says_so_everywhere(client, cast):
    for address in ("/explore/", "/energy/", "/compare/"):
        assert client.get(address).status_code == 200
    for name in ("heatmap", "ecdf", "ridgeline", "temperature", "throttled"):
        assert client.get(f"/figures/{name}/").json()["empty"]["cause"] == "no_device"
    assert "Nothing to compare" in panel(client, sel_low="5").content.decode()
    assert "No device yet" in client.get("/panels/energy/").content.decode()
    assert "No device of this selection reports a battery" in client.get("/panels/energy-details/").content.decode()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"sel_low": "many"}, "sel_low: “many” is not a number."),
        ({"sel_low": "9", "sel_high": "3"}, "sel_high: 3 is not above 9."),
        ({"sel_from": "yesterday"}, "sel_from: “yesterday” is neither relative"),
        ({"sel_from": "-1h", "sel_to": "-2h"}, "sel_to: The selection must end after it begins."),
        ({"sel_from": "-9d", "sel_to": "-8d"}, "sel_from: The selection lies outside"),
        ({"sel_low": "nan"}, "sel_low: “nan” is not a number of zero or more."),
        ({"sel_low": "5", "metric": "weight"}, "metric: “weight” is none of latency, energy, confidence."),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused_by_its_field(client, measured, query, words):
    assert words in panel(client, **query).content.decode()


def test_an_empty_selection_says_what_to_do(client, measured):
    assert "Nothing to compare" in panel(client, sel_low="4000").content.decode()
    assert "Nothing is selected yet" in panel(client).content.decode()


def test_the_page_keeps_the_selection_in_its_form_and_its_filters(client, measured):
    text = client.get("/explore/", {"workload": "lane-assist", "metric": "energy", **SLOW}).content.decode()
    assert 'name="sel_from" data-instant-value="2026-03-02T10:00:00Z" value="2026-03-02T10:00"' in text
    assert '<input type="hidden" name="sel_low" value="60">' in text, "a change of filter keeps it"
    assert "Energy over time" in text and 'value="15W"' in text
    assert "The metric in the address was not understood" in client.get("/explore/?metric=x").content.decode()
    assert client.get("/explore/?from=tomorrow&sel_from=%00").status_code == 200


@pytest.mark.parametrize(("metric", "kind"), [("latency", "log"), ("energy", "log"), ("confidence", None)])
def test_the_heatmap_of_each_metric_stands_on_its_own_axis_and_counts_every_inference(client, measured, metric, kind):
    answer = figure(client, "heatmap", metric=metric, selectable="1", **SLOW)
    layout = answer["figure"]["layout"]
    assert layout["yaxis"].get("type") == kind
    assert layout["meta"]["selectable"]
    assert answer["foot"]["count"] == sum(row[1] for row in answer["table"]["rows"])
    assert [shape["type"] for shape in layout["shapes"]].count("rect") == 1, "the selection is drawn"


def test_the_distribution_has_a_band_for_each_release_with_enough_devices(client, measured):
    answer = figure(client, "ecdf", metric="confidence")
    assert [trace["name"] for trace in answer["figure"]["data"] if "name" in trace] == ["4.1.0", "4.2.0"]
    assert len([trace for trace in answer["figure"]["data"] if trace.get("fill") == "toself"]) == 2
    assert "bands: simultaneous 95 %, from differences between devices" in answer["foot"]["notes"]
    alone = figure(client, "ecdf", device="cam-00,cam-01")
    assert "no band with fewer than 6 devices" in alone["foot"]["notes"]


def test_ridges_stand_for_releases_or_for_days(client, measured):
    assert [row[0] for row in figure(client, "ridgeline")["table"]["rows"]] == ["4.1.0", "4.2.0"]
    daily = figure(client, "ridgeline", ridges="day")
    assert daily["table"]["columns"][0] == "Day"
    assert [row[0] for row in daily["table"]["rows"]] == ["Mon 02 Mar"]
    assert client.get("/figures/ridgeline/", {"ridges": "week"}).status_code == 422


def test_energy_against_temperature_has_every_inference_that_told_both(client, measured):
    answer = figure(client, "temperature")
    assert {row[0] for row in answer["table"]["rows"]} == {"orin-nx-16 · 15W", "hailo-8 · 15W"}
    assert all(row[2] - row[1] == 10 for row in answer["table"]["rows"])
    assert 16 * 90 * 0.7 < sum(row[3] for row in answer["table"]["rows"]) < 16 * 90
    by_release = figure(client, "temperature", group_by="release")
    assert {row[0] for row in by_release["table"]["rows"]} == {"4.1.0", "4.2.0"}


def test_time_charts_mark_what_settings_name(client, measured, settings, now):
    settings.CHART_MARKS = [f"{__name__}.marks"]
    notes = figure(client, "latency")["figure"]["layout"]["annotations"]
    assert "canary begins" in [note["text"] for note in notes]


def marks(selection, *, start, end):
    """A source of marks as settings name it."""
    return [(end - HOUR, "canary begins")]
