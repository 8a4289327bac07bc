"""False-discovery control over a board of cells."""

import numpy as np
import pytest
from scipy import stats

from drift.stats.false_discovery import benjamini_hochberg
from tests.drift.stats.oracles import oracle


def test_the_published_example_rejects_its_first_four() -> None:
    case = oracle("benjamini_hochberg")
    adjusted = benjamini_hochberg(np.array(case["p_values"]))
    assert (adjusted <= case["rate"]).sum() == case["rejected"]
    assert (np.diff(adjusted) >= 0).all()


def test_a_cell_without_a_test_is_neither_found_nor_counted() -> None:
    p = np.array([0.001, np.nan, 0.04])
    adjusted = benjamini_hochberg(p)
    assert np.isnan(adjusted[1])
    assert adjusted[[0, 2]] == pytest.approx(benjamini_hochberg(p[[0, 2]]))
    assert np.isnan(benjamini_hochberg(np.array([np.nan]))).all()
    assert len(benjamini_hochberg(np.array([]))) == 0


def test_device_level_p_values_hold_the_rate_and_pooled_ones_do_not() -> None:
    # 300 cells of 20 devices; 30 cells truly moved; every device has its own lasting level.
    rng = np.random.default_rng(8)
    true = np.arange(300) < 30
    level = rng.normal(0.0, 0.02, (300, 20)) + 0.06 * true[:, None]
    inferences = level[:, :, None] + rng.normal(0.0, 0.2, (300, 20, 200))
    by_device = stats.ttest_1samp(inferences.mean(axis=2), 0.0, axis=1).pvalue
    pooled = stats.ttest_1samp(inferences.reshape(300, -1), 0.0, axis=1).pvalue
    found, wrong = (benjamini_hochberg(p) <= 0.05 for p in (by_device, pooled))
    assert (found & ~true).sum() / found.sum() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / found.sum())
    assert found[true].all()
    assert (wrong & ~true).sum() / wrong.sum() > 0.5
