"""The room left to each limit in the field, against the raw values that were stored, and its page."""

import csv
import io
from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from fleet.actors import Actor
from fleet.services.budgets import write_budget
from telemetry.selectors.budget_room import budget_rooms
from telemetry.selectors.selection import parse_selection
from telemetry.services.folding import fold
from tests.telemetry.records import draw_records, make_context, store_batch

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def measured(cast, make_device, now, monkeypatch):
    """An hour of one device on orin-nx-16, and budgets for both hardware targets."""
    monkeypatch.setattr(timezone, "now", lambda: now)
    times = sorted(now - timedelta(seconds=30 * k + 1) for k in range(120))
    records = draw_records(np.random.default_rng(7), times, latency_ms=20.0)
    store_batch(make_device("orin-a"), make_context(cast.release, now), records, seq=1, received_at=now)
    fold(now)
    for target in (cast.orin, cast.hailo):
        write_budget(
            workload=cast.workload,
            hardware_target=target,
            hard_limits={"latency_p95_ms": 10, "energy_mj": 1000, "error_rate": 1, "boot_s": 30},
            soft_limits={"energy_mj": 0.001},
            actor=Actor.system("tests"),
            now=now,
        )
    return records


def test_each_limit_stands_beside_what_was_measured_and_what_was_not_is_unknown(measured, now):
    hailo, orin = budget_rooms(parse_selection({}), start=now - timedelta(hours=2), end=now)
    rooms = {room.limit: room for room in orin.rooms}
    p95 = np.quantile(measured.measures["latency"], 0.95, method="inverted_cdf")
    assert rooms["latency_p95_ms"].measured == pytest.approx(p95, rel=0.011)
    assert rooms["energy_mj"].measured == pytest.approx(np.nanmean(measured.measures["energy"]), rel=1e-5)
    assert {name: room.state for name, room in rooms.items()} == {
        "latency_p95_ms": "exceeded",
        "energy_mj": "over_preference",
        "boot_s": "unknown",
        "error_rate": "within",
    }
    assert [room.limit for room in orin.exceeded] == ["latency_p95_ms"]
    assert orin.count == 120
    assert (hailo.count, {room.state for room in hailo.rooms}) == (0, {"unknown"})


def test_the_page_and_its_file_show_every_limit(measured, browser_client, cast):
    browser = browser_client(cast.engineer)
    page = browser.get("/budgets/?from=-2h")
    assert page.status_code == 200
    text = page.content.decode()
    assert "lane-assist on orin-nx-16" in text
    assert "exceeded" in text
    assert "measured by device CI, not in the field" in text
    rows = list(csv.DictReader(io.StringIO(b"".join(browser.get("/budgets/?from=-2h&format=csv")).decode())))
    assert len(rows) == 8
    assert {row["state"] for row in rows if row["hardware_target"] == "hailo-8"} == {"unknown"}


def test_filters_narrow_the_budgets_and_a_bad_one_is_named(measured, browser_client, cast):
    browser = browser_client(cast.engineer)
    assert "on hailo-8" not in browser.get("/budgets/?hardware_target=orin-nx-16").content.decode().split("<main")[1]
    assert browser.get("/budgets/?hardware_target=abacus").status_code == 422


def test_without_budgets_the_page_says_so(cast, browser_client):
    assert "No budget here" in browser_client(cast.engineer).get("/budgets/").content.decode()
