"""Celery tasks of the drift app: thin calls of services, with the clock read here."""

from celery import shared_task
from django.utils import timezone

from drift.models import Evaluation, EvaluationCell
from drift.models.evaluations import Progress
from drift.services import board, detection, notifications
from telemetry.services.folding import fold


@shared_task
def compute_board() -> None:
    """Plan the fleet-wide board and fan its cells out over the workers."""
    fold(timezone.now())
    evaluation = board.plan_board(now=timezone.now())
    for cell_id in evaluation.cells.values_list("pk", flat=True):
        compute_board_cell.delay(cell_id)
    if not evaluation.cells.exists():
        board.finish_board(evaluation, now=timezone.now())


@shared_task
def compute_board_cell(cell_id: int) -> None:
    """Compute one cell; whoever finishes the last one closes the board."""
    cell = EvaluationCell.objects.select_related("evaluation").get(pk=cell_id)
    if cell.evaluation.status == Progress.RUNNING:
        try:
            board.compute_cell(cell)
        except Exception as failure:
            board.fail_cell(cell, f"{type(failure).__name__}: {failure}")
            raise
        finally:
            board.finish_board(Evaluation.objects.get(pk=cell.evaluation_id), now=timezone.now())


@shared_task
def raise_alarms() -> None:
    """Look for what needs no statistics: silence, gaps, mismatches."""
    detection.detect(now=timezone.now())


@shared_task
def send_notifications() -> dict[str, int]:
    """Send the messages about alarms that are due."""
    return notifications.send_due(timezone.now())
