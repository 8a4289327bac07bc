"""Reads of releases."""

from django.db.models import Exists, OuterRef, Q, QuerySet

from fleet.models import Artifact, Device, Release, Workload
from fleet.models.releases import BILL_OF_MATERIALS


def release_for(workload: Workload | str, version: str) -> Release | None:
    """The release of a workload (a row or its slug) by version, or None."""
    releases = Release.objects.select_related("workload")
    if isinstance(workload, str):
        return releases.filter(workload__slug=workload, version=version).first()
    return releases.filter(workload=workload, version=version).first()


def difference(release: Release, against: Release) -> list[dict[str, object]]:
    """The bill of materials of two releases side by side: one row per part with both values and whether they differ."""
    mine, theirs = release.bill_of_materials, against.bill_of_materials
    others = sorted((mine.keys() | theirs.keys()) - set(BILL_OF_MATERIALS))
    rows = [(part, theirs.get(part, ""), mine.get(part, "")) for part in (*BILL_OF_MATERIALS, *others)]
    return [{"part": part, "from": before, "to": after, "changed": before != after} for part, before, after in rows]


def artifacts_for(device: Device) -> QuerySet[Artifact]:
    """The files that a device may fetch: of frozen releases for its hardware target, without other targets' files."""
    membership = Release.hardware_targets.through
    listed = membership.objects.filter(release=OuterRef("release"))
    supported = ~Exists(listed) | Exists(listed.filter(hardwaretarget=device.hardware_target_id))
    for_this_target = Q(hardware_target__isnull=True) | Q(hardware_target=device.hardware_target_id)
    frozen = Q(release__status__in=(Release.Status.PUBLISHED, Release.Status.WITHDRAWN))
    return Artifact.objects.filter(supported, for_this_target, frozen)


def artifact_difference(release: Release, against: Release) -> list[dict[str, object]]:
    """The files of two releases side by side by name: the SHA-256 of each, empty where a release has none."""
    mine = {artifact.filename: artifact.sha256 for artifact in release.artifacts.all()}
    theirs = {artifact.filename: artifact.sha256 for artifact in against.artifacts.all()}
    return [
        {
            "filename": name,
            "from": theirs.get(name, ""),
            "to": mine.get(name, ""),
            "changed": mine.get(name) != theirs.get(name),
        }
        for name in sorted(mine.keys() | theirs.keys())
    ]


def previous_release(release: Release) -> Release | None:
    """The release of the same workload that was the newest when this one came: what it is compared with by default."""
    same_moment = Q(created_at=release.created_at, pk__lt=release.pk)
    earlier = release.workload.releases.filter(Q(created_at__lt=release.created_at) | same_moment)
    registered = earlier.filter(status__in=[Release.Status.PUBLISHED, Release.Status.WITHDRAWN])
    return registered.order_by("-created_at", "-pk").first()
