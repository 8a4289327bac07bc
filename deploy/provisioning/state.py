"""Where the set-up keeps its things: the folder .local, its lock, and the env file that the product reads."""

import fcntl
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
_LINE = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)$")


class State:
    """The folder in which one checkout keeps its database, its Redis, its logs and its secrets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env_file = folder / "env"
        self.log = folder / "log"
        self.root = folder / "root"
        self.services = folder / "services"
        self.run = folder / "run"
        self.demo = folder / "demo"

    @classmethod
    def of_checkout(cls) -> "State":
        """The state folder in use: RIDGELINE_LOCAL when set, else .local in the checkout."""
        return cls(Path(os.environ.get("RIDGELINE_LOCAL") or CHECKOUT / ".local").resolve())

    def prepare(self) -> None:
        """Make the folders; others may pass through them, as the service account must, but not list them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o711)
        self.log.mkdir(exist_ok=True)
        (self.folder / "static").mkdir(exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one provisioning run; a second run waits for the first."""
        self.prepare()
        with (self.folder / "lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def read_env(self) -> dict[str, str]:
        """The env file's variables; empty when there is no file yet."""
        if not self.env_file.exists():
            return {}
        matches = (_LINE.match(line) for line in self.env_file.read_text().splitlines())
        return {match[1]: match[2] for match in matches if match}

    def secrets(self) -> dict[str, str]:
        """The product's secrets besides its servers' passwords, kept in the env file."""
        if not self.env_file.exists():
            self.write_env({})
        known = self.read_env()
        return {name: known[name] for name in new_secrets()}

    def write_env(self, values: dict[str, str]) -> None:
        """Replace the env file in one step, readable by its owner only. Secrets that exist are kept."""
        merged = {**new_secrets(), **self.read_env(), **values}
        write_private(self.env_file, "".join(f"{name}={value}\n" for name, value in merged.items()))


def new_secrets() -> dict[str, str]:
    """Fresh values for the secrets that the product needs besides its two servers' passwords."""
    return {
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
        "RIDGELINE_TOKEN_PEPPERS": f"1:{secrets.token_hex(32)}",
    }


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    partial.replace(path)


def free_port(preferred: int | None = None) -> int:
    """A port on loopback that nobody listens on: the preferred one when it is still free."""
    for port in [preferred, 0] if preferred else [0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return probe.getsockname()[1]
    raise OSError("no free port on 127.0.0.1")


def answers(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True
