"""What apt can do here: install packages, or unpack the few that the servers need into a Debian 13 root under .local.

The root is unpacked, not installed: apt resolves and fetches, dpkg-deb unpacks, no maintainer script runs. So it needs
neither privileges nor any package on the machine beyond apt and dpkg.
"""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

from provisioning.console import CannotProvision, run_step, say
from provisioning.state import State

SUITE = "trixie"
KEYRINGS = [
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
]
# What a root needs besides what the servers ask for themselves: a shell for initdb, the C locale, time zones.
SYSTEM = ["base-files", "dash", "libc-bin", "libc6", "tzdata"]
SERVERS = ["postgresql-17", "postgresql-17-timescaledb", "valkey-server"]
# What the servers never read, by far the most of it documentation and translations.
UNREAD = ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian"]
DEVICES = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9)}
NOT_INTERACTIVE = {"DEBIAN_FRONTEND": "noninteractive"}


def has_apt() -> bool:
    """Whether this machine has Debian's package tools."""
    return bool(shutil.which("apt-get") and shutil.which("dpkg-deb"))


def find_package(pattern: str) -> str | None:
    """The last package, in order of the first number in its name, that apt can install and whose whole name matches."""
    if not shutil.which("apt-cache"):
        return None
    names = subprocess.run(["apt-cache", "pkgnames"], capture_output=True, text=True).stdout.split()
    matching = [name for name in names if re.fullmatch(pattern, name)]
    return max(matching, key=lambda name: [int(number) for number in re.findall(r"\d+", name)], default=None)


def refresh(state: State) -> None:
    """Bring apt's lists up to date; a fresh container has none."""
    run_step("refreshing apt's package lists", ["apt-get", "update"], state.log / "apt.log", NOT_INTERACTIVE)


def install(state: State, packages: list[str]) -> None:
    """Install system packages with apt; CannotProvision names them when that needs rights we do not have."""
    if os.geteuid() != 0:
        raise CannotProvision(
            f"installing {' and '.join(packages)} needs root: run `sudo apt-get install {' '.join(packages)}`."
        )
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    run_step(f"installing {', '.join(packages)}", command, state.log / "apt.log", NOT_INTERACTIVE)


def build_root(state: State) -> Path:
    """The Debian root with PostgreSQL, TimescaleDB and Valkey, built when it is not there.

    It is built beside its place and moved there when whole, so a root that exists is never half a root.
    """
    if state.root.is_dir():
        return state.root
    mirror, keyring = _mirror(state), _keyring()
    workshop, partial = state.folder / "root.workshop", state.folder / "root.partial"
    for leftover in (workshop, partial):
        _remove(leftover)
    packages = _download(state, workshop, mirror, keyring)
    say(f"unpacking {len(packages)} packages …")
    partial.mkdir()
    # base-files first: it brings the links /bin -> usr/bin that the others are unpacked through.
    for package in sorted(packages, key=lambda path: not path.name.startswith("base-files_")):
        _unpack(package, partial)
    _furnish(partial)
    partial.rename(state.root)
    _remove(workshop)
    return state.root


def enter_account(root: Path, uid: int, gid: int) -> None:
    """Give the service account a name inside the root; initdb will not run for a user without one."""
    (root / "etc" / "passwd").write_text(f"root:x:0:0::/:/bin/sh\npostgres:x:{uid}:{gid}::/srv/ridgeline:/bin/sh\n")
    (root / "etc" / "group").write_text(f"root:x:0:\npostgres:x:{gid}:\n")


def _mirror(state: State) -> str:
    found = _debian_site()
    if found is None and os.geteuid() == 0:
        refresh(state)
        found = _debian_site()
    if found is None:
        raise CannotProvision("apt on this machine names no Debian mirror from which a Debian 13 root could be built.")
    return found


def _debian_site() -> str | None:
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(SITE)", "Created-By: Packages"]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    rows = (line.split("|", 3) for line in lines)
    return next(
        (site for origin, label, component, site in rows if (origin, label, component) == ("Debian", "Debian", "main")),
        None,
    )


def _keyring() -> Path:
    for keyring in KEYRINGS:
        if keyring.exists():
            return keyring
    raise CannotProvision("the package debian-archive-keyring, which vouches for Debian's packages, is not installed.")


def _download(state: State, workshop: Path, mirror: str, keyring: Path) -> list[Path]:
    """Have apt resolve and fetch the servers and all they depend on, with lists and a cache of its own."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (workshop / folder).mkdir(parents=True)
    (workshop / "status").touch()
    sources = workshop / "debian.sources"
    sources.write_text(f"Types: deb\nURIs: {mirror}\nSuites: {SUITE}\nComponents: main\nSigned-By: {keyring}\n")
    options = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "-",
        "Dir::State": workshop,
        "Dir::State::lists": workshop / "lists",
        "Dir::State::status": workshop / "status",
        "Dir::Cache": workshop / "cache",
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "1",
    }
    apt = ["apt-get", *(f"-o{name}={value}" for name, value in options.items()), "--yes", "--no-install-recommends"]
    log = state.log / "apt.log"
    run_step("reading Debian 13's package lists", [*apt, "update"], log)
    run_step(
        "fetching PostgreSQL 17 with TimescaleDB and Valkey (100 MB)",
        [*apt, "--download-only", "install", *SYSTEM, *SERVERS],
        log,
    )
    return list((workshop / "cache" / "archives").glob("*.deb"))


def _unpack(package: Path, root: Path) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as unpacker:
        assert unpacker.stdout is not None
        # Owners stay ours and links such as /bin stay links; both are what the tar program cannot do for everyone.
        extract = ["tar", "--extract", "--no-same-owner", "--keep-directory-symlink", "--file=-", f"--directory={root}"]
        extract += [f"--exclude=./{folder}/*" for folder in UNREAD]
        status = subprocess.run(extract, stdin=unpacker.stdout).returncode
    if status != 0 or unpacker.returncode != 0:
        raise CannotProvision(f"unpacking {package.name} failed; is the disk full?")


def _furnish(root: Path) -> None:
    """Put in what an installation would have made: /tmp, the devices, the place for the servers' data."""
    for folder in ("dev", "tmp", "proc", "etc", "srv/ridgeline"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    if os.geteuid() != 0:
        return  # an ordinary user's servers see the machine's own /dev, in a mount namespace
    for name, (major, minor) in DEVICES.items():
        os.mknod(root / "dev" / name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
        (root / "dev" / name).chmod(0o666)


def _remove(folder: Path) -> None:
    if folder.exists():
        subprocess.run(["chmod", "-R", "u+rwX", folder], check=False)
        shutil.rmtree(folder)
