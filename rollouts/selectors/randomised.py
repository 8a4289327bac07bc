"""Which rollouts compared two releases on devices drawn at random."""

from __future__ import annotations

from django.db.models import Exists, OuterRef

from rollouts.models import Rollout
from rollouts.models.cohorts import CohortMember, StageRun


def randomised_rollouts(workload: str, release: str, against: str) -> list[Rollout]:
    """Rollouts of a release, some stage of which was drawn by seed and replaced the other release; newest first."""
    if "\0" in f"{workload}{release}{against}":
        return []
    replaced = CohortMember.objects.filter(run=OuterRef("pk"), previous_release__version=against)
    drawn = StageRun.objects.filter(Exists(replaced), rollout=OuterRef("pk"), randomised=True)
    found = Rollout.objects.filter(Exists(drawn), release__workload__slug=workload, release__version=release)
    return list(found.select_related("release__workload").prefetch_related("lanes__hardware_target").order_by("-pk"))
