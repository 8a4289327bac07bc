"""Reads the reference values of tests/oracles."""

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parents[2] / "oracles"


def oracle(name: str) -> Any:
    """The content of one file of reference values."""
    return json.loads((_FOLDER / f"{name}.json").read_text())
