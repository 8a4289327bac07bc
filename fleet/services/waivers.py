"""Writers of waivers: one person asks, another from the escalation path approves, and it ends by itself."""

from datetime import datetime, timedelta

from django.db import transaction

from fleet.actors import Actor
from fleet.exceptions import InvalidInput, NotAllowed, StateConflict
from fleet.models import HardwareTarget, Release, User, Waiver
from fleet.models.budgets import QUALIFICATION, Limit
from fleet.selectors.budgets import escalation_path
from fleet.services import audit

LONGEST = timedelta(days=366)
NAMES = frozenset({*Limit.values, QUALIFICATION})


def allowed_actions(waiver: Waiver, now: datetime) -> list[str]:
    """What may be done with the waiver now."""
    return {"requested": ["approve", "revoke"], "approved": ["revoke"]}.get(waiver.status(now), [])


@transaction.atomic
def request_waiver(
    *,
    release: Release,
    hardware_target: HardwareTarget,
    limit: str,
    reason: str,
    expires_at: datetime,
    requested_by: User,
    actor: Actor,
    now: datetime,
) -> Waiver:
    """Ask for leave to exceed one limit with one release on one hardware target until a date."""
    errors: dict[str, str] = {}
    if limit not in NAMES:
        errors["limit"] = f"There is no limit “{limit}”; the limits are {', '.join(sorted(NAMES))}."
    if not reason.strip():
        errors["reason"] = "A waiver needs a reason."
    if not now < expires_at <= now + LONGEST:
        errors["expires_at"] = f"The expiry lies between now and {LONGEST.days} days from now."
    targets = release.hardware_targets.all()
    if targets and hardware_target not in targets:
        errors["hardware_target"] = f"Release {release} is not for {hardware_target.slug}."
    if errors:
        raise InvalidInput(errors)
    waiver = Waiver.objects.create(
        release=release,
        hardware_target=hardware_target,
        limit=limit,
        reason=reason,
        requested_by=requested_by,
        created_at=now,
        expires_at=expires_at,
    )
    audit.record(
        actor=actor,
        action="waiver.requested",
        obj=waiver,
        now=now,
        new={"limit": limit, "expires_at": expires_at},
        reason=reason,
    )
    return waiver


def approving_role(waiver: Waiver, approver: User) -> str:
    """The first role of the escalation path that the person holds; `NotAllowed` without one, and for the requester."""
    if waiver.requested_by_id == approver.pk:
        raise NotAllowed("Whoever asks for a waiver cannot approve it.", code="four_eyes")
    path = escalation_path(waiver.release.workload, waiver.hardware_target)
    role = next((role for role in path if approver.has_role(role)), None)
    if role is None:
        raise NotAllowed(f"This waiver is approved by {', '.join(path)}.", code="not_in_escalation_path")
    return role


@transaction.atomic
def approve_waiver(waiver: Waiver, *, approver: User, actor: Actor, now: datetime, remark: str = "") -> Waiver:
    """Approve by compare-and-swap: of two who decide at once, one gets `StateConflict`."""
    role = approving_role(waiver, approver)
    open_rows = Waiver.objects.filter(
        pk=waiver.pk, approved_at__isnull=True, revoked_at__isnull=True, expires_at__gt=now
    )
    approved = open_rows.update(approver=approver, approver_role=role, approval_remark=remark, approved_at=now)
    waiver.refresh_from_db()
    if not approved:
        raise StateConflict(waiver.status(now), allowed_actions(waiver, now))
    audit.record(
        actor=actor,
        action="waiver.approved",
        obj=waiver,
        now=now,
        old={"status": "requested"},
        new={"status": "approved", "role": role, "expires_at": waiver.expires_at},
        reason=remark,
    )
    return waiver


@transaction.atomic
def revoke_waiver(waiver: Waiver, *, actor: Actor, now: datetime, reason: str = "") -> Waiver:
    """Refuse a request, or end an approved waiver before its time."""
    before = waiver.status(now)
    revoked = Waiver.objects.filter(pk=waiver.pk, revoked_at__isnull=True, expires_at__gt=now).update(revoked_at=now)
    waiver.refresh_from_db()
    if not revoked:
        raise StateConflict(waiver.status(now), allowed_actions(waiver, now))
    audit.record(
        actor=actor,
        action="waiver.revoked",
        obj=waiver,
        now=now,
        old={"status": before},
        new={"status": "revoked"},
        reason=reason,
    )
    return waiver
