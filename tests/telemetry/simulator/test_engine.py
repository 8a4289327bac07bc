"""A simulated device: the same by seed, plausible in its physics, and each fault shifts what it says and no more."""

import numpy as np
import pytest

from telemetry.simulator.engine import DeviceModel
from telemetry.simulator.faults import parse_fault
from telemetry.simulator.fleet import build_fleet, device_rng

START = 1_772_452_800.0
TRAITS = build_fleet(1, 12, ["orin-nx-16", "hailo-8", "coral-tpu"], ["eu-north"], "lane-assist")
SHIFTING = ("latency_ms", "energy_mj", "confidence", "input_quality", "temperature_c", "accelerator_utilization")


def run(traits, *specs, hours=24, step_s=600.0, count=200, release="4.2.0", seed=1):
    """Everything that a device measures over some hours, as (columns, labels, steps)."""
    faults = [parse_fault(spec, START) for spec in specs]
    model = DeviceModel(traits, faults, release, START, device_rng(seed, traits.serial, 1))
    steps = [model.step(START + step_s * (i + 1), count) for i in range(int(hours * 3600 / step_s))]
    columns = {name: np.concatenate([step.columns[name] for step in steps]) for name in steps[0].columns}
    labels = {name: [value for step in steps for value in step.labels[name]] for name in steps[0].labels}
    return columns, labels, steps


def ratio(name, traits, spec):
    """Relative change of a mean by a fault, the device compared with itself."""
    healthy, faulty = run(traits)[0][name], run(traits, spec)[0][name]
    return faulty.mean() / healthy.mean() - 1.0


def events(steps):
    return [event.type for step in steps for event in step.events]


def test_the_same_seed_gives_the_same_measurements():
    one, two, other = (run(TRAITS[0], seed=seed)[0] for seed in (1, 1, 2))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(one["latency_ms"], other["latency_ms"])


def test_every_value_is_one_that_the_protocol_allows():
    for traits in TRAITS:
        specs = ("cpu_fallback:0.3", "tail:0.2", "throttle", "sensor_degradation:0.9", "driver_reset@every=1h")
        columns, labels, steps = run(traits, *specs, hours=6)
        for name, values in columns.items():
            assert np.isfinite(values).all(), name
            if name != "temperature_c":
                assert (values >= 0).all(), name
        for name in ("confidence", "input_quality", "accelerator_utilization"):
            assert (columns[name] <= 1).all()
        assert set(labels["fallback"]) <= {"none", "cpu"}
        assert set(labels["outcome"]) <= {"ok", "error"}
        assert all(5 < step.state.get("battery_pct", 50) <= 100 for step in steps)


def test_times_lie_within_the_step_and_are_in_order():
    model = DeviceModel(TRAITS[0], [], "4.1.0", START, device_rng(1, "x"))
    step = model.step(START + 60, 100)
    assert (np.diff(step.time_s) >= 0).all()
    assert step.time_s[0] > START
    assert step.time_s[-1] <= START + 60


def test_latency_is_the_sum_of_its_stages():
    columns, _, _ = run(TRAITS[0], hours=1)
    stages = sum(columns[f"{name}_ms"] for name in ("preprocess", "inference", "postprocess", "queue"))
    assert columns["latency_ms"] == pytest.approx(stages)


def test_neighbouring_hours_are_alike_and_distant_ones_are_not():
    hourly = []
    for traits in TRAITS:
        columns, _, _ = run(traits, hours=24 * 14, step_s=3600.0, count=400)
        means = np.log(columns["inference_ms"].reshape(-1, 400).mean(axis=1))
        hours = np.arange(len(means)) % 24
        # Day and night are the same every day; what is left is the hour's own course.
        hourly.append(means - np.array([means[hours == hour].mean() for hour in range(24)])[hours])
    near, far = (np.mean([np.corrcoef(m[:-lag], m[lag:])[0, 1] for m in hourly]) for lag in (1, 20))
    assert 0.5 < near < 0.9
    assert abs(far) < 0.15


def test_days_are_busier_warmer_and_brighter_than_nights():
    columns, _, steps = run(TRAITS[0], hours=24 * 7)
    # 15 h local time in eu-north is 14 h UTC; START is at noon UTC.
    hour = (12 + np.repeat(np.arange(len(steps)), 200) / 6) % 24
    day, night = np.abs(hour - 14) < 3, np.minimum(np.abs(hour - 2), np.abs(hour - 26)) < 3
    for name in ("accelerator_utilization", "temperature_c", "input_quality"):
        assert columns[name][day].mean() > columns[name][night].mean(), name


def test_the_case_soaks_slowly_and_the_die_follows_fast():
    model = DeviceModel(TRAITS[0], [parse_fault("throttle:1.8@from=+0s", START)], "4.1.0", START, device_rng(1, "x"))
    temperatures = [model.step(START + 60 * (i + 1), 0).state["temperature_c"] for i in range(240)]
    rise = temperatures[-1] - temperatures[0]
    assert rise > 8
    assert temperatures[5] - temperatures[0] < 0.35 * rise
    assert temperatures[90] - temperatures[0] > 0.8 * rise


def test_a_long_step_ends_about_where_many_short_ones_end():
    traits, spec = TRAITS[0], "throttle:1.8@from=+0s"
    fine = run(traits, spec, hours=2, step_s=60.0, count=0)[2][-1].state["temperature_c"]
    coarse = run(traits, spec, hours=2, step_s=3600.0, count=0)[2][-1].state["temperature_c"]
    assert coarse == pytest.approx(fine, abs=1.5)


