"""Samples of inferences: reproducible, without replacement, and unbiased by their stated probabilities."""

from datetime import timedelta

import numpy as np
import pytest

from telemetry.models import ClassLabel
from telemetry.selectors import samples
from telemetry.selectors.samples import inference_at, sample_inferences
from tests.telemetry.records import Records, draw_records, make_context, store_batch

HOUR = timedelta(hours=1)


@pytest.fixture
def stored(cast, make_device, now):
    """Eight batches of fifty records on one release, one on another: all records of the first."""
    rng = np.random.default_rng(41)
    context, other = make_context(cast.release, now), make_context(cast.candidate, now)
    parts = []
    for seq in range(8):
        records = draw_records(rng, [now - HOUR + HOUR * share for share in rng.random(50)])
        store_batch(make_device(f"cam-{seq}"), context, records, seq=seq, received_at=now)
        parts.append(records)
    elsewhere = draw_records(rng, [now - HOUR] * 50)
    store_batch(make_device("cam-x"), other, elsewhere, seq=1, received_at=now)
    for pk in range(1, 6):
        ClassLabel.objects.create(pk=pk, workload=cast.workload, name=f"sign-{pk}")
    return Records.joined(parts)


@pytest.fixture
def asked(cast, now):
    return {
        "workload_id": cast.workload.pk,
        "release_id": cast.release.pk,
        "start": now - HOUR,
        "end": now,
    }


def keys(drawn):
    return [(row.device_id, row.time) for row in drawn]


@pytest.mark.django_db
@pytest.mark.parametrize("uncertain", [False, True])
def test_the_same_seed_draws_the_same_rows_and_another_seed_others(stored, asked, uncertain):
    once = sample_inferences(**asked, count=40, seed=1, uncertain=uncertain)
    assert len(set(keys(once))) == 40
    assert once == sample_inferences(**asked, count=40, seed=1, uncertain=uncertain)
    assert set(keys(once)) != set(keys(sample_inferences(**asked, count=40, seed=2, uncertain=uncertain)))


@pytest.mark.django_db
def test_a_row_names_its_release_and_its_class(cast, stored, asked):
    for row in sample_inferences(**asked, count=20, seed=3):
        assert row.release_id == cast.release.pk
        assert row.predicted_class.startswith("sign-")
        assert inference_at(row.device_id, row.time, workload_id=cast.workload.pk).confidence == row.confidence


@pytest.mark.django_db
def test_all_rows_are_certain_when_fewer_exist_than_are_wanted(stored, asked):
    drawn = sample_inferences(**asked, count=1000, seed=4)
    assert len(drawn) == len(stored)
    assert {row.inclusion_probability for row in drawn} == {1.0}


@pytest.mark.django_db
@pytest.mark.parametrize("most_batches", [5_000, 4])
@pytest.mark.parametrize("uncertain", [False, True])
def test_weighing_by_the_inverse_probability_is_unbiased(stored, asked, monkeypatch, uncertain, most_batches):
    """The mean of many estimates of a known total lies within four standard errors of it, in one stage and in two."""
    monkeypatch.setattr(samples, "MOST_BATCHES", most_batches)
    confidence = stored.measures["confidence"]
    known = confidence[~np.isnan(confidence)]
    total = float(known.astype(np.float64).sum())
    estimates = []
    for seed in range(150):
        drawn = sample_inferences(**asked, count=30, seed=seed, uncertain=uncertain)
        estimates.append(sum((row.confidence or 0) / row.inclusion_probability for row in drawn))
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - total) < 4 * error


@pytest.mark.django_db
def test_uncertain_rows_are_less_confident_than_random_ones(stored, asked):
    unsure = sample_inferences(**asked, count=60, seed=5, uncertain=True)
    random = [row for row in sample_inferences(**asked, count=60, seed=5) if row.confidence is not None]
    assert np.mean([row.confidence for row in unsure]) < np.mean([row.confidence for row in random]) - 0.03


@pytest.mark.django_db
def test_nothing_is_drawn_where_nothing_is(cast, now, make_device):
    span = {"workload_id": cast.workload.pk, "start": now - HOUR, "end": now, "seed": 1}
    assert sample_inferences(**span, count=5) == []
    assert inference_at(make_device().pk, now) is None
