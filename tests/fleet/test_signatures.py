"""Ed25519: keys and signatures in the texts that people paste, the two forms, and a published test vector."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fleet import signatures
from fleet.models import SigningKey

# RFC 8032, section 7.1, test 3.
PUBLIC = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
MESSAGE = bytes.fromhex("af82")
SIGNATURE = (
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)


def key_of(private: Ed25519PrivateKey) -> SigningKey:
    return SigningKey(name="build", public_key=private.public_key().public_bytes_raw())


@pytest.fixture
def private() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def test_the_vector_of_rfc_8032_verifies():
    key = SigningKey(public_key=signatures.parse_public_key(PUBLIC))
    raw = signatures.parse_signature(SIGNATURE)
    assert signatures.signer([key], raw, hashlib.sha256(MESSAGE).digest(), MESSAGE) == (key, "content")
    assert signatures.signer([key], raw, hashlib.sha256(b"x").digest(), b"x") is None


def test_a_signature_over_the_digest_needs_no_file(private):
    digest = hashlib.sha256(b"firmware").digest()
    assert signatures.signer([key_of(private)], private.sign(digest), digest)[1] == "sha256"


def test_a_signature_over_the_file_cannot_be_checked_without_it(private):
    digest = hashlib.sha256(b"firmware").digest()
    assert signatures.signer([key_of(private)], private.sign(b"firmware"), digest) is None


def test_a_file_that_looks_like_a_digest_is_not_vouched_for_by_a_signature_over_it(private):
    digest_of_something = hashlib.sha256(b"other firmware").digest()
    digest_of_the_file = hashlib.sha256(digest_of_something).digest()
    signature = private.sign(digest_of_something)
    assert signatures.signer([key_of(private)], signature, digest_of_the_file, digest_of_something) is None


def test_the_key_that_signed_is_found_among_several(private):
    others = [key_of(Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)) for n in range(1, 4)]
    right = key_of(private)
    found = signatures.signer([*others, right], private.sign(b"x"), hashlib.sha256(b"x").digest(), b"x")
    assert found == (right, "content")


def test_a_public_key_is_read_from_pem_hexadecimal_and_base64(private):
    public = private.public_key()
    raw = public.public_bytes_raw()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    texts = [pem, raw.hex(), raw.hex().upper(), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()]
    assert {signatures.parse_public_key(text) for text in texts} == {raw}


@pytest.mark.parametrize("text", ["", "abc", "zz" * 32, "00" * 31, "ü" * 64, "-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_what_is_no_key_is_none(text):
    assert signatures.parse_public_key(text) is None


def test_a_key_of_another_kind_is_none():
    pem = X25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert signatures.parse_public_key(pem.decode()) is None
