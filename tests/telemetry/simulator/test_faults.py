"""How faults are written, whom they hit and when."""

import math

import pytest

from telemetry.simulator.faults import NAMES, Effects, effects, parse_fault

START = 1_772_452_800.0  # 2026-03-02T12:00:00Z
DEVICE = {"serial": "sim-orin-nx-16-0001", "target": "orin-nx-16", "region": "eu-north", "release": "4.2.0"}


def at(*specs, now=START + 1.0, before=START, **device):
    faults = [parse_fault(spec, START) for spec in specs]
    return effects(faults, **{**DEVICE, **device}, before_s=before, now_s=now)


def test_values_may_be_numbers_percentages_and_durations():
    assert parse_fault("energy:+8%", START).value == pytest.approx(0.08)
    assert parse_fault("cpu_fallback:0.3", START).value == 0.3
    assert parse_fault("offline:3d", START).value == 3 * 86_400
    assert parse_fault("clock_skew:-10m", START).value == -600


def test_a_time_may_be_relative_to_the_start_or_absolute():
    assert parse_fault("tail@from=+2h", START).begins_s == START + 7200
    assert parse_fault("tail@from=2026-03-02T12:00:00Z", START).begins_s == START
    assert parse_fault("tail@until=1772452800", START).ends_s == START


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("gremlins", "no fault 'gremlins'"),
        ("energy", "needs a value"),
        ("energy:lots", "'lots' is neither"),
        ("tail@colour=red", "no selector 'colour'"),
        ("tail@target", "not KEY=VALUE"),
        ("tail@from=2026-03-02T12:00:00", "needs an offset"),
        ("reboot@every=0s", "every must be positive"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_the_reason(spec, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_fault(spec, START)


def test_without_faults_nothing_happens():
    assert at() == Effects()


def test_selectors_have_to_match_all_together():
    spec = "energy:+8%@target=orin-nx-16,release=4.2.0"
    assert at(spec).energy_factor == pytest.approx(1.08)
    assert at(spec, target="hailo-8") == Effects()
    assert at(spec, release="4.1.0") == Effects()
    assert at("tail@region=us-west") == Effects()
    assert at("tail@serial=sim-orin-nx-16-0001").tail_share == 0.05


def test_a_share_hits_that_share_of_devices_and_always_the_same():
    fault = parse_fault("tail@share=0.3", START)
    hit = [fault.hits(f"sim-{n}", "hailo-8", "lab", "4.1.0") for n in range(3000)]
    assert sum(hit) / 3000 == pytest.approx(0.3, abs=0.03)
    assert hit == [fault.hits(f"sim-{n}", "hailo-8", "lab", "4.1.0") for n in range(3000)]


def test_a_fault_is_on_between_from_and_until():
    spec = "latency:+12%@from=+1h,until=+2h"
    on = [at(spec, now=START + hours * 3600).latency_factor > 1 for hours in (0.5, 1, 1.9, 2)]
    assert on == [False, True, True, False]


def test_offline_is_a_spell_that_ends_or_returns():
    once = [at("offline:3d@from=+1d", now=START + day * 86_400).offline for day in (0.5, 1.5, 3.9, 4.1, 9)]
    assert once == [False, True, True, False, False]
    again = [at("offline:1h@from=+0s,every=4h", now=START + hour * 3600).offline for hour in (0.5, 2, 4.5, 6)]
    assert again == [True, False, True, False]


def test_without_a_beginning_spells_of_different_devices_come_at_different_times():
    spec = parse_fault("offline:1h@every=10h", START)
    moments = [START + minute * 60 for minute in range(600)]
    away = [[spec.active(now, f"sim-{n}") for now in moments] for n in range(100)]
    assert all(sum(device) == 60 for device in away)
    assert max(sum(device[minute] for device in away) for minute in range(600)) < 30


def test_a_boot_strikes_once_or_every_so_often():
    def strikes(spec):
        return [at(spec, before=START + h * 3600, now=START + (h + 1) * 3600).reboots for h in range(6)]

    assert strikes("reboot@from=+2h30m"[:-3]) == [False, True, False, False, False, False]
    assert strikes("reboot@from=+0s,every=2h") == [False, True, False, True, False, True]


def test_a_failing_sensor_degrades_over_an_hour():
    losses = [at("sensor_degradation:0.2@from=+0s", now=START + s).quality_loss for s in (0, 1800, 3600, 9999)]
    assert losses == [0.0, pytest.approx(0.1), pytest.approx(0.2), pytest.approx(0.2)]


def test_faults_add_up():
    both = at("energy:+10%", "energy:+10%", "cpu_fallback:0.2", "cpu_fallback:0.3", "throttle:2", "clock_skew:60")
    assert both.energy_factor == pytest.approx(1.21)
    assert (both.cpu_share, both.heat_factor, both.clock_skew_s) == (0.5, 2.0, 60.0)


@pytest.mark.parametrize("name", NAMES)
def test_every_fault_that_is_documented_does_something(name):
    value = ":+8%" if name in ("energy", "latency") else ""
    begun = at(f"{name}{value}@from=+0s", before=START - 1, now=START + 10)
    assert begun != Effects()
    assert math.isfinite(begun.latency_factor)
