"""The pages, panels and charts of the telemetry app: true numbers, named causes where there are none, files of both."""

import csv
import io
import json
from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from fleet.actors import Actor
from fleet.services.budgets import write_budget
from telemetry.models import QuarantinedRecord, RequestReject
from telemetry.services.folding import fold
from tests.telemetry.records import draw_records, make_context, note_device, store_batch

pytestmark = pytest.mark.django_db(transaction=True)

FIGURES = ("latency", "energy", "ridgeline", "heatmap", "ecdf", "classes", "adoption")


@pytest.fixture(autouse=True)
def clock(monkeypatch, now):
    """The wall clock of the pages stands at the tests' moment."""
    monkeypatch.setattr(timezone, "now", lambda: now)


@pytest.fixture
def measured(cast, make_device, now):
    """Two hours of one device on 4.1.0 and one on 4.2.0, the second one twice as slow."""
    rng = np.random.default_rng(11)
    stored = {}
    for serial, release, latency in (("orin-a", cast.release, 20.0), ("orin-b", cast.candidate, 40.0)):
        device = make_device(serial, cast.orin, cast.north)
        times = [now - timedelta(seconds=30 * k + 1) for k in range(240)]
        records = draw_records(rng, sorted(times), latency_ms=latency)
        context = make_context(release, now)
        store_batch(device, context, records, seq=1, received_at=now)
        newest = {"latency_p95_ms": latency * 1.5, "energy_mj": 40.0}
        note_device(device, context, seen_at=now, since=min(times), **newest)
        stored[serial] = records
    fold(now)
    return stored


@pytest.fixture
def client(browser_client, cast):
    """A field engineer's browser."""
    return browser_client(cast.engineer)


def figure(client, name, **query) -> dict:
    """A chart as its page gets it."""
    answer = client.get(f"/figures/{name}/", {"workload": "lane-assist", "from": "-6h", **query})
    assert answer.status_code == 200, answer.content
    return answer.json()


@pytest.mark.parametrize("name", FIGURES)
def test_every_chart_has_a_figure_a_table_and_a_footing(client, measured, name):
    answer = figure(client, name)
    assert answer["empty"] is None
    assert answer["figure"]["data"] and answer["table"]["rows"]
    assert answer["foot"]["as_of"] and answer["foot"]["count"] > 0
    assert answer["foot"]["completeness"] == 1


@pytest.mark.parametrize("name", FIGURES)
def test_every_chart_comes_as_csv_and_json_with_the_rows_of_its_table(client, measured, name):
    shown = figure(client, name)["table"]
    query = {"workload": "lane-assist", "from": "-6h"}
    table = b"".join(client.get(f"/figures/{name}/", {**query, "format": "csv"})).decode()
    rows = list(csv.reader(io.StringIO(table)))
    assert rows[0] == shown["columns"] and len(rows) == len(shown["rows"]) + 1
    document = json.loads(b"".join(client.get(f"/figures/{name}/", {**query, "format": "json"})))
    assert document["rows"] == shown["rows"]


def test_the_latency_chart_shows_each_release_at_its_true_percentile(client, measured):
    rows = figure(client, "latency", **{"from": "-6h"})["table"]["rows"]
    for version, serial in (("4.1.0", "orin-a"), ("4.2.0", "orin-b")):
        p95 = [row[4] for row in rows if row[1] == version and row[4] is not None]
        truth = float(np.quantile(measured[serial].measures["latency"], 0.95))
        assert min(p95) * 0.7 < truth < max(p95) * 1.3
        assert sum(row[2] for row in rows if row[1] == version) == 240


def test_the_chart_of_a_release_beside_another_shows_both_and_no_third(client, measured):
    answer = figure(client, "ecdf", release="4.2.0", against="4.1.0")
    assert {row[0] for row in answer["table"]["rows"]} == {"4.1.0", "4.2.0"}


def test_the_release_in_question_is_the_newest_ridge_and_stands_out(client, measured):
    answer = figure(client, "ridgeline", release="4.2.0")
    assert [row[0] for row in answer["table"]["rows"]] == ["4.1.0", "4.2.0"]
    fills = {trace["name"]: trace["fillcolor"] for trace in answer["figure"]["data"] if "fillcolor" in trace}
    assert fills["4.2.0"].startswith("var(--series-2)") and fills["4.1.0"].startswith("var(--series-1)")


