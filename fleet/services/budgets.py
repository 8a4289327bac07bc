"""The writer of budgets: every change is a new version, so that a verdict can be read against the limits of its day."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from fleet.actors import Actor
from fleet.exceptions import InvalidInput, StateConflict
from fleet.models import Budget, HardwareTarget, User, Workload
from fleet.selectors.budgets import current_budget
from fleet.services import audit

CONTENT = ("hard_limits", "soft_limits", "margins", "rollback_criteria", "escalation_path")


def _assert_consistent(hard: Mapping[str, float], soft: Mapping[str, float]) -> None:
    loose = {limit for limit, value in soft.items() if limit in hard and value > hard[limit]}
    if loose:
        raise InvalidInput(
            {
                f"soft_limits.{limit}": f"A preference cannot be looser than the limit of {hard[limit]}."
                for limit in loose
            }
        )


def _content(budget: Budget) -> dict[str, Any]:
    return {name: getattr(budget, name) for name in CONTENT} | {"version": budget.version}


@transaction.atomic
def write_budget(
    *,
    workload: Workload,
    hardware_target: HardwareTarget,
    actor: Actor,
    now: datetime,
    hard_limits: Mapping[str, float],
    soft_limits: Mapping[str, float] | None = None,
    margins: Mapping[str, float] | None = None,
    rollback_criteria: str = "",
    escalation_path: Sequence[str] = (),
    created_by: User | None = None,
    based_on: int | None = None,
    reason: str = "",
) -> Budget:
    """Write the next version; `based_on` names the version that the writer saw (0 for none).

    Raises `StateConflict` where another version came in between, `InvalidInput` where a preference is looser than its
    limit. Names and ranges of limits are the API's to check.
    """
    _assert_consistent(hard_limits, soft_limits or {})
    last = current_budget(workload, hardware_target)
    version = last.version if last else 0
    if based_on is not None and based_on != version:
        raise StateConflict(f"version {version}", ["change"], f"The current version is {version}, not {based_on}.")
    try:
        with transaction.atomic():
            budget = Budget.objects.create(
                workload=workload,
                hardware_target=hardware_target,
                version=version + 1,
                hard_limits=dict(hard_limits),
                soft_limits=dict(soft_limits or {}),
                margins=dict(margins or {}),
                rollback_criteria=rollback_criteria,
                escalation_path=list(dict.fromkeys(escalation_path)),
                created_by=created_by,
                created_at=now,
            )
    except IntegrityError as exc:
        raise StateConflict(
            f"version {version + 1}", ["change"], "Another version was written at the same time; look at it first."
        ) from exc
    audit.record(
        actor=actor,
        action="budget.written",
        obj=budget,
        now=now,
        old=_content(last) if last else None,
        new=_content(budget),
        reason=reason,
    )
    return budget
