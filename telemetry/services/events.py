"""Events that the server itself raises about a device, beside those that devices send."""

from __future__ import annotations

import uuid

# A device runs parts other than its release's bill of materials says.
BOM_MISMATCH = "bom_mismatch"
# A device runs a release that nobody announced.
UNREGISTERED_RELEASE = "unregistered_release"

_NAMESPACE = uuid.UUID("6f0c1b52-6d35-4f5e-9a5e-2c1d8a3a6d11")


def event_id(*parts: object) -> uuid.UUID:
    """The id of an event that has none of its own, from what identifies it; the same parts give the same id."""
    return uuid.uuid5(_NAMESPACE, ":".join(map(str, parts)))