@pytest.mark.parametrize("traits", TRAITS[:3], ids=lambda traits: traits.hardware.name)
def test_an_energy_fault_raises_energy_by_what_it_says_and_leaves_latency_and_confidence(traits):
    # Four percent more heat leak a little more: hence the upper side of the interval.
    assert ratio("energy_mj", traits, "energy:+8%") == pytest.approx(0.08, abs=0.004)
    assert ratio("latency_ms", traits, "energy:+8%") == pytest.approx(0.0, abs=1e-9)
    assert ratio("confidence", traits, "energy:+8%") == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("traits", TRAITS[:3], ids=lambda traits: traits.hardware.name)
def test_a_latency_fault_raises_latency_by_what_it_says_and_leaves_energy(traits):
    assert ratio("latency_ms", traits, "latency:+12%") == pytest.approx(0.12, abs=1e-6)
    assert ratio("energy_mj", traits, "latency:+12%") == pytest.approx(0.0, abs=1e-9)


def test_a_fault_of_another_target_or_release_changes_nothing():
    healthy = run(TRAITS[0])[0]
    for spec in ("energy:+8%@target=hailo-8", "energy:+8%@release=9.9.9"):
        faulty = run(TRAITS[0], spec)[0]
        assert all(np.array_equal(healthy[name], faulty[name]) for name in healthy)


def test_a_tail_raises_the_99th_percentile_and_hardly_the_median():
    healthy, faulty = run(TRAITS[0])[0]["latency_ms"], run(TRAITS[0], "tail:0.05")[0]["latency_ms"]
    assert np.quantile(faulty, 0.99) > 2.5 * np.quantile(healthy, 0.99)
    assert np.median(faulty) == pytest.approx(np.median(healthy), rel=0.01)


@pytest.mark.parametrize("traits", TRAITS[:3], ids=lambda traits: traits.hardware.name)
def test_a_blocked_fan_heats_until_the_device_throttles_and_slows_down(traits):
    healthy, _, calm = run(traits)
    columns, _, steps = run(traits, "throttle:4")
    assert columns["throttled"].mean() > 0.2
    assert not healthy["throttled"].any()
    assert "thermal_throttle_start" in events(steps)
    assert "thermal_throttle_start" not in events(calm)
    throttled, free = columns["throttled"], ~columns["throttled"]
    assert columns["inference_ms"][throttled].mean() > 1.3 * healthy["inference_ms"].mean()
    assert not free.any() or columns["inference_ms"][free].mean() < 1.1 * healthy["inference_ms"].mean()


def test_a_silent_cpu_fallback_shows_in_latency_energy_and_occupancy_but_not_in_the_label():
    healthy, healthy_labels, _ = run(TRAITS[0])
    columns, labels, steps = run(TRAITS[0], "cpu_fallback:0.3")
    idle = columns["accelerator_utilization"] < 0.05
    assert idle.mean() == pytest.approx(0.3, abs=0.02)
    assert columns["latency_ms"][idle].mean() > 3 * columns["latency_ms"][~idle].mean()
    assert columns["energy_mj"].mean() > 1.3 * healthy["energy_mj"].mean()
    assert labels["fallback"] == healthy_labels["fallback"]
    assert sum(step.cpu_fallbacks for step in steps) == idle.sum()


def test_a_failing_sensor_lowers_input_quality_and_with_it_confidence():
    assert ratio("input_quality", TRAITS[0], "sensor_degradation:0.25") == pytest.approx(-0.25 / 0.87, abs=0.04)
    assert ratio("confidence", TRAITS[0], "sensor_degradation:0.25") < -0.03
    assert ratio("latency_ms", TRAITS[0], "sensor_degradation:0.25") == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("traits", TRAITS[:6], ids=lambda traits: traits.serial)
def test_bimodal_confidence_has_two_peaks_and_the_same_mean(traits):
    healthy = run(traits, hours=48)[0]["confidence"]
    split = run(traits, "bimodal_confidence:0.06", hours=48)[0]["confidence"]
    assert split.mean() == pytest.approx(healthy.mean(), abs=0.012)
    middle = np.abs(split - split.mean()) < 0.02
    assert middle.mean() < 0.1
    assert (np.abs(healthy - healthy.mean()) < 0.02).mean() > middle.mean()


def test_a_driver_reset_is_an_event_and_costs_the_inferences_that_ran():
    _, _, steps = run(TRAITS[0], "driver_reset@from=+1h", hours=2, step_s=10.0, count=50)
    assert events(steps).count("driver_reset") == 1
    (struck,) = [step for step in steps if step.events]
    failed = [place for place, outcome in enumerate(struck.labels["outcome"]) if outcome == "error"]
    assert 0 < len(failed) < 50
    assert struck.columns["latency_ms"][failed].min() > 500


def test_a_boot_changes_a_device_by_about_one_percent():
    model = DeviceModel(TRAITS[0], [], "4.1.0", START, device_rng(1, "x"))
    means = []
    for i in range(300):
        event = model.boot(START)
        means.append(model.step(START, 2000).columns["inference_ms"].mean())
        assert event.detail["boots"] == i + 1
    assert 0.006 < np.std(np.log(means)) < 0.014
