"""Writers of releases: draft, publish, withdraw, and the placeholder for a release that only telemetry knows."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q

from fleet.actors import Actor
from fleet.exceptions import InvalidInput, StateConflict
from fleet.models import Artifact, HardwareTarget, Release, User, Workload
from fleet.models.releases import BILL_OF_MATERIALS
from fleet.services import audit
from fleet.services.labels import ensure_label

# action -> (states from which it is allowed, state to which it leads)
TRANSITIONS: dict[str, tuple[frozenset[str], str]] = {
    "publish": (frozenset({Release.Status.DRAFT}), Release.Status.PUBLISHED),
    "withdraw": (frozenset({Release.Status.PUBLISHED}), Release.Status.WITHDRAWN),
}

# Short names under which CI systems send the well-known parts.
PART_ALIASES = {
    "model": "model_version",
    "quantization_recipe": "quantization",
    "runtime": "runtime_version",
    "compiler": "compiler_version",
    "driver": "driver_version",
    "firmware": "firmware_version",
    "calibration_data_set": "calibration_dataset",
}
_PART = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


def allowed_actions(release: Release) -> list[str]:
    """What may be done with the release now; a draft and an unregistered release may be changed as well."""
    actions = [action for action, (states, _) in TRANSITIONS.items() if release.status in states]
    if release.status in (Release.Status.DRAFT, Release.Status.UNREGISTERED):
        actions.append("change")
    return sorted(actions)


def _split_parts(bill_of_materials: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The parts that have a column of their own, under their full names, and the others; all values as text."""
    errors: dict[str, str] = {}
    known: dict[str, str] = {}
    others: dict[str, str] = {}
    for name, value in bill_of_materials.items():
        part = PART_ALIASES.get(name, name)
        field = f"bill_of_materials.{name}"
        if not _PART.fullmatch(part):
            errors[field] = "A part's name has up to 64 lower-case letters, digits and _ - . in it."
        elif len(value) > 128:
            errors[field] = "A part's value has at most 128 characters."
        elif part in known:
            errors[field] = f"The part {part} stands twice in this bill of materials."
        elif part in BILL_OF_MATERIALS:
            known[part] = value
        else:
            others[part] = value
    if errors:
        raise InvalidInput(errors)
    return known, others


def _description(release: Release) -> dict[str, Any]:
    return {
        "status": release.status,
        "bill_of_materials": release.bill_of_materials,
        "hardware_targets": sorted(release.hardware_targets.values_list("slug", flat=True)),
        "metadata": release.metadata,
        "notes": release.notes,
    }


@transaction.atomic
def create_release(
    *,
    workload: Workload,
    version: str,
    actor: Actor,
    now: datetime,
    bill_of_materials: Mapping[str, str] | None = None,
    hardware_targets: Iterable[HardwareTarget] = (),
    metadata: Mapping[str, Any] | None = None,
    notes: str = "",
    created_by: User | None = None,
) -> Release:
    """Create a draft. A version that telemetry reported before becomes this release, with its history.

    Raises `InvalidInput` for a version that is taken and for parts that cannot be. Without a `model_version` the
    release's own version is taken for it. Parts beyond the well-known ones are kept and compared like those.
    """
    parts, others = _split_parts(bill_of_materials or {})
    parts.setdefault("model_version", version)
    fields = {
        **dict.fromkeys(BILL_OF_MATERIALS, ""),
        **parts,
        "other_parts": others,
        "status": Release.Status.DRAFT,
        "metadata": dict(metadata or {}),
        "notes": notes,
        "created_by": created_by,
    }
    seen = Release.objects.filter(workload=workload, version=version, status=Release.Status.UNREGISTERED)
    if seen.update(**fields):
        release = Release.objects.select_related("workload").get(workload=workload, version=version)
    else:
        try:
            with transaction.atomic():
                release = Release.objects.create(workload=workload, version=version, created_at=now, **fields)
        except IntegrityError as exc:
            raise InvalidInput(
                {"version": f"There is a release {version} of {workload.slug} already."}, code="unique"
            ) from exc
    release.hardware_targets.set(hardware_targets)
    audit.record(actor=actor, action="release.created", obj=release, now=now, new=_description(release))
    return release


