"""Ed25519 signatures on artifacts (RFC 8032), over the file itself or over its raw SHA-256 digest.

The first form is what `openssl pkeyutl -sign -rawin` makes; the second lets a build server sign a file that it only
knows by its digest. A file of exactly 32 bytes could be mistaken for a digest, so for it only the second form counts.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

KEY_BYTES = 32
SIGNATURE_BYTES = 64
DIGEST_BYTES = 32
OVER_CONTENT = "content"
OVER_DIGEST = "sha256"


class Key(Protocol):
    """A registered public key."""

    public_key: bytes


def _decode(text: str, size: int) -> bytes | None:
    """Bytes of that size from hexadecimal or base64 text (either alphabet), or None."""
    compact = "".join(text.split())
    if len(compact) == 2 * size:
        try:
            return bytes.fromhex(compact)
        except ValueError:
            pass
    standard = compact.replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == size else None


def parse_public_key(text: str) -> bytes | None:
    """The 32 bytes of an Ed25519 public key from PEM, hexadecimal or base64 text, or None where it is none."""
    if "-----BEGIN" in text:
        try:
            key = load_pem_public_key(text.strip().encode())
        except (ValueError, UnsupportedAlgorithm):
            return None
        return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None
    raw = _decode(text, KEY_BYTES)
    if raw is None:
        return None
    try:
        Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        return None
    return raw


def parse_signature(text: str) -> bytes | None:
    """The 64 bytes of a signature from hexadecimal or base64 text, or None where it is none."""
    return _decode(text, SIGNATURE_BYTES)


def _verifies(public_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes(public_key)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def signer(
    keys: Iterable[Key], signature: bytes, digest: bytes, content: bytes | None = None
) -> tuple[Key, str] | None:
    """The key that made the signature and the form it has, or None where no key did.

    `content` is any buffer over the whole file (a memory map does), or None where the file is not here.
    """
    for key in keys:
        if _verifies(key.public_key, signature, digest):
            return key, OVER_DIGEST
        if content is not None and len(content) != DIGEST_BYTES and _verifies(key.public_key, signature, content):
            return key, OVER_CONTENT
    return None
