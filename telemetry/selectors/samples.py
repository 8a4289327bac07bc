"""Single inferences that are worth a label: drawn at random or where the model was unsure, with known probability."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from telemetry.models import ClassLabel
from telemetry.selectors.contexts import context_ids, labels_of_contexts
from telemetry.store.raw import StoredInference, batch_id_span, draw_inferences
from telemetry.store.raw import inference_at as stored_inference_at

# So many batches are looked into; with more of them in the range, this many are drawn at random first.
MOST_BATCHES = 5_000
# Records reach the server late; those that came more than this after the end of the range are not drawn.
LATEST = timedelta(days=1)
EARLIEST = timedelta(minutes=5)


@dataclass(frozen=True)
class SampledInference:
    """One drawn inference; 1 / `inclusion_probability` is how many inferences of the range it stands for."""

    device_id: int
    release_id: int
    time: datetime
    sample_ref: str | None
    predicted_class: str | None
    confidence: float | None
    inclusion_probability: float


def sample_inferences(
    *,
    workload_id: int,
    release_id: int | None = None,
    start: datetime,
    end: datetime,
    count: int,
    seed: int,
    uncertain: bool = False,
) -> list[SampledInference]:
    """Up to `count` stored inferences of [start, end), without replacement; the same seed draws the same ones.

    At random every inference that is kept row by row is equally likely. Uncertain ones are drawn with weight
    1 - confidence. Two stages where there are many batches: batches at random, then inferences in them; the inclusion
    probability is the product. An estimate that weighs each value by its inverse is unbiased.
    """
    contexts = context_ids(workload_id=workload_id, release_ids=None if release_id is None else [release_id])
    span = batch_id_span(start - EARLIEST, end + LATEST)
    if span is None or not contexts or count < 1:
        return []
    first, last = span
    n_ids = last - first + 1
    if n_ids <= MOST_BATCHES:
        batch_ids, share = np.arange(first, last + 1), 1.0
    else:
        rng = np.random.default_rng(seed)
        batch_ids, share = first + rng.choice(n_ids, MOST_BATCHES, replace=False), MOST_BATCHES / n_ids
    drawn = draw_inferences(
        batch_ids=batch_ids.tolist(),
        context_ids=contexts,
        start=start,
        end=end,
        seed=seed,
        uncertain=uncertain,
        limit=count + 1,
    )
    # the first row left out sets the threshold; with none left out every candidate was certain to be in
    threshold = drawn[count].key if len(drawn) > count else math.inf
    return [
        _named(inference, share * -math.expm1(-row.weight * threshold))
        for row, inference in zip(drawn[:count], _with_names([row.inference for row in drawn[:count]]), strict=True)
    ]


def inference_at(device_id: int, time: datetime, *, workload_id: int | None = None) -> SampledInference | None:
    """The inference that a device recorded at exactly that time, if it is still kept."""
    found = stored_inference_at(device_id, time, context_ids(workload_id=workload_id))
    return None if found is None else _named(_with_names([found])[0], 1.0)


def _with_names(inferences: list[StoredInference]) -> list[tuple[StoredInference, int, str | None]]:
    """Inferences with their release and the name of their class."""
    releases = {pk: labels.release_id for pk, labels in labels_of_contexts().items()}
    wanted = {inference.class_id for inference in inferences if inference.class_id is not None}
    classes = dict(ClassLabel.objects.filter(pk__in=wanted).values_list("pk", "name"))
    return [
        (inference, releases[inference.context_id], classes.get(inference.class_id or 0)) for inference in inferences
    ]


def _named(found: tuple[StoredInference, int, str | None], probability: float) -> SampledInference:
    inference, release_id, predicted_class = found
    return SampledInference(
        device_id=inference.device_id,
        release_id=release_id,
        time=inference.time,
        sample_ref=inference.sample_ref,
        predicted_class=predicted_class,
        confidence=inference.confidence,
        inclusion_probability=probability,
    )
