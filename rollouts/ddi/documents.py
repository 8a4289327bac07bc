"""The documents of DDI as plain dictionaries; every link is absolute, in the spelling in which the client called."""

from collections.abc import Sequence
from typing import Any

from rollouts.ddi.chunks import Chunk, File


def controller_base(base: str, sleep: str, links: dict[str, str]) -> dict[str, Any]:
    """The answer to a poll; without anything to do there are no links at all."""
    document: dict[str, Any] = {"config": {"polling": {"sleep": sleep}}}
    if links:
        document["_links"] = {name: {"href": f"{base}/{path}"} for name, path in links.items()}
    return document


def artifact(base: str, module: int, file: File) -> dict[str, Any]:
    """A file with all hashes and all four link relations: each client looks for another one."""
    href = f"{base}/softwaremodules/{module}/artifacts/{file.filename}"
    hashes = {"sha1": file.sha1, "md5": file.md5, "sha256": file.sha256}
    return {
        "filename": file.filename,
        "hashes": {name: value for name, value in hashes.items() if value},
        "size": file.size,
        "_links": {
            "download": {"href": href},
            "download-http": {"href": href},
            "md5sum": {"href": f"{href}.MD5SUM"},
            "md5sum-http": {"href": f"{href}.MD5SUM"},
        },
    }


def chunk(base: str, module: int, piece: Chunk) -> dict[str, Any]:
    """A software module."""
    return {
        "part": piece.part,
        "version": piece.version,
        "name": piece.name,
        "artifacts": [artifact(base, module, file) for file in piece.files],
    }


def deployment(
    base: str, action_id: int, module: int, chunks: Sequence[Chunk], history: dict[str, Any] | None
) -> dict[str, Any]:
    """An action that the client shall carry out now; outside a window it is withheld, never sent as `skip`."""
    document: dict[str, Any] = {
        "id": str(action_id),
        "deployment": {
            "download": "forced",
            "update": "forced",
            "chunks": [chunk(base, module, piece) for piece in chunks],
        },
    }
    if history is not None:
        document["actionHistory"] = history
    return document


def confirmation(
    base: str, action_id: int, module: int, chunks: Sequence[Chunk], history: dict[str, Any] | None
) -> dict[str, Any]:
    """An action that waits for a person at the device."""
    document = deployment(base, action_id, module, chunks, history)
    document["confirmation"] = document.pop("deployment")
    return document


def cancellation(action_id: int) -> dict[str, Any]:
    """The wish that the client lets go of an action."""
    return {"id": str(action_id), "cancelAction": {"stopId": str(action_id)}}


def history(status: str, messages: Sequence[str]) -> dict[str, Any]:
    """What was said about an action, newest first."""
    return {"status": status, "messages": list(messages)}
