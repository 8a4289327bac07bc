"""The version of the code that a stored result was computed with."""

from functools import cache
from hashlib import sha256
from pathlib import Path


@cache
def code_version() -> str:
    """SHA-256 over the sources of drift/stats, first 16 digits: it changes exactly when a verdict could."""
    digest = sha256()
    for path in sorted((Path(__file__).parent / "stats").rglob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
