"""Compare: figures of two releases, the change of the same devices, and where it lies."""

import csv
import io
import re
from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from drift.selectors.release_comparison import changed_devices, compare_releases
from fleet.models import Device, Release, Workload
from telemetry.models import DeviceLatest, ReleaseSpan
from telemetry.selectors.selection import Selection
from telemetry.services.folding import fold
from tests.drift.conftest import hourly
from tests.telemetry.records import make_context, store_batch

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
BEFORE, SINCE = 10, 6


@pytest.fixture(autouse=True)
def clock(monkeypatch, now):
    """The wall clock of the pages stands at the tests' moment."""
    monkeypatch.setattr(timezone, "now", lambda: now)


@pytest.fixture
def moved(cast, make_device, now):
    """Eight devices that moved from 4.1.0 to 4.2.0, which draws 10 % more, and four that stayed; by serial records."""
    rng = np.random.default_rng(21)
    old, new = make_context(cast.release, now), make_context(cast.candidate, now)
    change = now - SINCE * HOUR
    stored = {}
    for number in range(12):
        device = make_device(f"cam-{number:02d}", ("orin-nx-16", "hailo-8")[number % 2])
        own = float(rng.lognormal(0, 0.15))
        before = hourly(rng, change - BEFORE * HOUR, BEFORE, 45, own=own)
        after = hourly(rng, change, SINCE, 75, own=own)
        moves = number < 8
        if moves:
            after.measures["energy"][:] *= 1.10
        store_batch(device, old, before, seq=1, received_at=change)
        store_batch(device, new if moves else old, after, seq=2, received_at=now)
        common = {"device": device, "workload": cast.workload}
        end_of_old = change - HOUR if moves else now
        ReleaseSpan.objects.create(
            **common, release=cast.release, first_time=change - BEFORE * HOUR, last_time=end_of_old
        )
        if moves:
            ReleaseSpan.objects.create(**common, release=cast.candidate, first_time=change, last_time=now)
        DeviceLatest.objects.create(
            **common,
            release=cast.candidate if moves else cast.release,
            context=new if moves else old,
            last_seen_at=now,
            boot_id="b",
            batch_seq=2,
        )
        stored[device.serial] = (before, after)
    fold(now)
    return stored


@pytest.fixture
def client(browser_client, cast):
    """A field engineer's browser."""
    return browser_client(cast.engineer)


PAIR = {"workload": "lane-assist", "release": "4.2.0", "against": "4.1.0", "from": "-2d"}


def rows_of(cast, now):
    selection = Selection(workload_id=cast.workload.pk)
    found = compare_releases(selection, cast.release, cast.candidate, start=now - 48 * HOUR, end=now)
    return found, {row.figure.title: row for row in found.rows}


def test_the_figures_are_those_of_all_inferences_of_each_release(moved, cast, now):
    found, rows = rows_of(cast, now)
    energy = [[], []]
    for serial, (before, after) in moved.items():
        energy[0].append(before.measures["energy"])
        energy[serial < "cam-08"].append(after.measures["energy"])
    baseline, candidate = (np.concatenate(side).astype(np.float64) for side in energy)
    row = rows["Energy per inference, mean"]
    assert (row.baseline, row.candidate) == (pytest.approx(baseline.mean()), pytest.approx(candidate.mean()))
    assert row.difference == pytest.approx(candidate.mean() / baseline.mean() - 1)
    assert (found.baseline.inferences, found.candidate.inferences) == (baseline.size, candidate.size)
    assert (found.baseline.devices, found.candidate.devices, found.both) == (12, 8, 8)


def test_the_same_devices_change_by_what_the_release_costs_each_of_them(moved, cast, now):
    _, rows = rows_of(cast, now)
    row = rows["Energy per inference, mean"]
    own = [
        np.log(after.measures["energy"].mean() / before.measures["energy"].mean())
        for serial, (before, after) in moved.items()
        if serial < "cam-08"
    ]
    assert row.devices == 8
    assert row.effect == pytest.approx(np.expm1(np.mean(own)), rel=1e-4)
    assert row.shown and row.lower < 0.10 < row.upper
    assert not rows["Latency, mean"].shown
    assert rows["Latency p99"].lower is None, "no device has two thousand inferences on each release"


def test_kinds_that_never_happened_are_left_out(moved, cast, now):
    _, rows = rows_of(cast, now)
    assert "Fallback rate" in rows and "to the CPU" not in rows


