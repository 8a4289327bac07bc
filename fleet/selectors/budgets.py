"""Reads of budgets and waivers: what holds now, and how much room a measurement leaves."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet

from fleet.models import Budget, HardwareTarget, Release, Waiver, Workload
from fleet.models.budgets import Limit
from fleet.models.people import Role

# Who may waive where no budget names an escalation path.
DEFAULT_ESCALATION_PATH = (Role.RELEASE_MANAGER,)


@dataclass(frozen=True, slots=True)
class Room:
    """One limit beside what was measured; `left` is the unused share of the limit, negative where it is exceeded."""

    limit: str
    title: str
    hard: float | None
    soft: float | None
    measured: float | None
    left: float | None

    @property
    def used(self) -> float | None:
        """The used share of the limit."""
        return None if self.left is None else 1.0 - self.left

    @property
    def state(self) -> str:
        """exceeded, over_preference, within, or unknown: a value that was not measured is never within."""
        if self.measured is None:
            return "unknown"
        if self.hard is not None and self.measured > self.hard:
            return "exceeded"
        return "over_preference" if self.soft is not None and self.measured > self.soft else "within"


def current_budgets() -> QuerySet[Budget]:
    """The newest version of every budget."""
    newer = Budget.objects.filter(
        workload=OuterRef("workload"), hardware_target=OuterRef("hardware_target"), version__gt=OuterRef("version")
    )
    return Budget.objects.filter(~Exists(newer)).select_related("workload", "hardware_target", "created_by")


def current_budget(workload: Workload, hardware_target: HardwareTarget) -> Budget | None:
    """The budget that holds for a workload on a hardware target, or None where nobody set one."""
    return (
        Budget.objects.filter(workload=workload, hardware_target=hardware_target)
        .select_related("workload", "hardware_target")
        .order_by("-version")
        .first()
    )


def escalation_path(workload: Workload, hardware_target: HardwareTarget) -> tuple[str, ...]:
    """The roles that may waive a limit there, in the order in which they are asked."""
    budget = current_budget(workload, hardware_target)
    return tuple(budget.escalation_path) if budget and budget.escalation_path else DEFAULT_ESCALATION_PATH


def active_waivers(release: Release, hardware_target: HardwareTarget, now: datetime) -> QuerySet[Waiver]:
    """The waivers that hold for the release on the hardware target: approved, not revoked, not expired."""
    return Waiver.objects.filter(
        release=release,
        hardware_target=hardware_target,
        approved_at__isnull=False,
        approved_at__lte=now,
        revoked_at__isnull=True,
        expires_at__gt=now,
    ).select_related("requested_by", "approver")


def waived_limits(release: Release, hardware_target: HardwareTarget, now: datetime) -> dict[str, Waiver]:
    """The waived limits by name, each with the waiver that lasts longest."""
    return {waiver.limit: waiver for waiver in active_waivers(release, hardware_target, now).order_by("expires_at")}


def room_left(budget: Budget, measured: Mapping[str, float | None]) -> list[Room]:
    """Each limit of the budget beside the measurement of the same name and unit (see `Limit`)."""
    rooms = []
    for limit in Limit:
        hard, soft = budget.hard_limits.get(limit.value), budget.soft_limits.get(limit.value)
        if hard is None and soft is None:
            continue
        value = measured.get(limit.value)
        bound = hard if hard is not None else soft
        # A limit of zero has no share to use: anything above it exceeds it, nothing below it exists.
        left = None if value is None or bound == 0 else 1.0 - value / bound
        rooms.append(Room(limit.value, limit.label, hard, soft, value, left))
    return rooms
