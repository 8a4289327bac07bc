"""Decompression stops at its limit and names what is damaged."""

import gzip
import zlib

import pytest
import zstandard

from telemetry.protocol import BadBody, TooLarge, UnknownEncoding, decompress

BODY = b"{}" + b" " * 99_998
COMPRESSED = {"": BODY, "identity": BODY, "gzip": gzip.compress(BODY), "zstd": zstandard.compress(BODY)}


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_the_body_comes_back_up_to_the_limit_and_not_beyond(encoding):
    assert decompress(COMPRESSED[encoding], encoding, len(BODY)) == BODY
    with pytest.raises(TooLarge):
        decompress(COMPRESSED[encoding], encoding, len(BODY) - 1)


def test_several_gzip_members_are_one_body_and_share_one_limit():
    body = gzip.compress(b"[1,") + gzip.compress(b"2]")
    assert decompress(body, "GZIP", 5) == b"[1,2]"
    with pytest.raises(TooLarge):
        decompress(body, "gzip", 4)


def test_fifty_megabytes_of_zeros_are_too_large_long_before_they_are_unpacked():
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(50)) + packer.flush()
    with pytest.raises(TooLarge):
        decompress(bomb, "gzip", 8 << 20)


@pytest.mark.parametrize(
    "body",
    [b"no gzip", COMPRESSED["gzip"][:-9], COMPRESSED["gzip"][:20]],
    # gzip writes the time into its bytes: as names they would differ between the processes of one run
    ids=["no gzip", "without its end", "without most of it"],
)
def test_damaged_gzip_is_a_bad_body(body):
    with pytest.raises(BadBody, match="gzip"):
        decompress(body, "gzip", 1 << 20)


def test_damaged_zstd_is_a_bad_body():
    with pytest.raises(BadBody, match="zstd"):
        decompress(b"no zstd at all", "zstd", 1 << 20)


def test_other_encodings_are_unknown():
    with pytest.raises(UnknownEncoding):
        decompress(BODY, "br", 1 << 20)
