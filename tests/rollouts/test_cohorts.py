"""Cohorts: fair, stratified, the same when drawn again, and unmoved by devices that come and go."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollouts import cohorts
from rollouts.cohorts import Arm, Candidate, Population, StageRule

TARGETS = ("orin-nx-16", "hailo-8")
REGIONS = ("eu-north", "us-west", "ap-south")


def fleet(n: int, targets=TARGETS, regions=REGIONS) -> list[Candidate]:
    """n devices spread evenly over targets and regions."""
    return [Candidate(i + 1, targets[i % len(targets)], regions[(i // len(targets)) % len(regions)]) for i in range(n)]


labels = (st.sampled_from(TARGETS), st.sampled_from(REGIONS), st.sampled_from(["", "mains"]))
fleets = st.lists(
    st.tuples(st.integers(1, 10_000), *labels),
    min_size=1,
    max_size=120,
    unique_by=lambda row: row[0],
).map(lambda rows: [Candidate(*row) for row in rows])
seeds = st.integers(0, 2**63 - 1)
rules = st.builds(StageRule, share=st.floats(0.01, 1.0), minimum_devices=st.integers(0, 20))


@given(fleets, seeds, rules, st.floats(0.0, 0.2))
@settings(max_examples=200, deadline=None)
def test_every_device_is_in_at_most_one_arm_and_holdbacks_are_never_treated(candidates, seed, rule, share):
    holdback = cohorts.draw_holdback(candidates, seed=seed, share=share)
    drawn = cohorts.draw(Population(candidates, holdback=frozenset(holdback)), rule, seed=seed)
    ids = [member.device_id for member in drawn.members]
    assert len(ids) == len(set(ids))
    assert not set(drawn.ids(Arm.TREATED)) & set(holdback)
    assert set(drawn.ids(Arm.HOLDBACK)) <= set(holdback)


@given(fleets, seeds, rules)
@settings(max_examples=100, deadline=None)
def test_the_order_of_the_input_changes_nothing(candidates, seed, rule):
    assert cohorts.draw(Population(candidates), rule, seed=seed) == cohorts.draw(
        Population(candidates[::-1]), rule, seed=seed
    )


@given(fleets, seeds, rules)
@settings(max_examples=100, deadline=None)
def test_each_stratum_is_treated_in_proportion_to_its_size(candidates, seed, rule):
    drawn = cohorts.draw(Population(candidates), rule, seed=seed)
    for lane in {c.hardware_target for c in candidates}:
        rows = [row for row in drawn.strata if row.hardware_target == lane]
        total, devices = sum(row.treated for row in rows), sum(row.eligible for row in rows)
        for row in rows:
            assert abs(row.treated - total * row.eligible / devices) < 1.0


def test_the_share_counts_devices_that_earlier_stages_treated():
    candidates = fleet(200)
    first = cohorts.draw(Population(candidates), StageRule(0.05), seed=7)
    assert len(first.ids(Arm.TREATED)) == 10
    second = cohorts.draw(Population(candidates, treated=frozenset(first.ids(Arm.TREATED))), StageRule(0.25), seed=7)
    assert len(second.ids(Arm.TREATED)) == 40
    assert not set(first.ids(Arm.TREATED)) & set(second.ids(Arm.TREATED))
    assert not set(first.ids(Arm.TREATED)) & set(second.ids(Arm.CONTROL))


def test_a_device_that_leaves_between_preview_and_start_moves_at_most_one_other():
    candidates = fleet(300)
    before = set(cohorts.draw(Population(candidates), StageRule(0.2), seed=3).ids(Arm.TREATED))
    gone = min(before)
    after = set(
        cohorts.draw(Population([c for c in candidates if c.device_id != gone]), StageRule(0.2), seed=3).ids(
            Arm.TREATED
        )
    )
    assert len(after - before) <= 2 and len(before - after) <= 2


def test_a_small_lane_gets_enough_devices_to_be_decided_and_keeps_as_many_for_comparison():
    drawn = cohorts.draw(Population(fleet(40)), StageRule(0.05, minimum_devices=6), seed=1)
    for target in TARGETS:
        assert sum(row.treated for row in drawn.strata if row.hardware_target == target) == 6
        assert sum(row.control for row in drawn.strata if row.hardware_target == target) >= 6


def test_the_last_stage_treats_everyone_but_the_holdbacks():
    candidates = fleet(200)
    holdback = cohorts.draw_holdback(candidates, seed=5, share=0.05)
    drawn = cohorts.draw(Population(candidates, holdback=frozenset(holdback)), StageRule(1.0), seed=5)
    assert len(drawn.ids(Arm.TREATED)) == 200 - len(holdback)
    assert drawn.ids(Arm.HOLDBACK) == holdback


def test_holdbacks_suffice_for_a_comparison_where_the_fleet_can_spare_them():
    assert len(cohorts.draw_holdback(fleet(60, TARGETS[:1]), seed=1, share=0.05)) == 6
    assert len(cohorts.draw_holdback(fleet(400, TARGETS[:1]), seed=1, share=0.05)) == 20
    assert len(cohorts.draw_holdback(fleet(10, TARGETS[:1]), seed=1, share=0.05)) == 2
    assert cohorts.draw_holdback(fleet(60), seed=1, share=0.0) == []


def test_each_device_is_treated_equally_often_over_seeds():
    candidates = fleet(40, TARGETS[:1], REGIONS[:2])
    counts = np.zeros(41)
    draws = 4000
    for seed in range(draws):
        counts[cohorts.draw(Population(candidates), StageRule(0.25), seed=seed).ids(Arm.TREATED)] += 1
    # binomial(4000, 1/4): standard deviation 27.4; five of them for forty devices
    assert np.abs(counts[1:] - draws / 4).max() < 5 * 27.4


def test_a_hand_picked_stage_is_observational_and_compares_with_devices_outside():
    candidates = fleet(60)
    picked, others = candidates[:12], candidates[12:]
    drawn = cohorts.draw(Population(picked, outside=others), StageRule(1.0, hand_picked=True), seed=2)
    assert not drawn.randomised
    assert drawn.ids(Arm.TREATED) == [c.device_id for c in picked]
    assert set(drawn.ids(Arm.CONTROL)) <= {c.device_id for c in others}


def test_redrawn_assignments_keep_the_quotas_and_begin_with_the_real_one():
    drawn = cohorts.draw(Population(fleet(120)), StageRule(0.2), seed=11)
    rows = cohorts.redraw(drawn, seed=11, count=500)
    analysed = [member for member in drawn.members if member.analysed]
    assert rows[0].tolist() == [float(member.arm is Arm.TREATED) for member in analysed]
    strata = np.array([member.stratum for member in analysed])
    for name in set(strata):
        assert len(set(rows[:, strata == name].sum(axis=1))) == 1
    assert np.array_equal(rows, cohorts.redraw(drawn, seed=11, count=500))


def test_a_large_stage_compares_a_random_part_of_both_arms():
    drawn = cohorts.draw(Population(fleet(9_000)), StageRule(0.5), seed=4, analysed_limit=1_000)
    analysed = [member for member in drawn.members if member.analysed]
    assert abs(len(analysed) - 1_000) <= 4
    # Whoever is treated is a member; control devices are members only where they are compared.
    assert len(drawn.ids(Arm.TREATED)) == 4_500
    assert all(member.analysed for member in drawn.members if member.arm is Arm.CONTROL)
    assert sum(row.control for row in drawn.strata) == len(drawn.ids(Arm.CONTROL))
    assert len(drawn.ids(Arm.TREATED)) == 4_500
    assert abs(sum(member.arm is Arm.TREATED for member in analysed) - 500) <= 4


def test_a_small_arm_leaves_its_room_to_the_large_one():
    drawn = cohorts.draw(Population(fleet(9_000)), StageRule(0.02), seed=4, analysed_limit=800)
    analysed = [member for member in drawn.members if member.analysed]
    assert sum(member.arm is Arm.TREATED for member in analysed) == 180
    assert len(analysed) == 800


def test_a_share_outside_zero_to_one_is_refused_by_name():
    with pytest.raises(ValueError, match="share"):
        StageRule(0.0)
    with pytest.raises(ValueError, match="share"):
        dataclasses.replace(StageRule(0.5), share=1.2)


@given(st.integers(0, 500), st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 90), min_size=1))
def test_allocation_gives_out_everything_that_fits(total, sizes):
    given_out = cohorts.allocate(total, sizes)
    assert sum(given_out.values()) == min(total, sum(sizes.values()))
    assert all(given_out[name] <= sizes[name] for name in sizes)
