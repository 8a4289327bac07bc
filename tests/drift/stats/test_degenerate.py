"""Input that there is nothing to learn from, decided on purpose: no method invents an effect or a pass out of it."""

import math

import numpy as np
import pytest

from drift.stats import accuracy, attribution, cusum, false_discovery, mixture, paired, proportions, shape
from drift.stats.contrast import group_moments, stratified_contrast, stratum_moments, total
from drift.stats.look import LookInput, MetricInput, evaluate_look
from drift.stats.sequential import SequentialState, take_look

NAN = math.nan


class TestPairedChange:
    """The test behind each cell of the board."""

    @pytest.mark.parametrize("n", [0, 1, 5])
    def test_few_devices_have_no_test(self, n) -> None:
        found = paired.paired_change(np.zeros(n), np.ones(n), harm=1)
        assert (found.n, found.p_value, found.lower) == (n, None, None)

    def test_all_ties_are_no_change_with_p_one(self) -> None:
        found = paired.paired_change(np.full(9, 2.0), np.full(9, 2.0), harm=1)
        assert (found.mean, found.standard_error, found.p_value) == (0.0, 0.0, 1.0)

    def test_the_same_change_everywhere_cannot_be_weighed(self) -> None:
        found = paired.paired_change(np.full(9, 2.0), np.full(9, 3.0), harm=1)
        assert (found.mean, found.p_value) == (1.0, None)

    def test_missing_devices_are_left_out_and_not_taken_for_unchanged(self) -> None:
        before = np.array([1.0] * 10 + [NAN] * 90)
        found = paired.paired_change(before, before + np.linspace(0.9, 1.1, 100), harm=1)
        assert found.n == 10 and found.mean == pytest.approx(0.909, abs=0.01)


class TestCusum:
    """Days without a control."""

    def run(self, values, **more):
        return cusum.run_cusum(values, baseline_days=10, harm=1, alpha=0.05, rng=np.random.default_rng(1), **more)

    def test_a_baseline_that_never_varies_can_never_be_crossed(self) -> None:
        found = self.run(np.concatenate([np.ones((4, 10)), np.full((4, 5), 9.0)], axis=1))
        assert (found.limit, found.alarm_day) == (math.inf, None)

    def test_days_without_any_device_leave_the_path_where_it_was(self) -> None:
        values = np.random.default_rng(2).normal(size=(6, 20))
        values[:, 15] = NAN
        found = self.run(values)
        assert found.path[5] == found.path[4]
        assert np.isnan(found.change[15])

    def test_no_data_at_all_is_no_alarm_and_no_shift(self) -> None:
        found = self.run(np.full((3, 15), NAN))
        assert (found.limit, found.alarm_day) == (math.inf, None)
        assert math.isnan(cusum.shift(found, 10, 5).mean)

    def test_one_device_is_its_own_fleet(self) -> None:
        found = self.run(np.random.default_rng(3).normal(size=(1, 20)))
        assert math.isfinite(found.limit)

    def test_a_horizon_that_is_over_is_refused_and_a_longer_one_has_a_higher_limit(self) -> None:
        values = np.random.default_rng(4).normal(size=(6, 20))
        with pytest.raises(ValueError, match="horizon"):
            self.run(values, horizon=9)
        assert self.run(values, horizon=90).limit > self.run(values).limit

    def test_a_shift_of_independent_days_has_the_interval_of_two_means(self) -> None:
        rng = np.random.default_rng(5)
        change = np.concatenate([rng.normal(0, 1, 10), rng.normal(3, 1, 6)])
        found = cusum.Cusum(np.zeros(6), 1.0, None, None, 0.0, 1.0, 0.0, 0.0, change)
        base = change[:10]
        moved = cusum.shift(found, 10, 4)
        assert moved.mean == pytest.approx(change[-4:].mean() - base.mean())
        assert moved.standard_error == pytest.approx(base.std(ddof=1) * math.sqrt(1 / 4 + 1 / 10))
        assert moved.lower < moved.mean < moved.upper


