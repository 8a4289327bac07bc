"""Evaluations of every kind, from the plan to the alarms: which functions plan a kind, compute a cell and close it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from drift.models import Evaluation, EvaluationCell, Finding
from drift.models.evaluations import Progress
from drift.services import board, creep, slow_drift
from drift.services.alarms import Sighting, raise_alarm

# The broker delivers again what a dead worker took along after an hour; cells are handed out again long before.
LOST_AFTER = timedelta(minutes=10)
GIVEN_UP_AFTER = timedelta(hours=1)


@dataclass(frozen=True)
class Method:
    """One kind of evaluation: `settle` runs once when the last cell is done and says what deserves an alarm."""

    plan: Callable[..., Evaluation]
    compute: Callable[[EvaluationCell], list[Finding]]
    settle: Callable[[Evaluation], Iterable[Sighting]]


METHODS: dict[str, Method] = {
    Evaluation.Kind.BOARD: Method(board.plan_board, board.compute_cell, board.settle_board),
    Evaluation.Kind.SLOW_DRIFT: Method(slow_drift.plan, slow_drift.compute, slow_drift.sightings),
    Evaluation.Kind.CREEP: Method(creep.plan, creep.compute, creep.sightings),
}


def plan(kind: str, *, now: datetime) -> Evaluation:
    """Write down an evaluation with its cells; one without any cell is closed at once."""
    evaluation = METHODS[kind].plan(now=now)
    finish(evaluation, now=now)
    return evaluation


def under_way(kind: str, *, now: datetime) -> Evaluation | None:
    """The evaluation of a kind that is being computed now; one that began over an hour ago has lost its workers."""
    running = Evaluation.objects.filter(kind=kind, status=Progress.RUNNING, started_at__gte=now - GIVEN_UP_AFTER)
    return running.order_by("-pk").first()


def compute(cell: EvaluationCell) -> list[Finding]:
    """The findings of one cell, by the method of its evaluation."""
    return METHODS[cell.evaluation.kind].compute(cell)


def fail_cell(cell: EvaluationCell, error: str) -> None:
    """Keep why a cell could not be computed; pages show it as without a verdict."""
    EvaluationCell.objects.filter(pk=cell.pk).update(status=Progress.FAILED, error=error)


def finish(evaluation: Evaluation, *, now: datetime) -> bool:
    """Once the last cell is done, settle the verdicts and raise the alarms; False when not yet, or done by another."""
    if evaluation.cells.filter(status__in=(Progress.QUEUED, Progress.RUNNING)).exists():
        return False
    # one worker closes it, whoever sees it complete
    if not Evaluation.objects.filter(pk=evaluation.pk, status=Progress.RUNNING).update(
        status=Progress.DONE, finished_at=now
    ):
        return False
    for sighting in METHODS[evaluation.kind].settle(evaluation):
        raise_alarm(sighting, now=now)
    return True


def resume(*, now: datetime) -> list[int]:
    """Cells to hand out again, because a worker died with them or the order was lost: their ids.

    A cell that nobody has computed an hour after its run began is failed and says so, and a run without any cell left
    is closed: what waits for a dead worker must not look as if it were still being computed.
    """
    for evaluation in Evaluation.objects.filter(status=Progress.RUNNING, started_at__lte=now - LOST_AFTER):
        if evaluation.started_at <= now - GIVEN_UP_AFTER:
            for cell in evaluation.cells.filter(status=Progress.QUEUED):
                fail_cell(cell, "No worker finished it within an hour.")
        finish(evaluation, now=now)
    waiting = EvaluationCell.objects.filter(
        status=Progress.QUEUED,
        evaluation__status=Progress.RUNNING,
        evaluation__started_at__lte=now - LOST_AFTER,
    )
    return list(waiting.order_by("pk").values_list("pk", flat=True))
