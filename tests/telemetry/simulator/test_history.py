"""History: envelopes that the server's reader takes, the same by seed, and windows that say what their rows say."""

import json

import numpy as np
import pytest

from telemetry import protocol
from telemetry.columns import MEASURES
from telemetry.simulator import demo
from telemetry.simulator.faults import parse_fault
from telemetry.simulator.fleet import build_fleet
from telemetry.simulator.history import history

UNTIL = 1_772_452_800.0
FLEET = build_fleet(1, 3, ["orin-nx-16", "hailo-8", "coral-tpu"], ["eu-north"], "lane-assist")


def past(hours=30, form="windows", release_at=lambda serial, at_s: "4.1.0", faults=(), **options):
    return list(
        history(
            options.pop("fleet", FLEET),
            workload="lane-assist",
            release_at=release_at,
            bill_of_materials=demo.bill_of_materials,
            faults=[parse_fault(spec, UNTIL - hours * 3600) for spec in faults],
            since_s=UNTIL - hours * 3600,
            until_s=UNTIL,
            seed=1,
            form=form,
            **{"per_window": 50, **options},
        )
    )


def read(envelope):
    return protocol.read_batch(json.dumps(envelope, allow_nan=False).encode(), 5000)


@pytest.mark.parametrize("form", ["windows", "rows"])
def test_the_servers_reader_takes_every_envelope(form):
    envelopes = past(form=form, faults=("reboot@every=6h", "driver_reset@every=7h", "throttle:4"))
    for _, envelope in envelopes:
        batch = read(envelope)
        assert batch.rejections == []
        assert batch.unknown_fields == 0
        assert batch.sample is (form == "windows")
    assert {serial for serial, _ in envelopes} == {traits.serial for traits in FLEET}


@pytest.mark.parametrize("form", ["windows", "rows"])
def test_the_same_seed_gives_the_same_bytes(form):
    assert json.dumps(past(form=form, hours=5)) == json.dumps(past(form=form, hours=5))


def test_every_hour_is_covered_once_and_batches_are_numbered_without_a_hole():
    for traits in FLEET:
        envelopes = [envelope for serial, envelope in past() if serial == traits.serial]
        assert [envelope["batch_seq"] for envelope in envelopes] == [1, 2]
        starts = [window["start"] for envelope in envelopes for window in envelope["windows"]]
        assert starts == [round((UNTIL - hour * 3600) * 1e6) for hour in range(30, 0, -1)]


def test_windows_and_rows_of_the_same_past_agree():
    windows = [read(envelope) for _, envelope in past(hours=4)]
    rows = [read(envelope) for _, envelope in past(hours=4, form="rows")]
    for summed, single in zip(windows, rows, strict=True):
        assert sum(window.count for window in summed.windows) == len(single.inferences) == 200
        total = sum(window.latency.sum for window in summed.windows)
        assert total == pytest.approx(np.sum(single.inferences.measures[MEASURES.index("latency")]), rel=1e-4)


def test_a_change_of_release_starts_a_new_envelope_with_its_bill_of_materials():
    changed_s = UNTIL - 10 * 3600
    envelopes = past(release_at=lambda serial, at_s: "4.2.0" if at_s >= changed_s else "4.1.0", fleet=FLEET[:1])
    releases = [envelope["context"]["release"] for _, envelope in envelopes]
    assert releases == ["4.1.0", "4.2.0"]
    assert [envelope["context"]["model_version"] for _, envelope in envelopes] == ["lane-net-4.1.0", "lane-net-4.2.0"]
    assert [event["type"] for event in envelopes[1][1]["events"]] == ["boot"]


def test_a_fault_of_the_release_is_in_the_history_too():
    changed_s = UNTIL - 24 * 3600
    envelopes = past(
        hours=72,
        per_window=300,
        release_at=lambda serial, at_s: "4.2.0" if at_s >= changed_s else "4.1.0",
        faults=("energy:+30%@target=orin-nx-16,release=4.2.0",),
    )

    def mean_energy(target, release):
        windows = [
            window
            for _, envelope in envelopes
            if (envelope["context"]["accelerator"], envelope["context"]["release"]) == (target, release)
            for window in envelope["windows"]
        ]
        return sum(w["energy_mj"]["sum"] for w in windows) / sum(w["count"] for w in windows)

    assert mean_energy("orin-nx-16", "4.2.0") / mean_energy("orin-nx-16", "4.1.0") == pytest.approx(1.3, abs=0.08)
    assert mean_energy("hailo-8", "4.2.0") / mean_energy("hailo-8", "4.1.0") == pytest.approx(1.0, abs=0.08)


def test_a_device_that_fell_silent_sends_nothing_more():
    changed_s = UNTIL - 10 * 3600
    envelopes = past(
        release_at=lambda serial, at_s: "4.2.0" if at_s >= changed_s else "4.1.0",
        faults=("go_silent_after_update@release=4.2.0",),
    )
    assert {envelope["context"]["release"] for _, envelope in envelopes} == {"4.1.0"}


def test_too_long_windows_and_too_many_rows_are_refused():
    with pytest.raises(ValueError, match="window_s"):
        past(window_s=7200)
    with pytest.raises(ValueError, match="per_window"):
        past(form="rows", per_window=6000)
