"""Pruning files of artifacts: bytes that no release refers to, and those of withdrawn releases that nothing needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db.models import Exists, OuterRef

from fleet.actors import Actor
from fleet.models import Artifact, Release
from fleet.services import audit
from rollouts import machine
from rollouts.models import CohortMember, Delivery, Lane
from telemetry.models import DeviceLatest

ACTOR = Actor.system("pruning")
# An upload writes its bytes before its row: younger files may be about to be referred to.
SPARED = timedelta(days=1)


@dataclass(frozen=True)
class Pruned:
    """A file that went, or would go: its path below the folder of artifacts, its size in bytes, and why."""

    path: str
    size: int
    reason: str


def prune(now: datetime, *, withdrawn_before: timedelta | None = None, dry_run: bool = False) -> list[Pruned]:
    """Remove files that nothing refers to any more; with `dry_run` only say which.

    A file stays as long as any artifact row refers to it. With `withdrawn_before`, rows of releases that were withdrawn
    at least so long ago lose their file too, but never one that a device runs, that a delivery or a lane under way is
    about, that a device may be rolled back to, or that another release shares. What is known of a file stays on record,
    and the trail says that its bytes went.
    """
    dropped: list[Pruned] = []
    kept = set(Artifact.objects.exclude(path="").values_list("path", flat=True))
    if withdrawn_before is not None:
        forsaken = list(forsaken_artifacts(now - withdrawn_before))
        others = Artifact.objects.exclude(path="").exclude(pk__in=[row.pk for row in forsaken])
        gone = {row.path for row in forsaken} - set(others.values_list("path", flat=True))
        dropped = [
            Pruned(path, size, "of a withdrawn release that nothing needs")
            for path in sorted(gone)
            if (size := _size(path)) is not None
        ]
        kept -= gone
        if not dry_run:
            there = {row.path for row in dropped}
            _record([row for row in forsaken if row.path in there], now)
    for file in _files(now):
        path = str(file.relative_to(settings.MEDIA_ROOT))
        if path not in kept and path not in {row.path for row in dropped}:
            dropped.append(Pruned(path, file.stat().st_size, "no release refers to it"))
    if not dry_run:
        for row in dropped:
            (Path(settings.MEDIA_ROOT) / row.path).unlink(missing_ok=True)
    return dropped


def forsaken_artifacts(withdrawn_until: datetime) -> Iterator[Artifact]:
    """Files of releases that were withdrawn by then and that no device can want."""
    mine = OuterRef("release")
    # A lane that is not at its end, or whose devices may yet be rolled back by a person.
    lanes = Lane.objects.filter(rollout__release=mine).exclude(state=machine.State.DRAFT)
    under_way = lanes.exclude(state__in=[machine.State.ROLLED_BACK, machine.State.STOPPED])
    former = CohortMember.objects.filter(
        previous_release=mine, lane__state__in=machine.HAS_DEVICES - {machine.State.STOPPED}
    )
    return (
        Artifact.objects.filter(release__status=Release.Status.WITHDRAWN, release__withdrawn_at__lte=withdrawn_until)
        .exclude(path="")
        .filter(
            ~Exists(DeviceLatest.objects.filter(release=mine)),
            ~Exists(Delivery.objects.filter(release=mine, status__in=Delivery.OPEN)),
            ~Exists(under_way),
            ~Exists(former),
        )
        .select_related("release__workload")
        .order_by("pk")
        .iterator()
    )


def _record(rows: list[Artifact], now: datetime) -> None:
    """The rows are frozen with their release and stay as they are; the trail says that their bytes went."""
    audit.record_all(
        [
            audit.entry(
                actor=ACTOR,
                action="artifact.pruned",
                obj=row,
                now=now,
                old={"release": str(row.release), "sha256": row.sha256, "size": row.size},
                reason="withdrawn, and nothing needs its file any more",
            )
            for row in rows
        ]
    )


def _size(path: str) -> int | None:
    file = Path(settings.MEDIA_ROOT) / path
    return file.stat().st_size if file.exists() else None


def _files(now: datetime) -> Iterator[Path]:
    """Files in the places that uploads move them to, old enough for their rows to be there."""
    youngest = now.timestamp() - SPARED.total_seconds()
    for file in sorted(Path(settings.MEDIA_ROOT).glob("[0-9a-f][0-9a-f]/*")):
        if file.is_file() and file.stat().st_mtime <= youngest:
            yield file
