"""Contexts by what they were measured under: which ids of time-series rows a question is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from telemetry.models import Context


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


def labels_of_contexts(
    *,
    workload_id: int | None = None,
    release_ids: Sequence[int] | None = None,
    power_modes: Sequence[str] | None = None,
) -> dict[int, ContextLabels]:
    """Contexts by id, of a workload, some releases, some power modes; None means all."""
    contexts = Context.objects.all()
    if workload_id is not None:
        contexts = contexts.filter(workload=workload_id)
    if release_ids is not None:
        contexts = contexts.filter(release__in=list(release_ids))
    if power_modes is not None:
        contexts = contexts.filter(power_mode__in=list(power_modes))
    rows = contexts.values_list("pk", "workload_id", "workload__slug", "release_id", "release__version", "power_mode")
    return {pk: ContextLabels(*labels) for pk, *labels in rows}
