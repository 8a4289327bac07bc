"""What people and nightly tasks would have made of the history by now: labels, the drift board, slow drift, creep."""

from datetime import datetime

import numpy as np

from drift.models import Evaluation, LabelRequest
from drift.services import labels, runs
from fleet.actors import Actor
from fleet.models import User, Workload
from rollouts.demo import story
from telemetry.simulator import demo as fleet_story

RANDOM, UNCERTAIN = 160, 60
# The rest of what was drawn waits in the queue for the visitor.
ANSWERED = 0.8


def label(workload: Workload, by: User, *, now: datetime) -> int:
    """Draw inferences of the history and answer most of them; returns how many. A second run changes nothing.

    A label agrees with the model as often as the model was confident: its confidence is calibrated in this example.
    """
    if LabelRequest.objects.filter(workload=workload).exists():
        return 0
    start = now - story.RAW_HISTORY
    labels.draw_requests(
        workload, random=RANDOM, uncertain=UNCERTAIN, seed=fleet_story.SEED, start=start, end=now, now=now
    )
    requests = list(LabelRequest.objects.filter(workload=workload).order_by("device__serial", "time", "sampling"))
    classes = sorted({request.predicted_class for request in requests})
    rng = np.random.default_rng(fleet_story.SEED)
    answered = 0
    for request in requests:
        right = rng.random() < (request.confidence or 0.0)
        others = [name for name in classes if name != request.predicted_class] or [request.predicted_class]
        truth = request.predicted_class if right else str(rng.choice(others))
        if rng.random() < ANSWERED:
            labels.answer_request(request, true_class=truth, actor=Actor.of_user(by), now=now)
            answered += 1
    return answered


def evaluate(*, now: datetime) -> int:
    """Compute what beat orders hourly and daily once, so that its pages are not empty; returns the cells computed."""
    if Evaluation.objects.exists():
        return 0
    computed = 0
    for kind in (Evaluation.Kind.BOARD, Evaluation.Kind.SLOW_DRIFT, Evaluation.Kind.CREEP):
        evaluation = runs.plan(kind, now=now)
        for cell in evaluation.cells.select_related("evaluation", "workload", "hardware_target", "release"):
            runs.compute(cell)
            computed += 1
        runs.finish(evaluation, now=now)
    return computed
