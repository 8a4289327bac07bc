"""Who is in a simulated fleet."""

import numpy as np
import pytest

from telemetry.simulator import demo
from telemetry.simulator.fleet import build_fleet

TARGETS, REGIONS = ["orin-nx-16", "hailo-8", "coral-tpu"], ["eu-north", "us-west"]


def test_the_same_seed_gives_the_same_fleet_and_another_seed_another():
    assert build_fleet(1, 20, TARGETS, REGIONS, "lane-assist") == build_fleet(1, 20, TARGETS, REGIONS, "lane-assist")
    assert build_fleet(1, 20, TARGETS, REGIONS, "lane-assist") != build_fleet(2, 20, TARGETS, REGIONS, "lane-assist")


def test_a_larger_fleet_contains_the_smaller():
    small, large = (build_fleet(1, count, TARGETS, REGIONS, "lane-assist") for count in (20, 50))
    assert large[:20] == small


def test_targets_and_regions_are_evenly_filled_and_serials_are_unique():
    fleet = build_fleet(1, 60, TARGETS, REGIONS, "lane-assist")
    for target in TARGETS:
        for region in REGIONS:
            assert sum(t.hardware.name == target and t.region == region for t in fleet) == 10
    assert len({traits.serial for traits in fleet}) == 60


def test_devices_of_one_kind_differ_by_ten_percent():
    fleet = build_fleet(1, 2000, ["orin-nx-16"], ["lab"], "lane-assist")
    for name in ("time_factor", "power_factor"):
        logs = np.log([getattr(traits, name) for traits in fleet])
        assert logs.std() == pytest.approx(0.10, abs=0.006)
        assert logs.mean() == pytest.approx(0.0, abs=0.01)


def test_all_three_revisions_and_both_power_sources_are_in_the_field():
    fleet = build_fleet(1, 300, TARGETS, REGIONS, "lane-assist")
    assert {traits.revision for traits in fleet} == {"A", "B", "C"}
    assert {traits.power_source for traits in fleet} == {"mains", "battery"}


def test_a_board_that_is_not_known_is_simulated_under_its_name():
    (traits,) = build_fleet(1, 1, ["my-board"], ["my-region"], "my-workload")
    assert traits.hardware.name == "my-board"


@pytest.mark.parametrize(("targets", "regions"), [([], ["lab"]), (["hailo-8"], [])])
def test_a_fleet_needs_a_target_and_a_region(targets, regions):
    with pytest.raises(ValueError, match="at least one"):
        build_fleet(1, 1, targets, regions, "lane-assist")


def test_the_releases_of_the_demo_differ_in_what_a_recommendation_points_at():
    running, canary = (demo.bill_of_materials(version) for version in (demo.RUNNING, demo.CANARY))
    differing = {part for part in running if running[part] != canary[part]}
    assert {"model_hash", "quantization"} <= differing
    assert "driver_version" not in differing
    assert {traits.hardware.name for traits in demo.fleet()} == set(demo.TARGETS)
