"""Reads of the fleet's tables, one file per subject."""

from fleet.selectors.labels import group_by_slug, region_by_slug, target_by_slug, workload_by_slug
from fleet.selectors.releases import release_for

__all__ = ["group_by_slug", "region_by_slug", "release_for", "target_by_slug", "workload_by_slug"]
