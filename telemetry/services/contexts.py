"""Label sets and class names of telemetry: found or registered, and remembered in the process.

A context and a class label never change, so what is remembered stays true; only whether a release contradicts its bill
of materials can change while the release is a draft, hence an entry is read again after a while.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from fleet.models import Release
from fleet.services.releases import register_unknown_release
from telemetry.models import ClassLabel, Context
from telemetry.protocol.wire import ContextLabels

# The labels of a context that a bill of materials has as well.
COMPARED = ("model_version", "firmware_version", "driver_version", "runtime_version")
_LABELS = ContextLabels.__struct_fields__
_REMEMBERED_FOR = timedelta(minutes=1)
_MAX_REMEMBERED = 20_000

# Beyond it a model that invents class names would fill the table; its records are kept without their class.
MAX_CLASSES_PER_WORKLOAD = 10_000


@dataclass(frozen=True, slots=True)
class KnownContext:
    """A context as ingest needs it."""

    id: int
    workload_id: int
    release_id: int
    unregistered: bool
    mismatches: dict[str, dict[str, str]]
    read_at: datetime


_contexts: dict[tuple[str, ...], KnownContext] = {}
_classes: dict[int, dict[str, int]] = {}


def known_context(labels: ContextLabels, now: datetime) -> KnownContext:
    """The context with these labels; workload, release and context are registered where they are new.

    Runs its own transaction where it has to write, so it must not be called inside the batch's: two batches that bring
    the same new label would otherwise wait for each other.
    """
    key = _key(labels)
    known = _contexts.get(key)
    if known is None or now - known.read_at > _REMEMBERED_FOR:
        known = _read_or_register(key, now)
        if len(_contexts) >= _MAX_REMEMBERED:
            _contexts.clear()
        _contexts[key] = known
    return known


def remembers(labels: ContextLabels, class_names: Sequence[str], now: datetime) -> bool:
    """Whether the context with these labels and these classes of its workload are in memory, and fresh."""
    known = _contexts.get(_key(labels))
    if known is None or now - known.read_at > _REMEMBERED_FOR:
        return False
    classes = _classes.get(known.workload_id, {})
    return all(name in classes for name in class_names)


def _key(labels: ContextLabels) -> tuple[str, ...]:
    return tuple([getattr(labels, name) or "" for name in _LABELS])


def _read_or_register(key: tuple[str, ...], now: datetime) -> KnownContext:
    labels = dict(zip(_LABELS, key, strict=True))
    digest = hashlib.sha256("\0".join(key).encode()).hexdigest()[:32]
    context = Context.objects.select_related("release").filter(digest=digest).first()
    if context is None:
        context = _register(labels, digest, now)
    mismatches = mismatches_of(context.release, labels)
    if mismatches != context.mismatches:
        Context.objects.filter(pk=context.pk).update(mismatches=mismatches)
    return KnownContext(
        context.pk,
        context.workload_id,
        context.release_id,
        context.release.status == Release.Status.UNREGISTERED,
        mismatches,
        now,
    )


@transaction.atomic
def _register(labels: dict[str, str], digest: str, now: datetime) -> Context:
    workload, version = labels["workload"], labels["release"]
    release = Release.objects.filter(workload__slug=workload, version=version).first()
    if release is None:
        release = register_unknown_release(workload, version, now=now)
    others = {name: value for name, value in labels.items() if name not in ("workload", "release")}
    Context.objects.bulk_create(
        [
            Context(
                digest=digest,
                workload_id=release.workload_id,
                release=release,
                mismatches=mismatches_of(release, labels),
                created_at=now,
                **others,
            )
        ],
        ignore_conflicts=True,
    )
    return Context.objects.select_related("release").get(digest=digest)


def mismatches_of(release: Release, labels: dict[str, str]) -> dict[str, dict[str, str]]:
    """The parts in which a device contradicts its release's bill of materials; what either leaves open is none."""
    declared = release.bill_of_materials
    return {
        part: {"release": declared[part], "device": labels[part]}
        for part in COMPARED
        if labels.get(part) and declared.get(part) and labels[part] != declared[part]
    }


def class_ids(workload_id: int, names: Sequence[str]) -> list[int]:
    """The id of each class name of a workload, registered where it is new; -1 beyond `MAX_CLASSES_PER_WORKLOAD`."""
    known = _classes.setdefault(workload_id, {})
    new = [name for name in names if name not in known]
    if new:
        if len(known) < MAX_CLASSES_PER_WORKLOAD:
            ClassLabel.objects.bulk_create(
                [ClassLabel(workload_id=workload_id, name=name) for name in new], ignore_conflicts=True
            )
        known.update(ClassLabel.objects.filter(workload_id=workload_id, name__in=new).values_list("name", "id"))
    return [known.get(name, -1) for name in names]


def forget() -> None:
    """Forget what is remembered: after a fork, or between tests, whose tables start empty."""
    _contexts.clear()
    _classes.clear()
