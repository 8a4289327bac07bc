"""Accuracy from random labels, from weighted labels, and without labels."""

import math

import numpy as np
import pytest

from drift.stats.accuracy import (
    Accuracy,
    calibrate,
    check_calibration,
    random_sample_accuracy,
    retraining_signal,
    unlabelled_accuracy,
    weighted_sample_accuracy,
)
from drift.stats.proportions import wilson


def population(seed: int, devices: int = 40, each: int = 500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    device = np.repeat(np.arange(devices), each)
    confidence = np.clip(rng.beta(6, 2, devices * each) - 0.05 * rng.random(devices)[device], 0.01, 0.99)
    return device, confidence, rng.random(devices * each) < confidence


def test_random_labels_give_the_plain_rate() -> None:
    got = random_sample_accuracy(np.array([True] * 9 + [False]), np.arange(10))
    assert got.estimate == pytest.approx(0.9)
    assert (got.labels, got.devices) == (10, 10)
    # One label of each of ten devices: the variance between them has nine degrees of freedom.
    assert got.lower == pytest.approx(wilson(8.1, 9).lower, abs=1e-9)


def test_no_label_is_no_knowledge() -> None:
    got = random_sample_accuracy(np.array([], dtype=bool), np.array([], dtype=int))
    assert (got.lower, got.upper) == (0.0, 1.0)
    empty = weighted_sample_accuracy(np.array([], dtype=bool), np.array([]), np.array([], dtype=int))
    assert math.isnan(empty.estimate)
    assert (empty.lower, empty.upper) == (0.0, 1.0)


def test_doubtful_inferences_sampled_more_often_still_give_the_true_accuracy() -> None:
    inside, plain = 0, []
    for seed in range(60):
        device, confidence, correct = population(seed)
        probability = np.clip(0.25 * (1 - confidence), 0.002, 1.0)
        chosen = np.random.default_rng([9, seed]).random(len(device)) < probability
        got = weighted_sample_accuracy(correct[chosen], probability[chosen], device[chosen])
        inside += got.lower <= correct.mean() <= got.upper
        plain.append(correct[chosen].mean() - correct.mean())
    assert inside / 60 >= 0.85
    assert np.mean(plain) < -0.05, "without weights the estimate is far off, or the test proves nothing"


def test_equal_probabilities_weigh_nothing() -> None:
    device, _, correct = population(1, devices=10, each=20)
    got = weighted_sample_accuracy(correct, np.full(len(correct), 0.1), device)
    assert got.estimate == pytest.approx(correct.mean())


def test_one_device_or_unanimous_labels_stay_cautious() -> None:
    one = weighted_sample_accuracy(np.ones(50, dtype=bool), np.full(50, 0.5), np.zeros(50, dtype=int))
    assert (one.lower, one.upper) == pytest.approx((wilson(1, 1).lower, 1.0))
    many = weighted_sample_accuracy(np.ones(50, dtype=bool), np.full(50, 0.5), np.arange(50) % 10)
    assert many.lower == pytest.approx(wilson(10, 10).lower)
    mixed = weighted_sample_accuracy(np.array([True, False, True]), np.full(3, 0.5), np.zeros(3, dtype=int))
    assert mixed.lower <= mixed.estimate <= mixed.upper


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.2])
def test_an_impossible_sampling_probability_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        weighted_sample_accuracy(np.array([True]), np.array([bad]), np.array([0]))
    with pytest.raises(ValueError, match="equal lengths"):
        weighted_sample_accuracy(np.array([True]), np.array([0.5, 0.5]), np.array([0]))


def test_the_estimate_without_labels_is_right_while_the_calibration_holds_and_says_what_it_assumes() -> None:
    device, confidence, correct = population(3)
    overconfident = np.sqrt(confidence)
    learnt = calibrate(overconfident[::2], correct[::2])
    chances = learnt.apply(overconfident[1::2])
    sums = np.bincount(device[1::2], weights=chances)
    got = unlabelled_accuracy(sums, np.bincount(device[1::2]))
    assert got.lower - 0.01 <= correct[1::2].mean() <= got.upper + 0.01
    assert abs(overconfident[1::2].mean() - correct[1::2].mean()) > 0.05
    assert "calibration still holds" in got.assumption


def test_a_calibration_never_falls_with_confidence_and_needs_labels() -> None:
    _, confidence, correct = population(4)
    rates = calibrate(confidence, correct).apply(np.linspace(0, 1, 50))
    assert (np.diff(rates) >= 0).all()
    with pytest.raises(ValueError, match="at least 10"):
        calibrate(np.ones(9), np.ones(9, dtype=bool))


def test_one_device_without_labels_says_nothing_of_the_others() -> None:
    got = unlabelled_accuracy(np.array([45.0]), np.array([50]))
    assert (got.estimate, got.lower, got.upper) == (0.9, 0.0, 1.0)
    assert math.isnan(unlabelled_accuracy(np.array([0.0]), np.array([0])).estimate)


def accuracy(estimate: float, half: float) -> Accuracy:
    return Accuracy(estimate, estimate - half, estimate + half, 500, 20, "random sample", "")


def test_retraining_is_called_for_only_when_the_intervals_part() -> None:
    assert retraining_signal(accuracy(0.95, 0.01), accuracy(0.90, 0.01)).signal == "retrain"
    assert retraining_signal(accuracy(0.95, 0.02), accuracy(0.92, 0.02)).signal == "watch"
    assert retraining_signal(accuracy(0.95, 0.01), accuracy(0.945, 0.01)).signal == "none"
    assert retraining_signal(accuracy(0.95, 0.01), accuracy(math.nan, 0.5)).signal == "none"
    with pytest.raises(ValueError, match="tolerated_drop"):
        retraining_signal(accuracy(0.95, 0.01), accuracy(0.9, 0.01), tolerated_drop=-0.1)


def test_a_calibration_that_holds_is_seldom_called_off_however_few_the_labels():
    wrongly = 0
    for seed in range(200):
        rng = np.random.default_rng([seed, 7])
        learning, checking = rng.beta(12.0, 1.5, size=(2, 20))
        learnt = calibrate(learning, rng.random(20) < learning)
        found = check_calibration(learnt, checking, rng.random(20) < checking, np.arange(20) % 15)
        wrongly += found.shown_to_be_off
    # at most 5 % of 200, and three standard errors of that count
    assert wrongly <= 10 + 3 * 3.1


def test_labels_that_all_agree_leave_an_interval_of_a_width_that_so_few_deserve():
    rng = np.random.default_rng(5)
    confidence = rng.beta(12.0, 1.5, size=60)
    learnt = calibrate(confidence, rng.random(60) < 0.9)
    found = check_calibration(learnt, np.full(19, 0.9), np.ones(19, dtype=bool), np.arange(19) % 15)
    assert found.lower < 0.0 < found.upper
    assert found.upper - found.lower > 0.1


def test_a_calibration_that_went_stale_is_shown_to_be_off():
    rng = np.random.default_rng(6)
    confidence = rng.beta(12.0, 1.5, size=400)
    learnt = calibrate(confidence, rng.random(400) < confidence)
    found = check_calibration(learnt, confidence, rng.random(400) < confidence - 0.15, np.arange(400) % 40)
    assert found.lower > 0.05
