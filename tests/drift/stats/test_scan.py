"""Which groups are tested on their own, and when they have values enough."""

from drift.stats.assignments import Quota
from drift.stats.scan import Scope, enough_present, groups


def names(found: list) -> list[tuple[str, str]]:
    return [(str(group.scope), group.name) for group in found]


def test_all_devices_each_target_and_each_stratum_with_six_and_six_are_scanned() -> None:
    quotas = [Quota("a|n", 6, 9), Quota("a|s", 6, 9), Quota("b|n", 3, 9), Quota("b|s", 3, 9)]
    lane_of = {"a|n": "a", "a|s": "a", "b|n": "b", "b|s": "b"}
    assert names(groups(quotas, lane_of)) == [
        ("all", "all"), ("lane", "a"), ("lane", "b"), ("stratum", "a|n"), ("stratum", "a|s"),
    ]  # fmt: skip


def test_a_single_target_is_the_whole_and_is_listed_once() -> None:
    found = groups([Quota("a|n", 8, 8)], {"a|n": "a"})
    assert names(found) == [("lane", "a")]


def test_a_target_with_five_treated_devices_is_not_tested_alone() -> None:
    found = groups([Quota("a", 5, 20), Quota("b", 7, 20)], {"a": "a", "b": "b"})
    assert names(found) == [("all", "all"), ("lane", "b")]


def test_a_stratum_with_one_arm_lends_no_devices() -> None:
    found = groups([Quota("a|n", 6, 0), Quota("a|s", 5, 9)], {"a|n": "a", "a|s": "a"})
    assert found == []


def test_the_choice_at_a_look_knows_who_is_present_and_not_in_which_arm() -> None:
    (group,) = groups([Quota("a", 6, 12)], {"a": "a"})
    assert group.scope is Scope.LANE
    quota = {"a": Quota("a", 6, 12)}
    assert enough_present(group, quota, {"a": 12})
    assert not enough_present(group, quota, {"a": 11})
