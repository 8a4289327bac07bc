"""Readings of an attribution: each rule by a fleet that it describes."""

import numpy as np
import pytest

from drift.stats.attribution import Attribution, Component, Estimate
from drift.stats.reading import Circumstances, GroupChange, concentrated_in, group_changes, read_attribution

SHOWN, NOTHING = Estimate(1.0, 0.8, 1.2), Estimate(0.0, -0.2, 0.2)


def component(name: str, *, treated: Estimate, control: Estimate, share: float | None = None) -> Component:
    difference = SHOWN if treated.shown and not control.shown else NOTHING
    return Component(name, treated, control, difference, share)


def attribution(*components: Component) -> Attribution:
    return Attribution(component("total", treated=SHOWN, control=NOTHING, share=1.0), list(components), 1.0, 20, 60)


def causes(*components: Component, **circumstances: object) -> list[str]:
    found = read_attribution(attribution(*components), Circumstances(**circumstances))  # type: ignore[arg-type]
    return [reading.cause for reading in found]


def test_within_in_the_canary_alone_is_model_or_runtime() -> None:
    assert causes(component("within", treated=SHOWN, control=NOTHING, share=0.9)) == ["model_or_runtime"]


@pytest.mark.parametrize(
    ("condition", "cause"),
    [("throttled", "throttling"), ("temperature_band", "heat"), ("fallback", "fallback")],
)
def test_a_condition_up_in_the_canary_alone_is_still_the_releases_doing(condition: str, cause: str) -> None:
    assert causes(component(condition, treated=SHOWN, control=NOTHING, share=0.6)) == [cause]


def test_a_condition_up_in_both_arms_is_environment() -> None:
    assert causes(component("temperature_band", treated=SHOWN, control=SHOWN)) == ["environment"]
    opposite = Estimate(-1.0, -1.2, -0.8)
    assert causes(component("temperature_band", treated=SHOWN, control=opposite)) == ["unexplained"]


def test_a_change_older_than_the_update_is_read_first() -> None:
    found = causes(component("within", treated=SHOWN, control=NOTHING, share=0.9), before_update_share=0.8)
    assert found == ["before_update", "model_or_runtime"]


def test_few_devices_with_other_inputs_are_sensor_or_scene() -> None:
    changes = np.r_[np.full(16, 0.01), 2.0, 3.0]
    assert causes(device_changes=changes, input_quality_changed=True) == ["sensor_or_scene"]
    assert causes(device_changes=np.full(18, 1.0), input_quality_changed=True) == ["unexplained"]
    assert causes(device_changes=changes) == ["unexplained"]


def test_one_revision_alone_is_an_interaction() -> None:
    groups = [GroupChange("rev B", 8, 2.0, 1.5, 2.5), GroupChange("rev A", 9, 0.1, -0.2, 0.4)]
    assert causes(groups=groups) == ["interaction"]
    assert concentrated_in(groups) is groups[0]


def test_a_noisy_other_revision_is_no_sign_of_an_interaction() -> None:
    groups = [GroupChange("rev B", 8, 2.0, 1.5, 2.5), GroupChange("rev A", 9, 1.0, -2.0, 4.0)]
    assert concentrated_in(groups) is None
    assert concentrated_in(groups[:1]) is None
    assert concentrated_in([groups[0], GroupChange("rev C", 3, 0.0, -0.1, 0.1)]) is None


def test_the_strongest_component_is_read_first_and_a_small_one_is_left_out() -> None:
    found = causes(
        component("within", treated=SHOWN, control=NOTHING, share=0.30),
        component("throttled", treated=SHOWN, control=NOTHING, share=0.65),
        component("fallback", treated=SHOWN, control=NOTHING, share=0.05),
    )
    assert found == ["throttling", "model_or_runtime"]


def test_group_changes_compare_each_group_with_its_own_control() -> None:
    rng = np.random.default_rng(1)
    treated = np.arange(80) % 2 == 0
    group = ["old" if i < 40 else "new" for i in range(80)]
    changes = rng.normal(0, 0.1, 80) + np.where(treated & (np.arange(80) >= 40), 1.0, 0.0)
    changes[0] = np.nan
    found = {change.group: change for change in group_changes(changes, treated, group, seed=1)}
    assert found["new"].value == pytest.approx(1.0, abs=0.1)
    assert found["new"].shown
    assert found["old"].upper < 0.2
    assert found["old"].n_treated == 19
    assert group_changes(changes[:1], treated[:1], group[:1], seed=1) == []
