"""Reads of evaluations of the fleet: their runs, and the cells of one run with their findings."""

from collections import defaultdict
from collections.abc import Iterable

from django.db.models import Exists, OuterRef, Q, QuerySet

from drift.models import Evaluation, EvaluationCell, Finding
from drift.models.evaluations import Progress


def newest(kind: str) -> Evaluation | None:
    """The newest run of a kind, whatever became of it."""
    return Evaluation.objects.filter(kind=kind).first()


def newest_finished(kind: str) -> Evaluation | None:
    """The newest run of a kind that is done: what to read while the next one is being computed."""
    return Evaluation.objects.filter(kind=kind, status=Progress.DONE).first()


def last_finished(before: Evaluation) -> Evaluation | None:
    """The newest finished run of the same kind that is older than another one."""
    boards = Evaluation.objects.filter(kind=before.kind, status=Progress.DONE).exclude(pk=before.pk)
    return boards.filter(Q(as_of__lt=before.as_of) | Q(as_of=before.as_of, pk__lt=before.pk)).first()


def cells(
    board: Evaluation, *, workload: str = "", release: str = "", hardware_target: str = "", verdict: str = ""
) -> QuerySet[EvaluationCell]:
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
    given = {"workload__slug": workload, "release__version": release, "hardware_target__slug": hardware_target}
    found = found.filter(**{field: value for field, value in given.items() if value})
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
    ).select_related("workload", "release", "hardware_target", "evaluation")
    for finding in rows:
        cell = ids.get((finding.workload_id, finding.release_id, finding.hardware_target_id))
        if cell is not None:
            found[cell.pk][finding.metric] = finding
    return found
