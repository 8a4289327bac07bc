"""Writers of artifacts: files are stored under their SHA-256, after every check, in one step.

A file is first written beside its place, hashed on the way, checked against the SHA-256 and the signature that came
with it, and only then moved to where downloads look. The row is written last, so no row ever points at half a file.
"""

import hashlib
import mmap
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import IntegrityError, transaction

from fleet import signatures
from fleet.actors import Actor
from fleet.exceptions import InvalidInput, StateConflict, TooLarge
from fleet.models import Artifact, HardwareTarget, Release, SigningKey
from fleet.services import audit
from fleet.services.releases import allowed_actions

_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,254}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
FILENAME_RULE = "A file name has up to 255 letters, digits and . _ + -, and begins with a letter or a digit."


@dataclass(frozen=True, slots=True)
class Description:
    """What is said about a file besides its bytes; empty hashes and a null size are unknown yet."""

    filename: str
    part: str = "bundle"
    hardware_target: HardwareTarget | None = None
    sha256: str = ""
    size: int | None = None
    sha1: str = ""
    md5: str = ""
    url: str = ""
    signature: str = ""
    signing_key: SigningKey | None = None


@dataclass(frozen=True, slots=True)
class Hashed:
    """A file that was written aside, with what was computed on the way."""

    path: Path
    size: int
    sha256: str
    sha1: str
    md5: str


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that was verified."""

    raw: bytes | None = None
    form: str = ""
    key: SigningKey | None = None


def location(artifact: Artifact) -> Path | None:
    """Where the artifact's file lies, or None where only its description is known."""
    return Path(settings.MEDIA_ROOT) / artifact.path if artifact.path else None


def _normal(digest: str) -> str:
    return digest.strip().lower().removeprefix("sha256:")


@contextmanager
def _written_aside(chunks: Iterable[bytes]) -> Iterator[Hashed]:
    """Write the bytes to a temporary file on the same disk; whatever is left of it afterwards is removed."""
    root = Path(settings.MEDIA_ROOT)
    root.mkdir(parents=True, exist_ok=True)
    sha256, sha1, md5 = hashlib.sha256(), hashlib.sha1(usedforsecurity=False), hashlib.md5(usedforsecurity=False)
    size = 0
    descriptor, name = tempfile.mkstemp(prefix="upload-", dir=root)
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > settings.ARTIFACT_MAX_BYTES:
                    raise TooLarge(f"An artifact may have at most {settings.ARTIFACT_MAX_BYTES} bytes.")
                for digest in (sha256, sha1, md5):
                    digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        yield Hashed(path, size, sha256.hexdigest(), sha1.hexdigest(), md5.hexdigest())
    finally:
        path.unlink(missing_ok=True)


def _keep(file: Hashed) -> str:
    """Move the file to its place and return that place relative to the folder of artifacts."""
    relative = f"{file.sha256[:2]}/{file.sha256}"
    target = Path(settings.MEDIA_ROOT) / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    file.path.chmod(0o644)
    # Same bytes under the same name: replacing a file that is there already changes nothing for who reads it.
    os.replace(file.path, target)
    return relative


def _verified(description: Description, digest: str, file: Path | None) -> Signature:
    """The signature with the key that made it; `InvalidInput` where there is one and no registered key made it."""
    if not description.signature:
        return Signature()
    raw = signatures.parse_signature(description.signature)
    if raw is None:
        raise InvalidInput({"signature": "A signature has 64 bytes, as hexadecimal or base64."})
    keys = SigningKey.objects.filter(revoked_at__isnull=True)
    if description.signing_key is not None:
        keys = keys.filter(pk=description.signing_key.pk)
    candidates = list(keys)
    if file is None or file.stat().st_size == 0:
        found = signatures.signer(candidates, raw, bytes.fromhex(digest), None if file is None else b"")
    else:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = signatures.signer(candidates, raw, bytes.fromhex(digest), content)
    if found is None:
        hint = "" if file else " A signature over the file itself can be checked only when the file is uploaded."
        raise InvalidInput({"signature": f"No registered key has made this signature.{hint}"}, code="bad_signature")
    return Signature(raw, found[1], found[0])


def _assert_well_formed(description: Description) -> None:
    errors: dict[str, str] = {}
    if not _FILENAME.fullmatch(description.filename):
        errors["filename"] = FILENAME_RULE
    if description.sha256 and not _SHA256.fullmatch(_normal(description.sha256)):
        errors["sha256"] = "A SHA-256 has 64 hexadecimal digits."
    if errors:
        raise InvalidInput(errors)


def _assert_matches(description: Description, file: Hashed) -> None:
    """What the sender said must be what arrived."""
    errors: dict[str, str] = {}
    for name in ("sha256", "sha1", "md5"):
        said, found = _normal(getattr(description, name)), getattr(file, name)
        if said and said != found:
            errors[name] = f"The file that arrived has the {name} {found}."
    if description.size is not None and description.size != file.size:
        errors["size"] = f"The file that arrived has {file.size} bytes."
    if errors:
        raise InvalidInput(errors, code="mismatch")