def test_an_event_that_no_device_saw_is_not_shown_to_be_impossible(moved, cast, now):
    _, rows = rows_of(cast, now)
    row = rows["Fallback rate"]
    assert (row.baseline, row.candidate, row.effect) == (0.0, 0.0, 0.0)
    assert row.lower < 0.0 < row.upper


def test_who_moved_and_who_stayed(moved, cast, now):
    found = changed_devices(Selection(workload_id=cast.workload.pk), cast.release, cast.candidate, end=now)
    assert (found.of_moved, found.of_stayed) == (8, 4)
    assert found.first_move == now - SINCE * HOUR


def test_the_page_compares_the_newest_release_with_the_one_before_unless_told_otherwise(client, moved):
    text = client.get("/compare/").content.decode()
    assert "lane-assist 4.2.0 against 4.1.0" in text
    assert "model_version" in text and "1 part differs" in text
    swapped = client.get("/compare/", {**PAIR, "release": "4.1.0", "against": "4.2.0"}).content.decode()
    assert "lane-assist 4.1.0 against 4.2.0" in swapped
    assert "A release against itself" in client.get("/compare/", {**PAIR, "against": "4.2.0"}).content.decode()


def test_without_a_question_the_page_takes_a_workload_with_two_releases_that_devices_reported(client, moved, cast, now):
    other = Workload.objects.create(slug="digits", name="digits", created_at=now)
    lonely = Release.objects.create(workload=other, version="1.0.0", status=Release.Status.PUBLISHED, created_at=now)
    device = Device.objects.earliest("serial")
    ReleaseSpan.objects.create(
        device=device, workload=other, release=lonely, first_time=now, last_time=now, first_boot_id="b"
    )
    assert "lane-assist 4.2.0 against 4.1.0" in client.get("/compare/").content.decode()


def test_the_panel_of_figures_shows_differences_and_comes_as_csv(client, moved):
    text = client.get("/panels/comparison/", PAIR).content.decode()
    line = re.search(r"Energy per inference, mean.*?</tr>", text, re.S).group()
    assert re.search(r"\+(9|10|11)\.\d %", line)
    table = b"".join(client.get("/panels/comparison/", {**PAIR, "format": "csv"})).decode()
    rows = {row["figure"]: row for row in csv.DictReader(io.StringIO(table))}
    assert float(rows["Energy per inference, mean"]["change"]) == pytest.approx(0.10, abs=0.02)


def test_attribution_says_that_the_change_lies_under_like_conditions(client, moved):
    text = client.get("/panels/attribution/", {**PAIR, "explain": "energy_mean"}).content.decode()
    assert "8 devices moved to 4.2.0" in text and "4 stayed on 4.1.0" in text
    assert "Under like conditions the new release itself behaves differently" in text
    assert "prove no cause" in text


def test_a_release_that_no_device_ran_has_nothing_to_take_apart(client, moved, cast):
    text = client.get("/panels/attribution/", {**PAIR, "hardware_target": "hailo-8", "region": "us-west"})
    assert "No device has moved" in text.content.decode()
    empty = client.get("/panels/comparison/", {**PAIR, "region": "us-west"}).content.decode()
    assert "Neither release was measured" in empty


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"workload": "nobody"}, "workload: There is no workload “nobody”."),
        ({"workload": "lane-assist", "release": "9.9"}, "release: There is no release “9.9” of lane-assist."),
        ({"workload": "lane-assist", "against": "0.0"}, "against: There is no release"),
    ],
)
def test_what_does_not_exist_is_named_in_its_place(client, moved, query, words):
    answer = client.get("/compare/", query)
    assert answer.status_code == 422 and words in answer.content.decode()
    assert words in client.get("/panels/comparison/", query).content.decode()


def test_a_metric_that_cannot_be_explained_is_refused(client, moved):
    answer = client.get("/panels/attribution/", {**PAIR, "explain": "memory_mean"}).content.decode()
    assert "explain: “memory_mean” is none of" in answer


def test_a_workload_without_releases_has_nothing_to_compare(client, now):
    Workload.objects.create(slug="digits", name="Digits", created_at=now)
    text = client.get("/compare/", {"workload": "digits"}).content.decode()
    assert "There are no two releases to compare" in text
    answer = client.get("/panels/comparison/", {"workload": "digits"}).content.decode()
    assert "Name a workload with two releases" in answer
