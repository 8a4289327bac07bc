"""Where server programs come from, the machine or a root folder under .local, and as whom they run."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from provisioning.console import CannotProvision
from provisioning.launch import MOUNT_POINT
from provisioning.state import State

LAUNCH = Path(__file__).with_name("launch.py")
# PostgreSQL refuses to run as root. Where no account suggests itself, an id that Debian gives to no account is used.
UNNAMED_ACCOUNT = 65432


@dataclass(frozen=True)
class Account:
    """The user and group that own the data and run the servers."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Programs:
    """A set of server programs: `root` is the folder they see as /, or None for the machine's own.

    `hidden` when their account cannot reach the checkout, in root's own home say; they see their data elsewhere then.
    """

    state: State
    account: Account
    root: Path | None = None
    hidden: bool = False

    @property
    def services(self) -> Path:
        """The folder, seen from outside, that holds the servers' data."""
        return self.root / "srv" / "ridgeline" if self.root else self.state.services

    def inside(self, path: Path) -> str:
        """The same path as the programs see it."""
        if self.root:
            return f"/{path.relative_to(self.root)}"
        return f"{MOUNT_POINT}/{path.relative_to(self.services)}" if self.hidden else str(path)

    def command(self, arguments: Sequence[str], *, bound: bool = True) -> list[str]:
        """The full command that runs `arguments` as the service account in the right root.

        A bound command is killed when this process is: an initdb left behind would write into the next one's folder.
        """
        launch = [sys.executable, str(LAUNCH), f"--uid={self.account.uid}", f"--gid={self.account.gid}"]
        if self.root:
            launch.append(f"--root={self.root}")
        if self.hidden:
            launch.append(f"--show={self.services}")
        if bound:
            launch.append("--bound")
        return [*launch, "--", *arguments]

    def run(self, arguments: Sequence[str], env: dict[str, str] | None = None) -> str:
        """Run a short command to its end and return what it printed; CannotProvision with its words when it fails."""
        result = subprocess.run(
            self.command(arguments), env=_environment(env), stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if result.returncode != 0:
            words = " ".join((result.stderr or result.stdout).split()) or f"exit status {result.returncode}"
            raise CannotProvision(f"{Path(arguments[0]).name} failed: {words}")
        return result.stdout

    def start(self, arguments: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a server that outlives this process, in a session of its own, so that Ctrl-C here does not reach it."""
        return subprocess.Popen(
            self.command(arguments, bound=False),
            env=_environment(None),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def reach_their_data(self) -> bool:
        """Whether the service account can enter the folder that holds the data."""
        self.services.mkdir(parents=True, exist_ok=True)
        self.services.chmod(0o755)
        probe = self.command(["/bin/sh", "-c", 'cd "$0"', self.inside(self.services)])
        return subprocess.run(probe, capture_output=True).returncode == 0

    def make_folder(self, folder: Path) -> None:
        """Make a folder that belongs to the service account alone, with the folders above it passable."""
        self.services.mkdir(parents=True, exist_ok=True)
        self.services.chmod(0o755)
        folder.mkdir(mode=0o700, exist_ok=True)
        self.give(folder)

    def give(self, path: Path) -> None:
        """Make the service account the owner of a file or folder."""
        if os.geteuid() == 0:
            os.chown(path, self.account.uid, self.account.gid)


def installed(state: State) -> Programs:
    """The machine's own programs, with data under .local/services."""
    if os.geteuid() != 0:
        return Programs(state, Account(os.geteuid(), os.getegid()))
    programs = Programs(state, _account_for_root(state))
    if programs.reach_their_data():
        return programs
    programs = replace(programs, hidden=True)
    if programs.reach_their_data():
        return programs
    raise CannotProvision(
        f"the account {programs.account.uid}, who would run the servers, cannot enter {state.folder}."
    )


def in_root(state: State, root: Path) -> Programs:
    """The programs of a Debian root, with data in /srv/ridgeline inside it."""
    if os.geteuid() == 0:
        return Programs(state, _account_for_root(state), root)
    programs = Programs(state, Account(os.geteuid(), os.getegid()), root)
    if subprocess.run(programs.command(["/bin/sh", "-c", ":"]), capture_output=True).returncode != 0:
        raise CannotProvision(
            "this kernel gives ordinary users no user namespaces, so the Debian root needs root or sudo."
        )
    return programs


def find(name: str) -> Path | None:
    """The program called `name` on PATH or in the system's sbin folders, where servers often are."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"]))
    return Path(found) if found else None


def _account_for_root(state: State) -> Account:
    """Who runs the servers when root asks: the owner of the existing data, of the checkout, or `postgres`."""
    data = [services / "postgres" / "data" for services in (state.services, state.root / "srv" / "ridgeline")]
    for path in [*filter(Path.is_dir, data), state.folder]:
        owner = path.stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        return Account(UNNAMED_ACCOUNT, UNNAMED_ACCOUNT)
    return Account(entry.pw_uid, entry.pw_gid)


def _environment(extra: dict[str, str] | None) -> dict[str, str]:
    """A small, known environment: the caller's PG* variables and locale must not steer the private servers."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "LC_ALL": "C.UTF-8", "HOME": "/", **(extra or {})}
