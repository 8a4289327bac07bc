"""Freezing: evidence as canonical JSON with its hash, written once and never changed."""

import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from drift.stats.canonical import canonical_json
from rollouts.models import Evidence, Lane, Rollout, Stage

_ROOT = Path(__file__).resolve().parent.parent.parent
# Whatever could change a verdict.
_SOURCES = ("drift/stats", "rollouts/policy.py", "rollouts/cohorts.py", "rollouts/gate.py")


@cache
def code_version() -> str:
    """SHA-256 over the sources that decide, first 16 digits: it changes exactly when a verdict could."""
    digest = hashlib.sha256()
    for source in _SOURCES:
        path = _ROOT / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(str(file.relative_to(_ROOT)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def sha256_of(body: str) -> str:
    """The hash that people see and sign."""
    return hashlib.sha256(body.encode()).hexdigest()


def freeze(
    kind: str,
    document: dict[str, Any],
    *,
    rollout: Rollout,
    now: datetime,
    lane: Lane | None = None,
    stage: Stage | None = None,
) -> Evidence:
    """Write a document. Raises ValueError for NaN: what cannot be written exactly cannot be signed."""
    body = canonical_json({**document, "kind": kind, "code_version": code_version(), "frozen_at": now.isoformat()})
    return Evidence.objects.create(
        kind=kind,
        rollout=rollout,
        lane=lane,
        stage=stage,
        sha256=sha256_of(body),
        body=body,
        code_version=code_version(),
        created_at=now,
    )