class TestContrasts:
    """Assignments of devices, thousands at once."""

    def test_several_strata_at_once_are_the_sum_of_each_whatever_is_missing(self) -> None:
        rng = np.random.default_rng(6)
        strata = []
        for n in (2, 5, 9, 14):
            z = np.zeros((40, n))
            for row in z:
                row[rng.choice(n, max(n // 2, 1), replace=False)] = 1.0
            d = rng.normal(size=(n, 3))
            d[rng.random((n, 3)) < 0.3] = NAN
            strata.append((z, d))
        # a stratum with one arm only, and one in which nobody has a value
        strata += [
            (np.ones((40, 3)), rng.normal(size=(3, 3))),
            (np.eye(3)[rng.integers(0, 3, 40)], np.full((3, 3), NAN)),
        ]
        together, apart = group_moments(strata).contrast(), total(stratum_moments(z, d) for z, d in strata).contrast()
        for name in ("theta", "standard_error", "statistic"):
            np.testing.assert_allclose(getattr(together, name), getattr(apart, name), rtol=1e-9, atol=1e-12)

    def test_no_column_and_no_value_give_no_statistic(self) -> None:
        z = np.array([[1.0, 1.0, 0.0, 0.0]])
        assert stratified_contrast(z, np.zeros(4), np.empty((4, 0))).statistic.shape == (1, 0)
        assert np.isnan(stratified_contrast(z, np.zeros(4), np.full((4, 1), NAN)).statistic).all()

    def test_shapes_of_several_strata_at_once_are_the_sum_of_each(self) -> None:
        rng = np.random.default_rng(7)
        strata = []
        for n in (3, 8, 20):
            z = np.zeros((30, n))
            for row in z:
                row[rng.choice(n, n // 2, replace=False)] = 1.0
            d = rng.normal(size=(n, 6))
            d[rng.random(n) < 0.2] = NAN
            strata.append((z, d))
        apart = {str(k): shape.shape_moments(*pair) for k, pair in enumerate(strata)}
        np.testing.assert_allclose(
            shape.group_shape_moments(strata).distance(), shape.total_shape(apart, list(apart)).distance(), rtol=1e-9
        )
        with pytest.raises(ValueError, match="stratum"):
            shape.group_shape_moments([])

    def test_all_ties_spend_nothing_and_reject_nothing(self) -> None:
        step = take_look(SequentialState.start(1000), np.ones(1000), look=1, alpha_spent=0.05)
        assert (step.rejects, step.state.used) == (False, 0)


def look(pre, post, *, strata=None, treated=None) -> str:
    n = len(pre)
    found = evaluate_look(
        LookInput(
            devices=[f"d{k:02d}" for k in range(n)],
            treated=treated or [k % 2 for k in range(n)],
            strata=strata or ["orin"] * n,
            lanes=["orin"] * n,
            look=1,
            planned_looks=1,
            hours=48.0,
            seed=1,
            permutations=200,
            metrics=[MetricInput("energy_mean", pre, post)],
        )
    )
    return str(found.verdict)


@pytest.mark.parametrize(
    ("pre", "post", "verdict"),
    [
        ([1.0], [1.0], "inconclusive"),
        ([None] * 20, [None] * 20, "inconclusive"),
        ([1.0] * 20, [None] * 20, "inconclusive"),
        ([1.0] * 20, [1.0] * 4 + [None] * 16, "inconclusive"),
        # nothing varies and nothing changed: that is what a pass looks like
        ([1.0] * 20, [1.0] * 20, "pass"),
    ],
    ids=["one device", "no data", "nothing since", "heavy missing", "zero variance, no change"],
)
def test_a_look_at_nothing_is_never_a_pass_and_at_no_change_is_one(pre, post, verdict) -> None:
    assert look(pre, post) == verdict


def test_a_stratum_with_one_arm_only_is_left_out_of_a_look() -> None:
    rng = np.random.default_rng(8)
    pre = rng.normal(size=20).tolist()
    strata = ["orin|a"] * 16 + ["orin|b"] * 4
    treated = [k % 2 for k in range(16)] + [1] * 4
    # the four devices without control changed wildly, which nothing can be compared with
    post = [value + (50.0 if k >= 16 else 0.0) for k, value in enumerate(pre)]
    assert look(pre, post, strata=strata, treated=treated) in ("pass", "inconclusive")


def test_no_p_value_is_no_discovery() -> None:
    nothing = np.array([NAN, NAN])
    assert np.isnan(false_discovery.benjamini_hochberg(nothing)).all()
    assert false_discovery.benjamini_hochberg(np.empty(0)).shape == (0,)


def test_proportions_of_nothing_are_unknown_and_of_one_device_wide() -> None:
    assert (proportions.wilson(0, 0).lower, proportions.wilson(0, 0).upper) == (0.0, 1.0)
    one = proportions.wilson_clustered(np.array([990]), np.array([1000]))
    assert one.upper - one.lower > 0.7
    assert not proportions.reporting_rate(10, 0, 10, 0).in_order
    assert proportions.sample_ratio_p_value(0, 0, 0.5) == 1.0


def test_the_mixture_test_needs_eight_devices_an_arm_and_some_variance() -> None:
    for more in ({"treated": 7}, {"standard_error": 0.0}, {"theta": NAN}):
        given = {"theta": 1.0, "standard_error": 0.1, "rho": 1.0, "alpha": 0.05, "treated": 8, "control": 8} | more
        assert mixture.mixture_look(given.pop("theta"), given.pop("standard_error"), **given) is None


def test_attribution_without_common_devices_or_cells_is_nothing() -> None:
    empty = np.empty(0, dtype=np.int64)
    table = attribution.CellTable(device=empty, factors={"throttled": empty}, count=empty * 1.0, total=empty * 1.0)
    assert attribution.attribute(table, table, np.array([True, False]), seed=1) is None


class TestAccuracy:
    """Labels."""

    def test_no_label_is_the_whole_interval_and_one_device_a_wide_one(self) -> None:
        nothing = accuracy.random_sample_accuracy(np.empty(0, dtype=bool), np.empty(0, dtype=np.int64))
        assert math.isnan(nothing.estimate) and (nothing.lower, nothing.upper) == (0.0, 1.0)
        one = accuracy.weighted_sample_accuracy(np.ones(50, dtype=bool), np.full(50, 0.1), np.zeros(50, dtype=np.int64))
        assert one.lower < 0.5
        assert accuracy.unlabelled_accuracy(np.array([9.0]), np.array([10])).lower == 0.0

    def test_a_calibration_is_checked_on_two_devices_at_least(self) -> None:
        rng = np.random.default_rng(9)
        confidence = rng.random(400)
        learnt = accuracy.calibrate(confidence, rng.random(400) < confidence)
        device = np.arange(400) % 20
        assert accuracy.check_calibration(learnt, confidence, confidence > 2, np.zeros(400)) is None
        off = accuracy.check_calibration(learnt, confidence, np.zeros(400, dtype=bool), device)
        assert off.shown_to_be_off and off.difference == pytest.approx(0.5, abs=0.06)
        right = accuracy.check_calibration(learnt, confidence, rng.random(400) < confidence, device)
        assert not right.shown_to_be_off and right.lower < 0.0 < right.upper
