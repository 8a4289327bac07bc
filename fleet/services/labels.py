"""Writers of workloads, hardware targets, regions and groups."""

from datetime import datetime
from typing import Any, TypeVar

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from fleet.actors import Actor
from fleet.exceptions import InvalidInput
from fleet.models.devices import Labelled
from fleet.services import audit

Label = TypeVar("Label", bound=Labelled)


def slug_and_name(slug: str = "", name: str = "") -> tuple[str, str]:
    """Fill whichever of the two is missing from the other; `InvalidInput` where neither gives a slug."""
    derived = slug or slugify(name)[:64]
    if not derived:
        raise InvalidInput({"slug": "Give a slug, or a name with letters or digits in it."})
    return derived, name or slug


@transaction.atomic
def create_label(
    kind: type[Label], *, actor: Actor, now: datetime, slug: str = "", name: str = "", **fields: Any
) -> Label:
    """Register a workload, hardware target, region or group; a slug that is taken is bad input."""
    slug, name = slug_and_name(slug, name)
    noun = kind._meta.model_name
    try:
        with transaction.atomic():
            label = kind.objects.create(slug=slug, name=name, created_at=now, **fields)
    except IntegrityError as exc:
        raise InvalidInput({"slug": f"There is a {kind._meta.verbose_name} “{slug}” already."}, code="unique") from exc
    audit.record(actor=actor, action=f"{noun}.created", obj=label, now=now, new={"slug": slug, "name": name, **fields})
    return label


@transaction.atomic
def update_label(label: Label, *, actor: Actor, now: datetime, **fields: Any) -> Label:
    """Change what a label says about itself; its slug stays, because telemetry and scripts know it by that."""
    old = {field: getattr(label, field) for field in fields}
    changed = {field: value for field, value in fields.items() if old[field] != value}
    if not changed:
        return label
    for field, value in changed.items():
        setattr(label, field, value)
    label.save(update_fields=list(changed))
    audit.record(
        actor=actor,
        action=f"{label._meta.model_name}.changed",
        obj=label,
        now=now,
        old={field: old[field] for field in changed},
        new=changed,
    )
    return label


def ensure_label(kind: type[Label], text: str, *, actor: Actor, now: datetime) -> Label:
    """The label of that slug or name, registered now where it is unknown."""
    slug, name = slug_and_name(slugify(text)[:64], text)
    found = kind.objects.filter(slug=text).first() or kind.objects.filter(slug=slug).first()
    if found is not None:
        return found
    try:
        return create_label(kind, actor=actor, now=now, slug=slug, name=name[:128])
    except InvalidInput:
        # Another request registered it in between.
        return kind.objects.get(slug=slug)
