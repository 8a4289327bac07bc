"""Reads of the fleet-wide drift board: its runs, and the cells of one run with their findings."""

from collections import defaultdict
from collections.abc import Iterable

from django.db.models import Exists, OuterRef, Q, QuerySet

from drift.models import Evaluation, EvaluationCell, Finding
from drift.models.evaluations import Progress


def newest_board() -> Evaluation | None:
    """The newest run, whatever became of it."""
    return Evaluation.objects.filter(kind=Evaluation.Kind.BOARD).first()


def last_finished_board(before: Evaluation) -> Evaluation | None:
    """The newest finished run that is older than another one: what to read while that one is being computed."""
    boards = Evaluation.objects.filter(kind=Evaluation.Kind.BOARD, status=Progress.DONE).exclude(pk=before.pk)
    return boards.filter(Q(as_of__lt=before.as_of) | Q(as_of=before.as_of, pk__lt=before.pk)).first()


def cells(board: Evaluation, *, workload: str = "", verdict: str = "") -> QuerySet[EvaluationCell]:
    """The cells of a run: drift first, then what could not be computed, then by name.

    With a verdict only the cells in which at least one metric has it.
    """
    of_cell = Finding.objects.filter(
        evaluation=OuterRef("evaluation"),
        workload=OuterRef("workload"),
        release=OuterRef("release"),
        hardware_target=OuterRef("hardware_target"),
    )
    found = board.cells.select_related("workload", "release", "hardware_target").annotate(
        drifted=Exists(of_cell.filter(verdict="fail")), unknown=Q(status=Progress.FAILED)
    )
    if workload:
        found = found.filter(workload__slug=workload)
    if verdict:
        found = found.filter(Exists(of_cell.filter(verdict=verdict)))
    return found.order_by(
        "-drifted", "-unknown", "workload__slug", "-release__created_at", "hardware_target__slug", "pk"
    )


def findings_of(shown: Iterable[EvaluationCell]) -> dict[int, dict[str, Finding]]:
    """The findings of some cells of one run: cell id -> metric -> finding."""
    ids = {(cell.workload_id, cell.release_id, cell.hardware_target_id): cell for cell in shown}
    found: dict[int, dict[str, Finding]] = defaultdict(dict)
    if not ids:
        return found
    rows = Finding.objects.filter(
        evaluation_id=next(iter(ids.values())).evaluation_id, release_id__in={release for _, release, _ in ids}
    )
    for finding in rows:
        cell = ids.get((finding.workload_id, finding.release_id, finding.hardware_target_id))
        if cell is not None:
            found[cell.pk][finding.metric] = finding
    return found