@transaction.atomic
def update_release(
    release: Release,
    *,
    actor: Actor,
    now: datetime,
    bill_of_materials: Mapping[str, str] | None = None,
    hardware_targets: Iterable[HardwareTarget] | None = None,
    metadata: Mapping[str, Any] | None = None,
    notes: str | None = None,
) -> Release:
    """Change a draft; a published release refuses with `StateConflict`."""
    release = Release.objects.select_for_update(of=("self",)).select_related("workload").get(pk=release.pk)
    if "change" not in allowed_actions(release):
        detail = f"Release {release} is {release.status} and frozen."
        raise StateConflict(release.status, allowed_actions(release), detail)
    old = _description(release)
    parts, others = _split_parts(bill_of_materials or {})
    for part, value in parts.items():
        setattr(release, part, value)
    release.other_parts = release.other_parts | others
    if metadata is not None:
        release.metadata = dict(metadata)
    if notes is not None:
        release.notes = notes
    release.save()
    if hardware_targets is not None:
        release.hardware_targets.set(hardware_targets)
    audit.record(actor=actor, action="release.changed", obj=release, now=now, old=old, new=_description(release))
    return release


def _move(release: Release, action: str, *, actor: Actor, now: datetime, reason: str, **fields: Any) -> Release:
    """Compare-and-swap the status and leave an audit row."""
    states, target = TRANSITIONS[action]
    moved = Release.objects.filter(pk=release.pk, status__in=states).update(status=target, **fields)
    old = release.status
    release.refresh_from_db()
    if not moved:
        raise StateConflict(release.status, allowed_actions(release))
    audit.record(
        actor=actor,
        action=f"release.{target}",
        obj=release,
        now=now,
        old={"status": old},
        new=_description(release),
        reason=reason,
    )
    return release


@transaction.atomic
def publish(release: Release, *, actor: Actor, now: datetime, reason: str = "") -> Release:
    """Freeze the release; from here on the database refuses any change to it.

    Where the configuration asks for signed artifacts, an unsigned one stops the publication.
    """
    # The lock keeps artifacts from being added while they are looked at.
    Release.objects.select_for_update().get(pk=release.pk)
    if settings.REQUIRE_SIGNED_ARTIFACTS:
        good = Q(signature__isnull=False, signing_key__revoked_at__isnull=True)
        unsigned = Artifact.objects.filter(~good, release=release).values_list("filename", flat=True)
        if unsigned:
            detail = f"Not signed with a registered key: {', '.join(unsigned)}."
            raise InvalidInput({"artifacts": detail}, code="unsigned")
    return _move(release, "publish", actor=actor, now=now, reason=reason, published_at=now)


@transaction.atomic
def withdraw(release: Release, *, actor: Actor, now: datetime, reason: str = "") -> Release:
    """Take a published release out of circulation: it may not be rolled out any more."""
    return _move(release, "withdraw", actor=actor, now=now, reason=reason, withdrawn_at=now)


def register_unknown_release(workload_slug: str, version: str, *, now: datetime) -> Release:
    """The release that telemetry names, registered as "unregistered" where nobody announced it; so for its workload."""
    actor = Actor.system("ingest")
    workload = ensure_label(Workload, workload_slug, actor=actor, now=now)
    with transaction.atomic():
        release, created = Release.objects.get_or_create(
            workload=workload,
            version=version[:64],
            defaults={"status": Release.Status.UNREGISTERED, "created_at": now},
        )
        if created:
            audit.record(actor=actor, action="release.seen_unregistered", obj=release, now=now)
    return release
