"""The bounds that judge a lane: budget, policy and waivers put together."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from drift.services.looks import METRIC_OF_LIMIT
from fleet.models import Budget, HardwareTarget, Release
from fleet.selectors.budgets import current_budget, waived_limits
from rollouts.plans import Policy, for_target


@dataclass(frozen=True)
class Bounds:
    """Limits by name of `fleet.models.budgets.Limit` in their own units, margins by metric in effect units.

    `waived` are the limits that a waiver lifts now; they are not among `limits`.
    """

    budget: Budget | None
    limits: dict[str, float] = field(default_factory=dict)
    soft_limits: dict[str, float] = field(default_factory=dict)
    margins: dict[str, float] = field(default_factory=dict)
    waived: tuple[str, ...] = ()

    @property
    def metric_limits(self) -> dict[str, float]:
        """The limits that telemetry can be held against, by metric."""
        return {METRIC_OF_LIMIT[name]: bound for name, bound in self.limits.items() if name in METRIC_OF_LIMIT}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, as evidence freezes it."""
        return {
            "version": self.budget.version if self.budget else None,
            "hard_limits": self.limits,
            "soft_limits": self.soft_limits,
            "margins": self.margins,
            "waived": list(self.waived),
        }


def bounds_for(release: Release, target: HardwareTarget, now: datetime, policy: Policy | None = None) -> Bounds:
    """What the release must keep to on the hardware target now; a policy's own limits come on top of the budget's."""
    budget = current_budget(release.workload, target)
    hard = {name: float(bound) for name, bound in (budget.hard_limits if budget else {}).items() if bound is not None}
    margins = dict(budget.margins) if budget else {}
    if policy is not None:
        for name, bound in for_target(policy.limits, target.slug).items():
            hard[name] = min(float(bound), hard.get(name, float(bound)))
        margins |= for_target(policy.margins, target.slug)
    waived = tuple(sorted(waived_limits(release, target, now)))
    return Bounds(
        budget=budget,
        limits={name: bound for name, bound in sorted(hard.items()) if name not in waived},
        soft_limits=dict(budget.soft_limits) if budget else {},
        margins={name: float(margin) for name, margin in sorted(margins.items())},
        waived=waived,
    )
