"""What the server wants this device to run: polling, artifact downloads that resume, and progress reports."""

from __future__ import annotations

import hashlib
import http.client
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from .transport import Transport, TransportError, bearer, explain, send_json

DESIRED_PATH = "/api/v1/device/desired"
STATUS_PATH = "/api/v1/device/status"
STATUSES = ("downloading", "installing", "installed", "booted", "failed", "rejected")
_CHUNK = 256 * 1024


class DesiredUnknown(RuntimeError):
    """The server gave no usable answer to what should run; what runs stays."""


class DownloadFailed(RuntimeError):
    """An artifact could not be fetched whole, or its hash is not the one that was promised."""


@dataclass(frozen=True)
class Artifact:
    """A file of a release: what it is part of ("model", "firmware"), its size in bytes, SHA-256 and address."""

    filename: str
    sha256: str
    url: str
    part: str = ""
    size: int | None = None
    signature: str | None = None


@dataclass(frozen=True)
class Desired:
    """The release that a device should run; `release` is None when the server has no wish."""

    release: str | None
    workload: str | None = None
    action_id: int | None = None
    rollback: bool = False
    artifacts: tuple[Artifact, ...] = ()
    bill_of_materials: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any]) -> Desired:
        """From the JSON of the desired endpoint; fields that this version does not know are ignored."""
        known = Artifact.__dataclass_fields__
        artifacts = tuple(
            Artifact(**{name: value for name, value in item.items() if name in known})
            for item in answer.get("artifacts") or ()
        )
        return cls(
            release=answer.get("version") or answer.get("release"),
            workload=answer.get("workload"),
            action_id=answer.get("action_id"),
            rollback=bool(answer.get("rollback")),
            artifacts=artifacts,
            bill_of_materials=answer.get("bill_of_materials") or {},
        )


class ReleaseClient:
    """Asks for the desired release, fetches its artifacts, tells how far the installation is."""

    def __init__(self, transport: Transport, token: str, server: str) -> None:
        self.transport, self.token, self.server = transport, token, server.rstrip("/") + "/"

    def desired(self, workload: str | None = None) -> Desired:
        """What should run; DesiredUnknown when the server does not say."""
        path = DESIRED_PATH + (f"?workload={quote(workload)}" if workload else "")
        try:
            response = send_json(self.transport, "GET", path, token=self.token)
        except TransportError as error:
            raise DesiredUnknown(str(error)) from error
        if response.status != 200:
            raise DesiredUnknown(explain(response))
        try:
            return Desired.from_answer(response.json())
        except (ValueError, TypeError, AttributeError) as error:
            raise DesiredUnknown(f"the answer cannot be read: {error}") from error

    def report(self, action_id: int | None, status: str, progress: int = 0, detail: str = "") -> bool:
        """Tell the progress of an installation, 0 to 100; False when the server did not hear it.

        Progress is advice: what counts as success is telemetry from the new release, so a report that is lost is not
        repeated.
        """
        if status not in STATUSES:
            raise ValueError(f"status: must be one of {', '.join(STATUSES)}, got {status!r}")
        payload = {"action_id": action_id, "status": status, "progress": progress, "detail": detail}
        try:
            return send_json(self.transport, "POST", STATUS_PATH, payload, self.token).status == 200
        except TransportError:
            return False

    def download(self, artifact: Artifact, directory: str, attempts: int = 5) -> str:
        """Fetch an artifact into `directory` and return its path.

        A broken download goes on where it stopped (Range), also after a restart. The file appears under its name only
        when its SHA-256 is right; DownloadFailed otherwise.
        """
        name = os.path.basename(artifact.filename)
        if not name or name in (".", ".."):
            raise DownloadFailed(f"an artifact needs a file name, got {artifact.filename!r}")
        target = os.path.join(directory, name)
        if os.path.exists(target) and _sha256(target) == artifact.sha256:
            return target
        # The hash is in the name, so that bytes of another release are never continued.
        partial = f"{target}.{artifact.sha256[:16]}.part"
        reason = "no attempt was made"
        for _ in range(attempts):
            try:
                self._fetch(artifact, partial)
            except TransportError as error:
                reason = str(error)
                continue
            if _sha256(partial) == artifact.sha256:
                os.replace(partial, target)
                return target
            os.remove(partial)
            reason = "the bytes do not match the promised SHA-256"
        raise DownloadFailed(f"{artifact.filename}: {reason}")

    def _fetch(self, artifact: Artifact, partial: str) -> None:
        have = os.path.getsize(partial) if os.path.exists(partial) else 0
        transport, path, headers = self._source(artifact)
        headers["Accept"] = "application/octet-stream"
        if have:
            headers["Range"] = f"bytes={have}-"
        try:
            answer = transport.open("GET", path, headers=headers)
            if answer.status == 416:
                # Nothing is left to fetch; the hash decides whether what is here is right.
                return
            if answer.status not in (200, 206):
                raise DownloadFailed(f"{artifact.filename}: the server answered {answer.status}")
            with open(partial, "ab" if answer.status == 206 else "wb") as file:
                length = answer.length
                received = 0
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    received += len(chunk)
            if length is not None and received < length:
                raise TransportError(f"the download broke off after {have + received} bytes")
        except TransportError:
            raise
        except (OSError, http.client.HTTPException) as error:
            raise TransportError(f"the download broke off: {error!r}") from error
        finally:
            transport.close()

    def _source(self, artifact: Artifact) -> tuple[Transport, str, dict[str, str]]:
        """Connection, path and headers for an artifact; the token goes to our own server alone."""
        parts = urlsplit(urljoin(self.server, artifact.url))
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        transport = Transport(f"{parts.scheme}://{parts.netloc}")
        own = urlsplit(self.server)
        trusted = (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
        return transport, path, bearer(self.token) if trusted else {}


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
