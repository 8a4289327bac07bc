"""Contexts by what they were measured under: which ids of time-series rows a question is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from telemetry.models import Context
from telemetry.selectors.selection import Selection


@dataclass(frozen=True)
class ContextLabels:
    """What a context stands for."""

    workload_id: int
    workload: str
    release_id: int
    release: str
    power_mode: str


def context_ids(
    *,
    workload_id: int | None = None,
    release_ids: Sequence[int] | None = None,
    exclude_release_ids: Sequence[int] = (),
) -> list[int]:
    """Ids of the contexts of a workload; only those of some releases, or of all but some."""
    contexts = Context.objects.all()
    if workload_id is not None:
        contexts = contexts.filter(workload=workload_id)
    if release_ids is not None:
        contexts = contexts.filter(release__in=list(release_ids))
    if exclude_release_ids:
        contexts = contexts.exclude(release__in=list(exclude_release_ids))
    return sorted(contexts.values_list("pk", flat=True))


def labels_of_contexts(selection: Selection = Selection()) -> dict[int, ContextLabels]:
    """The contexts of a selection by id; of all without one."""
    contexts = Context.objects.filter(**selection.of_context)
    rows = contexts.values_list("pk", "workload_id", "workload__slug", "release_id", "release__version", "power_mode")
    return {pk: ContextLabels(*labels) for pk, *labels in rows}


def selected_contexts(selection: Selection) -> list[int] | None:
    """Ids of the contexts of a selection; None where it leaves none out."""
    if not selection.of_context:
        return None
    return sorted(Context.objects.filter(**selection.of_context).values_list("pk", flat=True))
