"""Reads of releases."""

from fleet.models import Release, Workload
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
