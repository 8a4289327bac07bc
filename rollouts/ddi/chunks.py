"""Delivery profiles: how the files of a release are cut into the chunks that an OTA client can take."""

from collections.abc import Sequence
from dataclasses import dataclass

# Clients know two module types by other names.
LEGACY_PARTS = {"application": "bApp", "runtime": "jvm"}
SWUPDATE_SUFFIXES = (".swu", ".zck")


@dataclass(frozen=True)
class File:
    """An artifact as a client sees it."""

    filename: str
    part: str
    size: int
    sha256: str
    sha1: str
    md5: str


@dataclass(frozen=True)
class Chunk:
    """A software module: one part of the release with its files."""

    part: str
    name: str
    version: str
    files: tuple[File, ...]


def cut(profile: str, name: str, version: str, files: Sequence[File]) -> list[Chunk]:
    """The chunks of a release for a delivery profile; empty where no file suits the client.

    generic: every part a chunk. swupdate: parts with a .swu image, only those files. single-bundle (RAUC): one chunk
    with one file, a bundle where there is one. zephyr: one chunk called bApp with one file, firmware preferred.
    """
    if profile == "swupdate":
        return _by_part(name, version, [file for file in files if file.filename.endswith(SWUPDATE_SUFFIXES)])
    if profile == "single-bundle":
        chosen = _first(files, parts=("bundle", "os"), suffixes=(".raucb",))
        return [Chunk(chosen.part, name, version, (chosen,))] if chosen else []
    if profile == "zephyr":
        chosen = _first(files, parts=("firmware", "application", "bundle"), suffixes=(".signed.bin", ".bin"))
        return [Chunk("bApp", name, version, (chosen,))] if chosen else []
    return _by_part(name, version, files)


def _by_part(name: str, version: str, files: Sequence[File]) -> list[Chunk]:
    parts = dict.fromkeys(file.part for file in files)
    return [
        Chunk(LEGACY_PARTS.get(part, part), name, version, tuple(file for file in files if file.part == part))
        for part in parts
    ]


def _first(files: Sequence[File], *, parts: tuple[str, ...], suffixes: tuple[str, ...]) -> File | None:
    """The file that such a client most likely wants: by suffix, then by part, then the first."""
    for suffix in suffixes:
        for file in files:
            if file.filename.endswith(suffix):
                return file
    for part in parts:
        for file in files:
            if file.part == part:
                return file
    return files[0] if files else None