def test_the_budget_is_drawn_where_one_workload_and_one_hardware_target_are_chosen(client, measured, cast, now):
    limits = {"latency_p95_ms": 30.0}
    write_budget(
        workload=cast.workload, hardware_target=cast.orin, actor=Actor.system("test"), now=now, hard_limits=limits
    )
    texts = [note["text"] for note in figure(client, "latency")["figure"]["layout"]["annotations"]]
    assert "budget p95 30" not in texts
    answer = figure(client, "latency", hardware_target=cast.orin.slug)
    assert "budget p95 30" in [note["text"] for note in answer["figure"]["layout"]["annotations"]]


@pytest.mark.parametrize(
    ("field", "query"),
    [("from", {"from": "yesterday"}), ("workload", {"workload": "nobody"}), ("release", {"release": "9.9.9"})],
)
def test_a_question_that_makes_no_sense_is_refused_by_its_field(client, measured, field, query):
    answer = client.get("/figures/latency/", query)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_an_empty_chart_says_that_there_is_no_device(client, cast):
    assert figure(client, "latency")["empty"]["cause"] == "no_device"


@pytest.mark.parametrize("query", [{}, {"workload": "lane-assist"}])
def test_an_empty_chart_says_that_devices_do_not_measure_what_it_shows(client, cast, make_device, now, query):
    device, context = make_device("plain"), make_context(cast.release, now)
    records = draw_records(np.random.default_rng(1), [now - timedelta(minutes=5)] * 20)
    records.measures["energy"][:] = np.nan
    store_batch(device, context, records, seq=1, received_at=now)
    # something else was refused
    RequestReject.objects.create(device=device, at=now - timedelta(minutes=1), status=413, code="too_large")
    fold(now)
    empty = client.get("/figures/energy/", {"from": "-6h", **query}).json()["empty"]
    assert (empty["cause"], empty["title"]) == ("not_measured", "Not measured")


def test_an_empty_chart_says_that_the_filters_leave_nothing(client, measured, cast):
    assert figure(client, "latency", hardware_target=cast.hailo.slug)["empty"]["cause"] == "filtered_out"


def test_an_empty_chart_says_that_records_were_rejected(client, cast, make_device, now):
    device = make_device("orin-a", cast.orin, cast.north)
    QuarantinedRecord.objects.create(
        device=device, received_at=now - timedelta(minutes=5), section="inferences", code="range", message="negative"
    )
    empty = figure(client, "latency")["empty"]
    assert empty["cause"] == "rejected"
    assert empty["remedy_url"] == "/ingest/"


def test_an_empty_chart_says_that_nothing_was_measured_in_the_range(client, cast, make_device):
    make_device("orin-a", cast.orin, cast.north)
    assert figure(client, "latency")["empty"]["cause"] == "no_data_in_range"


def test_the_state_of_the_fleet_counts_devices_and_names_the_hardware_over_budget(client, measured, cast, now):
    limits = {"latency_p95_ms": 5.0}
    write_budget(
        workload=cast.workload, hardware_target=cast.orin, actor=Actor.system("test"), now=now, hard_limits=limits
    )
    text = client.get("/panels/now/", {"from": "-6h"}).content.decode()
    assert "of 2" in text and "budget__over" in text


def test_a_panel_that_does_not_understand_says_so_in_its_place(client, measured):
    answer = client.get("/panels/now/", {"hardware_target": "nobody"})
    assert answer.status_code == 200
    assert "There is no hardware target" in answer.content.decode()


def test_the_device_table_filters_sorts_and_comes_as_csv(client, measured, cast):
    text = client.get("/panels/devices/", {"release": "4.2.0"}).content.decode()
    assert "orin-b" in text and "orin-a" not in text
    assert "The filters leave no device" in client.get("/panels/devices/", {"seen": "silent"}).content.decode()
    table = b"".join(client.get("/panels/devices/", {"format": "csv", "sort": "latency"})).decode()
    assert [row["serial"] for row in csv.DictReader(io.StringIO(table))] == ["orin-b", "orin-a"]


