"""Celery tasks of the drift app: thin calls of services, with the clock read here."""

from celery import shared_task
from django.utils import timezone

from drift.models import Evaluation, EvaluationCell
from drift.models.evaluations import Progress
from drift.services import detection, notifications, retrospectives, runs
from telemetry.services.folding import fold


@shared_task
def compute_board() -> None:
    """Plan the fleet-wide board and fan its cells out over the workers."""
    start(Evaluation.Kind.BOARD)


@shared_task
def watch_slow_drift() -> None:
    """Plan the daily look for slow drift and the sum of the releases since the anchor; compare releases by labels."""
    detection.detect_accuracy(now=timezone.now())
    start(Evaluation.Kind.SLOW_DRIFT)
    start(Evaluation.Kind.CREEP)


def start(kind: str) -> None:
    """Plan an evaluation and hand its cells to the workers."""
    fan_out(runs.plan(kind, now=timezone.now()).pk)


@shared_task
def fan_out(evaluation_id: int) -> None:
    """Hand the cells of a planned evaluation to the workers, once the tiers are folded that they read."""
    fold(timezone.now())
    waiting = EvaluationCell.objects.filter(evaluation=evaluation_id, status=Progress.QUEUED)
    for cell_id in waiting.values_list("pk", flat=True):
        compute_cell.delay(cell_id)


# A cell that a dying worker took along is computed again: it replaces its findings and takes no look twice.
@shared_task(acks_late=True, reject_on_worker_lost=True)
def compute_cell(cell_id: int) -> None:
    """Compute one cell; whoever finishes the last one closes its evaluation."""
    cell = EvaluationCell.objects.select_related("evaluation", "workload", "hardware_target", "release").get(pk=cell_id)
    if cell.evaluation.status == Progress.RUNNING:
        try:
            runs.compute(cell)
        except Exception as failure:
            runs.fail_cell(cell, f"{type(failure).__name__}: {failure}")
            raise
        finally:
            runs.finish(Evaluation.objects.get(pk=cell.evaluation_id), now=timezone.now())


@shared_task
def resume_evaluations() -> int:
    """Hand out again the cells that nobody computes any more."""
    lost = runs.resume(now=timezone.now())
    for cell_id in lost:
        compute_cell.delay(cell_id)
    return len(lost)


@shared_task
def raise_alarms() -> None:
    """Look for what needs no statistics: silence, gaps, mismatches."""
    detection.detect(now=timezone.now())


@shared_task
def send_notifications() -> dict[str, int]:
    """Send the messages about alarms that are due."""
    return notifications.send_due(timezone.now())


# Late acknowledgement: a run whose worker is killed is delivered again, and claims see to it that one process has it.
@shared_task(acks_late=True, reject_on_worker_lost=True)
def run_retrospective(pk: int) -> bool:
    """Compute a kept retrospective from its first look on."""
    return retrospectives.compute(pk, clock=timezone.now)


@shared_task
def resume_retrospectives() -> int:
    """Order again what nobody computes any more."""
    lost = retrospectives.resume(now=timezone.now())
    for pk in lost:
        run_retrospective.delay(pk)
    return len(lost)