@transaction.atomic
def describe_artifact(release: Release, description: Description, *, actor: Actor, now: datetime) -> Artifact:
    """Register an artifact of a draft by its description alone; its file may be uploaded later or live elsewhere."""
    _assert_well_formed(description)
    if not description.sha256:
        raise InvalidInput({"sha256": "An artifact that is not uploaded is known by its SHA-256."}, code="required")
    _lock_draft(release)
    digest = _normal(description.sha256)
    signature = _verified(description, digest, None)
    artifact = Artifact(
        release=release,
        filename=description.filename,
        part=description.part,
        hardware_target=description.hardware_target,
        size=description.size or 0,
        sha256=digest,
        sha1=_normal(description.sha1),
        md5=_normal(description.md5),
        url=description.url,
        signature=signature.raw,
        signature_form=signature.form,
        signing_key=signature.key,
        created_at=now,
    )
    _insert(artifact)
    _record("artifact.described", artifact, actor=actor, now=now)
    return artifact


def upload_artifact(
    release: Release, description: Description, chunks: Iterable[bytes], *, actor: Actor, now: datetime
) -> Artifact:
    """Store a file of a release.

    On a draft it becomes a new artifact, or fills the one described under that name. On a published release it can
    only fill, with exactly the bytes that the published SHA-256 names. The same file again gives the same row.

    Raises `InvalidInput` where hash, size or signature do not match, `TooLarge`, and `StateConflict` where the release
    is frozen or another file has the name.
    """
    _assert_well_formed(description)
    _assert_room_for(release, description.filename)
    with _written_aside(chunks) as file:
        _assert_matches(description, file)
        signature = _verified(description, file.sha256, file.path)
        with transaction.atomic():
            status = Release.objects.select_for_update().values_list("status", flat=True).get(pk=release.pk)
            artifact = Artifact.objects.filter(release=release, filename=description.filename).first()
            if artifact is None:
                artifact = _new(release, status, description, file, signature, now)
            else:
                _fill(artifact, status, file, signature)
            artifact.path = _keep(file)
            artifact.save() if artifact.pk else _insert(artifact)
            _record("artifact.uploaded", artifact, actor=actor, now=now)
    return artifact


def _assert_room_for(release: Release, filename: str) -> None:
    """Refuse before the bytes are read what would be refused after."""
    if release.status in (Release.Status.DRAFT, Release.Status.UNREGISTERED):
        return
    if not Artifact.objects.filter(release=release, filename=filename).exists():
        raise StateConflict(release.status, allowed_actions(release), f"Release {release} is frozen.")


def _new(
    release: Release, status: str, description: Description, file: Hashed, signature: Signature, now: datetime
) -> Artifact:
    if status not in (Release.Status.DRAFT, Release.Status.UNREGISTERED):
        raise StateConflict(status, detail=f"Release {release} is frozen.")
    return Artifact(
        release=release,
        filename=description.filename,
        part=description.part,
        hardware_target=description.hardware_target,
        size=file.size,
        sha256=file.sha256,
        sha1=file.sha1,
        md5=file.md5,
        url=description.url,
        signature=signature.raw,
        signature_form=signature.form,
        signing_key=signature.key,
        created_at=now,
    )


def _fill(artifact: Artifact, status: str, file: Hashed, signature: Signature) -> None:
    """Add the bytes, and perhaps the signature, to an artifact that is known; its SHA-256 decides whether they fit."""
    if artifact.sha256 != file.sha256:
        detail = (
            f"{artifact.filename} is registered with the SHA-256 {artifact.sha256}, and this file has {file.sha256}."
        )
        raise StateConflict(status, detail=detail, code="other_content")
    for name in ("sha1", "md5", "size"):
        said = getattr(artifact, name)
        if said and said != getattr(file, name):
            raise InvalidInput({name: f"The registered {name} is {said}, and this file has {getattr(file, name)}."})
        setattr(artifact, name, getattr(file, name))
    if signature.raw is not None and artifact.signature is None:
        artifact.signature, artifact.signature_form, artifact.signing_key = signature.raw, signature.form, signature.key


def _insert(artifact: Artifact) -> None:
    try:
        with transaction.atomic():
            artifact.save(force_insert=True)
    except IntegrityError as exc:
        raise InvalidInput(
            {"filename": f"Release {artifact.release} has a file {artifact.filename} already."}, code="unique"
        ) from exc


def _lock_draft(release: Release) -> None:
    locked = Release.objects.select_for_update().get(pk=release.pk)
    if locked.status not in (Release.Status.DRAFT, Release.Status.UNREGISTERED):
        raise StateConflict(locked.status, allowed_actions(locked), f"Release {release} is frozen.")


@transaction.atomic
def remove_artifact(artifact: Artifact, *, actor: Actor, now: datetime) -> None:
    """Take a file out of a draft. Its bytes stay on disk, where another release may refer to them."""
    _lock_draft(artifact.release)
    _record("artifact.removed", artifact, actor=actor, now=now)
    artifact.delete()


def _record(action: str, artifact: Artifact, *, actor: Actor, now: datetime) -> None:
    audit.record(
        actor=actor,
        action=action,
        obj=artifact,
        now=now,
        new={
            "release": str(artifact.release),
            "sha256": artifact.sha256,
            "size": artifact.size,
            "part": artifact.part,
            "signed_by": artifact.signing_key.name if artifact.signing_key else None,
        },
    )
