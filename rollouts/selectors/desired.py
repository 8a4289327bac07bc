"""What a device is told of a delivery: release, bill of materials, and the files for its hardware."""

from typing import Any

from django.db.models import Q

from fleet.models import Artifact, Device, Release
from rollouts.models import Delivery

POLL_AFTER_S = 60


def files(release: Release, device: Device) -> list[Artifact]:
    """The artifacts of the release that this device's hardware takes."""
    mine = Q(hardware_target=None) | Q(hardware_target=device.hardware_target_id)
    return list(release.artifacts.filter(mine).order_by("part", "filename"))


def download_url(artifact: Artifact, base: str) -> str:
    """Where the file is fetched: from here, or from the address with which it was registered."""
    return f"{base}/artifacts/{artifact.sha256}/{artifact.filename}" if artifact.path else artifact.url


def as_dict(delivery: Delivery | None, base: str) -> dict[str, Any]:
    """The answer of `GET /api/v1/device/desired`; `base` is scheme and host, as the device called them."""
    if delivery is None:
        return {"release": None, "poll_after_s": POLL_AFTER_S}
    release = delivery.release
    return {
        "workload": release.workload.slug,
        "release": release.version,
        "version": release.version,
        "release_id": release.pk,
        "bill_of_materials": release.bill_of_materials,
        "artifacts": [
            {
                "filename": artifact.filename,
                "part": artifact.part,
                "size": artifact.size,
                "sha256": artifact.sha256,
                "url": download_url(artifact, base),
                "signature": bytes(artifact.signature).hex() if artifact.signature else None,
            }
            for artifact in files(release, delivery.device)
        ],
        "action_id": delivery.pk,
        "rollback": delivery.kind == Delivery.Kind.ROLLBACK,
        "poll_after_s": POLL_AFTER_S,
    }
