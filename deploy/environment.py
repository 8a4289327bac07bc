"""The virtual environment: made when missing or broken, filled from a lock file with every hash checked."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys

from provisioning import debian
from provisioning.console import CannotProvision, run_step
from provisioning.programs import find
from provisioning.state import CHECKOUT, State

FOLDER = CHECKOUT / ".venv"
PYTHON = FOLDER / "bin" / "python"
INSTALLED = FOLDER / "ridgeline-locks"
# Each lock holds what the ones before it hold, in the same versions.
LOCKS = {"runtime": "requirements.txt", "agent": "requirements-agent.txt", "dev": "requirements-dev.txt"}
# The device side is not a dependency but part of the checkout; a path file makes it importable without a build.
SOURCES = [CHECKOUT / "sdk", CHECKOUT / "sdk" / "agent"]
CHROMIUM = ["chromium", "chromium-browser", "google-chrome"]


def prepare(state: State, kind: str = "runtime") -> None:
    """Make the environment fit for `kind`: runtime, agent (the demo's real models) or dev (tests and their browser)."""
    state.prepare()
    if not _is_whole():
        _make(state)
    wanted = _digest(kind)
    if wanted not in _installed():
        lock = CHECKOUT / LOCKS[kind]
        command = [str(PYTHON), "-m", "pip", "install", "--require-hashes", "--requirement", str(lock)]
        quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
        run_step(f"installing the dependencies of {lock.name}", command, state.log / "pip.log", quiet)
        smaller = list(LOCKS)[: list(LOCKS).index(kind) + 1]
        INSTALLED.write_text("".join(f"{_digest(each)}\n" for each in smaller))
    _link_sources()
    if kind == "dev" and not any(map(find, CHROMIUM)):
        _install_chromium(state)


def _is_whole() -> bool:
    """Whether the environment runs, has pip, and was made where it lies: its programs hold absolute paths."""
    pip = FOLDER / "bin" / "pip"
    if not PYTHON.exists() or not pip.exists():
        return False
    shebang = pip.read_bytes()[:1000].decode(errors="replace")
    if f"{FOLDER}/bin/python" not in shebang:
        return False
    check = [str(PYTHON), "-c", "import sys, pip; sys.exit(sys.version_info < (3, 11))"]
    return subprocess.run(check, capture_output=True).returncode == 0


def _make(state: State) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        version = f"python3.{sys.version_info.minor}-venv"
        if not debian.has_apt() or os.geteuid() != 0:
            raise CannotProvision(f"This Python cannot make virtual environments: install the package {version}.")
        debian.refresh(state)
        debian.install(state, [version])
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
    run_step("making the virtual environment", [sys.executable, "-m", "venv", str(FOLDER)], state.log / "pip.log")


def _digest(kind: str) -> str:
    return f"{LOCKS[kind]} {hashlib.sha256((CHECKOUT / LOCKS[kind]).read_bytes()).hexdigest()}"


def _installed() -> list[str]:
    return INSTALLED.read_text().splitlines() if INSTALLED.exists() else []


def _link_sources() -> None:
    packages = next(FOLDER.glob("lib/python3*/site-packages"))
    lines = "".join(f"{source}\n" for source in SOURCES)
    link = packages / "ridgeline.pth"
    if not link.exists() or link.read_text() != lines:
        link.write_text(lines)


def _install_chromium(state: State) -> None:
    if not debian.has_apt():
        raise CannotProvision("The browser tests need Chromium: install it, so that `chromium` can be found.")
    if debian.find_package("chromium") is None and os.geteuid() == 0:
        debian.refresh(state)
    debian.install(state, ["chromium"])
