"""What this app asks of the app that draws cohorts: who was drawn into which arm, and who is held back.

The module that answers is named by the setting DRIFT_COHORTS, so that nothing here imports it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Protocol

from django.conf import settings

from drift.services.looks import PlanDevice


@dataclass(frozen=True)
class DrawnComparison:
    """Two arms as they were drawn; `reference` is the id of the rollout that drew them.

    Treated devices got the release, the others kept what they ran before `pre_end`. `seed` and the devices' strata are
    those of the draw. `ends_at` is when control devices get the release too, None while that is open.
    """

    reference: int
    workload_id: int
    release_id: int
    devices: Sequence[PlanDevice]
    seed: int
    randomised: bool
    pre_start: datetime
    pre_end: datetime
    started_at: datetime
    ends_at: datetime | None = None


@dataclass(frozen=True)
class Assignment:
    """The draw of one stage of a rollout: its seed, the stratum of every device by id, and who is treated."""

    stage: str
    seed: int
    strata: Mapping[int, str]
    treated: frozenset[int]
    randomised: bool


class Cohorts(Protocol):
    """The module that the setting names."""

    def assignments(self, reference: int) -> Sequence[Assignment]:
        """The stages of a rollout as they were drawn, or would be now; empty where there is no such rollout."""

    def held_back(self, now: datetime) -> Sequence[DrawnComparison]:
        """Each hardware target of a rollout that was updated while devices stay behind, one comparison per target."""


def cohorts() -> Cohorts:
    """The module that knows; raises ImportError naming it when the setting is wrong."""
    return import_module(settings.DRIFT_COHORTS)
