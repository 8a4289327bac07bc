"""Signatures of the release board: four eyes, one signature per person and role, for exactly what was shown."""

from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from fleet.actors import Actor
from fleet.exceptions import InvalidInput, NotAllowed, StateConflict
from fleet.models import User
from fleet.models.people import BOARD_ROLES
from fleet.services import audit
from rollouts import machine
from rollouts.models import Approval, Evidence, Rollout
from rollouts.selectors import signatures
from rollouts.selectors.signatures import SignatureSheet


@transaction.atomic
def sign(
    rollout: Rollout,
    *,
    by: User,
    actor: Actor,
    now: datetime,
    remark: str,
    evidence_hash: str,
    role: str = "",
) -> Approval:
    """Sign the document with this hash in a role; the only role that is left to the person may be left out.

    The creator of a rollout cannot sign it, nobody signs a document twice, no role does. A hash that is not the one up
    for signing now is a conflict: what changed since it was shown must be looked at again.
    """
    _assert_complete(remark, evidence_hash)
    Rollout.objects.select_for_update().get(pk=rollout.pk)
    sheet = _sheet(rollout, evidence_hash)
    role = role or _only_role(sheet, by, now)
    if role not in BOARD_ROLES:
        raise InvalidInput({"role": f"There is no board role “{role}”; known: {', '.join(BOARD_ROLES)}."})
    if by.pk == rollout.created_by_id:
        raise NotAllowed("Whoever created a rollout cannot approve it.", code="four_eyes")
    if not by.has_role(role):
        raise NotAllowed(f"You do not hold the role {role}.", code="role_missing")
    if role not in sheet.required:
        asked = ", ".join(sheet.required) or "nobody"
        raise InvalidInput({"role": f"The role {role} is not asked to sign; asked is {asked}."}, code="not_asked")
    try:
        with transaction.atomic():
            approval = Approval.objects.create(
                rollout=rollout,
                lane=sheet.lanes[0] if sheet.evidence.lane_id else None,
                stage=sheet.stage,
                evidence=sheet.evidence,
                role=role,
                user=by,
                remark=remark,
                signed_at=now,
                expires_at=now + timedelta(seconds=rollout.rules.approval_ttl_s),
            )
    except IntegrityError as error:
        raise _already_signed(sheet, by, role) from error
    audit.record(
        actor=actor,
        action="rollout.signed",
        obj=rollout,
        now=now,
        new={"role": role, "stage": sheet.stage.name if sheet.stage else "completion"},
        reason=remark,
        evidence_hash=sheet.evidence.sha256,
    )
    return approval


def _assert_complete(remark: str, evidence_hash: str) -> None:
    errors = {}
    if not remark.strip():
        errors["remark"] = "A signature needs a remark."
    if not evidence_hash:
        errors["evidence_hash"] = "Name the SHA-256 of the document that you were shown."
    if errors:
        raise InvalidInput(errors, code="required")


def _sheet(rollout: Rollout, evidence_hash: str) -> SignatureSheet:
    sheets = signatures.sheets(rollout)
    found = next((sheet for sheet in sheets if sheet.evidence.sha256 == evidence_hash), None)
    if found is not None:
        return found
    state = machine.rollout_state(lane.state for lane in rollout.lanes.all())
    allowed = machine.allowed_actions(state)
    if not sheets:
        raise StateConflict(state, allowed, "Nothing is up for signing.", code="nothing_to_sign")
    if not Evidence.objects.filter(rollout=rollout, sha256=evidence_hash).exists():
        raise InvalidInput({"evidence_hash": "No document of this rollout has this hash."}, code="does_not_exist")
    raise StateConflict(
        state, allowed, "The evidence has changed since it was shown; look at it again.", code="evidence_changed"
    )


def _only_role(sheet: SignatureSheet, by: User, now: datetime) -> str:
    held = [role for role in sheet.missing(now) if by.has_role(role)]
    if len(held) != 1:
        raise InvalidInput({"role": f"Say in which role you sign; asked is {', '.join(sheet.required) or 'nobody'}."})
    return held[0]


def _already_signed(sheet: SignatureSheet, by: User, role: str) -> StateConflict:
    signed = Approval.objects.filter(evidence=sheet.evidence, user=by).exists()
    who = "You have" if signed else f"The role {role} has"
    return StateConflict(
        sheet.lanes[0].state,
        machine.allowed_actions(sheet.lanes[0].state),
        f"{who} signed this already.",
        code="already_signed",
    )