def test_devices_can_be_ticked_only_by_those_who_may_tag(client, browser_client, cast, measured):
    assert 'type="checkbox"' not in client.get("/panels/devices/").content.decode()
    assert 'type="checkbox"' in browser_client(cast.manager).get("/panels/devices/").content.decode()


def test_one_device_is_described_in_words_and_drawn_in_lanes(client, measured):
    text = client.get("/panels/device/", {"device": "orin-b", "from": "-6h"}).content.decode()
    assert "4.2.0" in text and "100.0 % of what it measured has arrived" in text
    answer = client.get("/figures/device/", {"device": "orin-b", "from": "-6h", "cohort": "1"}).json()
    assert answer["table"]["columns"][2] == "p95 ms"
    assert "are too few" in " ".join(answer["foot"]["notes"]), "one other device is no cohort"


def test_a_device_that_never_sent_says_so(client, cast, make_device):
    make_device("new", cast.orin, cast.north)
    text = client.get("/panels/device/", {"device": "new"}).content.decode()
    assert "never sent anything" in text


def test_the_release_panel_shows_both_releases_on_the_same_hardware(client, measured, cast):
    query = {"workload": "lane-assist", "release": "4.2.0", "against": "4.1.0"}
    text = client.get("/panels/release/", query).content.decode()
    assert text.count(cast.orin.slug) == 2


@pytest.mark.parametrize(
    ("panel", "table", "column"),
    [
        ("now", "hardware-targets", "latency_p95"),
        ("release", "by-hardware", "release"),
        ("worst", "standing-out", "why"),
        ("devices", "devices", "serial"),
        ("energy", "energy", "mean_mj"),
        ("energy-details", "energy-by-class", "mean_mj"),
        ("energy-details", "batteries", "hours"),
    ],
)
def test_every_table_of_a_panel_comes_as_csv_and_json_with_the_same_rows(client, measured, panel, table, column):
    query = {"workload": "lane-assist", "release": "4.2.0", "from": "-6h", "table": table}
    answer = client.get(f"/panels/{panel}/", {**query, "format": "csv"})
    assert f'filename="{table}.csv"' in answer["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    found = json.loads(b"".join(client.get(f"/panels/{panel}/", {**query, "format": "json"})))
    assert len(found) == len(rows)
    assert all(list(line) == list(row) and column in row for line, row in zip(rows, found, strict=True))
    if table not in ("batteries", "standing-out"):
        assert rows
        page = client.get(f"/panels/{panel}/", query).content.decode()
        assert "format=csv" in page and "format=json" in page


def test_ingest_health_names_each_reason_with_its_remedy_and_a_sample(client, measured, cast, make_device, now):
    device = make_device("orin-c", cast.orin, cast.north)
    RequestReject.objects.create(
        device=device, at=now - timedelta(minutes=1), status=413, code="too_large", message="9 MiB", body_sample=b"{"
    )
    text = client.get("/ingest/").content.decode()
    assert "too_large" in text and "the device must split its batch" in text
    assert "1 whole request was refused" in text
    assert "orin-c" in text


def test_ingest_health_of_a_device_that_does_not_exist_says_so(client, cast):
    answer = client.get("/ingest/", {"device": "nobody"})
    assert answer.status_code == 422
    assert "There is no device" in answer.content.decode()


def test_both_tables_of_ingest_health_come_as_csv_and_json(client, measured, cast, make_device, now):
    device = make_device("orin-c", cast.orin, cast.north)
    RequestReject.objects.create(device=device, at=now - timedelta(minutes=1), status=429, code="x", message="")
    rows = list(csv.DictReader(io.StringIO(b"".join(client.get("/ingest/", {"format": "csv"})).decode())))
    assert rows[0]["device"] == "orin-c" and rows[0]["throttled"] == "1"
    reasons = {"format": "csv", "table": "reasons"}
    rows = list(csv.DictReader(io.StringIO(b"".join(client.get("/ingest/", reasons)).decode())))
    assert (rows[0]["code"], rows[0]["status"], rows[0]["count"]) == ("x", "429", "1")
    assert json.loads(b"".join(client.get("/ingest/", {"format": "json"})))[0]["device"] == "orin-c"
    found = json.loads(b"".join(client.get("/ingest/", {**reasons, "format": "json"})))
    assert found[0]["sample"]["device"] == "orin-c" and found[0]["remedy"]
