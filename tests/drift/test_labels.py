"""Labels: drawn with known probability, given once, and what they say of a release's accuracy."""

from datetime import timedelta

import numpy as np
import pytest

from drift.models import Label, LabelRequest
from drift.selectors.accuracy import accuracy_by_release, signal_between
from drift.services import labels
from fleet.actors import Actor
from fleet.exceptions import InvalidInput, StateConflict
from telemetry.models import ClassLabel, ReleaseSpan
from tests.drift.conftest import hourly
from tests.telemetry.records import make_context, store_batch

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
ACTOR = Actor.system("tests")


@pytest.fixture
def recorded(cast, now, make_device):
    """One device with 200 stored inferences of classes 1 to 5."""
    for index in range(1, 6):
        ClassLabel.objects.create(pk=index, workload=cast.workload, name=f"class-{index}")
    device = make_device("cam-001")
    records = hourly(np.random.default_rng(5), now - 5 * HOUR, 4, 50, own=1.0)
    store_batch(device, make_context(cast.release, now), records, seq=1, received_at=now)
    ReleaseSpan.objects.create(
        device=device, workload=cast.workload, release=cast.release, first_time=now - 5 * HOUR, last_time=now
    )
    return device


def label(cast, device, now, index: int, *, right: bool, release=None, sampling="random", probability=0.1) -> Label:
    return Label.objects.create(
        workload=cast.workload,
        release=release or cast.release,
        device=device,
        time=now - timedelta(seconds=index + 1),
        predicted_class="stop-sign",
        true_class="stop-sign" if right else "no-sign",
        confidence=0.9 if right else 0.6,
        sampling=sampling,
        inclusion_probability=probability,
        labelled_by="tests",
        created_at=now,
    )


def test_random_draws_have_one_probability_and_uncertain_ones_prefer_doubt(recorded, cast, now) -> None:
    span = {"start": now - 6 * HOUR, "end": now, "now": now, "seed": 1}
    labels.draw_requests(cast.workload, random=40, uncertain=40, **span)
    random = LabelRequest.objects.filter(sampling="random")
    doubtful = LabelRequest.objects.filter(sampling="uncertain")
    assert random.count() == 40
    (probability,) = {round(row.inclusion_probability, 9) for row in random}
    assert probability == pytest.approx(40 / 200, abs=0.08)
    mean = {name: np.mean([row.confidence for row in rows]) for name, rows in (("r", random), ("u", doubtful))}
    assert mean["u"] < mean["r"]


def test_the_same_seed_draws_the_same_inferences_and_none_twice(recorded, cast, now) -> None:
    span = {"start": now - 6 * HOUR, "end": now, "now": now, "seed": 1}
    labels.draw_requests(cast.workload, random=30, uncertain=0, **span)
    labels.draw_requests(cast.workload, random=30, uncertain=0, **span)
    assert LabelRequest.objects.count() == 30


def test_a_request_is_answered_once(recorded, cast, now) -> None:
    labels.draw_requests(cast.workload, random=1, uncertain=0, seed=1, start=now - 6 * HOUR, end=now, now=now)
    request = LabelRequest.objects.get()
    made = labels.answer_request(request, true_class="class-1", actor=ACTOR, now=now)
    assert (made.sampling, made.predicted_class) == ("random", request.predicted_class)
    with pytest.raises(StateConflict):
        labels.answer_request(request, true_class="class-2", actor=ACTOR, now=now)


def test_a_label_from_outside_takes_the_rest_from_the_stored_inference(recorded, cast, now, api_client) -> None:
    stored = now - 5 * HOUR
    body = {"workload": "lane-assist", "device": "cam-001", "time": stored.isoformat(), "true_class": "class-9"}
    answer = api_client(cast.engineer).post("/api/v1/labels", body, format="json")
    assert answer.status_code == 201, answer.content
    assert answer.json()["release"] == "4.1.0"
    assert answer.json()["predicted_class"].startswith("class-")
    again = api_client(cast.engineer).post("/api/v1/labels", body, format="json")
    assert again.status_code == 409


def test_labels_that_cannot_be_placed_are_refused_by_field_and_none_is_kept(recorded, cast, now) -> None:
    rows = [
        {"workload": "lane-assist", "device": "ghost", "time": now, "true_class": "x"},
        {"workload": "lane-assist", "device": "cam-001", "time": now - 90 * HOUR, "true_class": "x"},
    ]
    with pytest.raises(InvalidInput) as refusal:
        labels.record_labels(rows, actor=ACTOR, now=now)
    assert set(refusal.value.errors) == {"[0].device", "[1].predicted_class", "[1].release"}
    assert Label.objects.count() == 0


def test_accuracy_rests_on_random_labels_and_hand_picked_ones_do_not_count(recorded, cast, now) -> None:
    for index in range(40):
        label(cast, recorded, now, index, right=index >= 4)
    for index in range(40, 80):
        label(cast, recorded, now, index, right=False, sampling="other", probability=None)
    (row,) = accuracy_by_release(cast.workload, start=now - HOUR, end=now)
    assert row.random.estimate == pytest.approx(0.9)
    assert row.random.lower < 0.9 < row.random.upper
    assert row.weighted.estimate == pytest.approx(0.9)


def test_weighted_labels_undo_the_preference_for_doubt(recorded, cast, now) -> None:
    for index in range(20):
        label(cast, recorded, now, index, right=False, sampling="uncertain", probability=0.5)
    for index in range(20, 40):
        label(cast, recorded, now, index, right=True, sampling="uncertain", probability=0.05)
    (row,) = accuracy_by_release(cast.workload, start=now - HOUR, end=now)
    assert row.random is None
    assert row.weighted.estimate == pytest.approx(400 / 440)


def test_without_labels_accuracy_is_unknown_and_the_signal_says_what_is_missing(recorded, cast, now) -> None:
    (row,) = accuracy_by_release(cast.workload, start=now - 6 * HOUR, end=now)
    assert (row.random, row.weighted, row.unlabelled) == (None, None, None)
    assert signal_between(row, row)["signal"] == "none"


def test_the_estimate_without_labels_uses_the_confidence_of_all_inferences(recorded, cast, now) -> None:
    for index in range(40):
        label(cast, recorded, now, index, right=index >= 4)
    (row,) = accuracy_by_release(cast.workload, start=now - 6 * HOUR, end=now)
    assert 0.5 < row.unlabelled.estimate <= 1.0
    assert "calibration" in row.unlabelled.assumption


def test_a_clear_drop_asks_for_retraining(recorded, cast, now, make_device, api_client) -> None:
    devices = [make_device(f"cam-1{k:02d}") for k in range(20)]
    for index in range(400):
        label(cast, devices[index % 20], now, index, right=index % 50 != 0)
        label(cast, devices[index % 20], now, index + 1000, right=index % 3 != 0, release=cast.candidate)
    span = {"workload": "lane-assist", "from": (now - HOUR).isoformat(), "to": now.isoformat()}
    older, newer = sorted(
        api_client(cast.engineer).get("/api/v1/accuracy", span).json()["releases"], key=lambda row: row["release"]
    )
    assert (older["random"]["labels"], newer["random"]["labels"]) == (400, 400)
    assert newer["random"]["upper"] < older["random"]["lower"]
    assert "retrain" in {row["retraining"]["signal"] for row in (older, newer) if "retraining" in row}
