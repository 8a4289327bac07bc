"""The band round a distribution function: that it covers where inferences of a device are alike."""

import numpy as np

from telemetry.simultaneous_band import half_widths

EDGES = np.linspace(0, 60, 61)


def histograms(rng, devices, per_device):
    """Latencies of devices that differ by 10 %, binned; shape (devices, bins)."""
    own = rng.lognormal(0, 0.10, devices)
    values = rng.lognormal(np.log(20), 0.25, (devices, per_device)) * own[:, None]
    return np.stack([np.histogram(row, EDGES)[0] for row in values])


def test_the_band_covers_the_true_function_where_the_band_of_independent_inferences_does_not():
    rng = np.random.default_rng(17)
    truth = np.cumsum(histograms(rng, 20_000, 40).sum(axis=0)) / 800_000
    covered = naive = 0
    for trial in range(60):
        counts = histograms(rng, 20, 300)
        share = np.cumsum(counts.sum(axis=0)) / counts.sum()
        off = np.abs(share - truth)
        covered += (off <= half_widths(counts, seed=trial) + 1e-12).all()
        naive += (off <= np.sqrt(np.log(2 / 0.05) / (2 * counts.sum()))).all()
    assert covered >= 51
    assert naive <= 35


def test_devices_that_are_all_alike_have_a_band_without_width():
    counts = np.tile(np.array([3, 5, 2]), (8, 1))
    assert np.allclose(half_widths(counts, seed=1), 0, atol=1e-12)


def test_five_devices_have_no_band():
    assert half_widths(np.ones((5, 4)), seed=1) is None
    assert half_widths(np.vstack([np.ones((5, 4)), np.zeros((9, 4))]), seed=1) is None


def test_the_same_seed_gives_the_same_band():
    counts = histograms(np.random.default_rng(2), 10, 50)
    assert np.array_equal(half_widths(counts, seed=4), half_widths(counts, seed=4))


def test_boards_that_differ_by_a_lot_do_not_widen_the_band_where_they_are_strata():
    rng = np.random.default_rng(8)
    slow, fast = histograms(rng, 12, 200), histograms(rng, 12, 200)
    fast = np.hstack([fast[:, 10:], np.zeros((12, 10), int)])
    counts, strata = np.vstack([slow, fast]), np.repeat([1, 2], 12)
    assert half_widths(counts, strata=strata, seed=1).max() < 0.6 * half_widths(counts, seed=1).max()


def test_a_device_alone_in_its_stratum_counts_among_the_others():
    counts = histograms(np.random.default_rng(6), 8, 100)
    strata = np.array([1, 1, 1, 1, 1, 2, 2, 3])
    assert np.isfinite(half_widths(counts, strata=strata, seed=1)).all()
    assert np.isfinite(half_widths(counts, strata=np.arange(8), seed=1)).all()
