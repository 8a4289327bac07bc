"""The writer of the audit trail."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import models

from fleet.actors import Actor
from fleet.models import AuditEntry


def entry(
    *,
    actor: Actor,
    action: str,
    obj: models.Model,
    now: datetime,
    old: Any = None,
    new: Any = None,
    reason: str = "",
    evidence_hash: str = "",
) -> AuditEntry:
    """An unsaved audit row, for services that write many at once with `record_all`."""
    return AuditEntry(
        at=now,
        user_id=actor.user_id,
        actor=actor.label,
        action=action,
        object_type=obj._meta.label_lower,
        object_id=str(obj.pk),
        object_label=str(obj)[:200],
        old=old,
        new=new,
        reason=reason,
        evidence_hash=evidence_hash,
    )


def record(
    *,
    actor: Actor,
    action: str,
    obj: models.Model,
    now: datetime,
    old: Any = None,
    new: Any = None,
    reason: str = "",
    evidence_hash: str = "",
) -> AuditEntry:
    """Write one audit row; call it in the transaction of the change, so that neither is kept without the other."""
    row = entry(
        actor=actor, action=action, obj=obj, now=now, old=old, new=new, reason=reason, evidence_hash=evidence_hash
    )
    row.save(force_insert=True)
    return row


def record_all(rows: Iterable[AuditEntry]) -> None:
    """Write rows made by `entry` in few statements."""
    AuditEntry.objects.bulk_create(rows, batch_size=1000)
