"""Puts deploy/ on the path, as its commands do for themselves, and gives each test a state folder of its own."""

import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.append(str(CHECKOUT / "deploy"))


@pytest.fixture
def checkout() -> Path:
    """The top of the checkout."""
    return CHECKOUT


@pytest.fixture
def state(tmp_path):
    """An empty state folder."""
    from provisioning.state import State

    state = State(tmp_path / "local")
    state.prepare()
    return state
