"""The two servers in containers, for machines with a container engine and nothing else."""

import hashlib
import re
import secrets
import subprocess

from provisioning.console import run_step
from provisioning.state import CHECKOUT, State, free_port

FILE = CHECKOUT / "deploy" / "compose.yaml"
SERVICES = ["database", "redis"]

# Compose wants every variable of the file to be set, even for services that are not started.
_UNREAD = dict.fromkeys(
    ["DATABASE_PASSWORD", "REDIS_PASSWORD", "DJANGO_SECRET_KEY", "RIDGELINE_TOKEN_PEPPERS"], "unread"
)


def up(state: State, known: dict[str, str]) -> dict[str, str] | None:
    """Start the compose file's database and Redis on free loopback ports.

    Returns their URLs by variable; None when no container engine answers.
    """
    if not _engine_answers():
        return None
    database_password, database_port = _known(
        known, "DATABASE_URL", r"postgres://ridgeline:([^@]+)@127\.0\.0\.1:(\d+)/.*"
    )
    redis_password, redis_port = _known(known, "REDIS_URL", r"redis://:([^@]+)@127\.0\.0\.1:(\d+)/0")
    environment = {
        **_UNREAD,
        "DATABASE_PASSWORD": database_password,
        "DATABASE_PORT": database_port,
        "REDIS_PASSWORD": redis_password,
        "REDIS_PORT": redis_port,
    }
    command = [*_command(state), "up", "--detach", "--wait", *SERVICES]
    run_step("starting TimescaleDB and Redis in containers", command, state.log / "compose.log", environment)
    return {
        "DATABASE_URL": f"postgres://ridgeline:{database_password}@127.0.0.1:{database_port}/ridgeline",
        "REDIS_URL": f"redis://:{redis_password}@127.0.0.1:{redis_port}/0",
    }


def down(state: State) -> bool:
    """Stop the containers if this checkout started any; their data stay. Returns whether there were any."""
    log = state.log / "compose.log"
    if not log.exists() or not _engine_answers():
        return False
    run_step("stopping the containers", [*_command(state), "stop"], log, _UNREAD)
    return True


def _engine_answers() -> bool:
    """Whether a container engine with its compose command is there and runs."""
    try:
        for question in (["docker", "info"], ["docker", "compose", "version"]):
            if subprocess.run(question, capture_output=True, timeout=20).returncode != 0:
                return False
    except (OSError, subprocess.TimeoutExpired):
        return False
    return True


def _command(state: State) -> list[str]:
    # The project's name keeps two checkouts apart.
    name = hashlib.sha256(str(state.folder).encode()).hexdigest()[:12]
    return ["docker", "compose", "--file", str(FILE), "--project-name", f"ridgeline-{name}"]


def _known(known: dict[str, str], name: str, pattern: str) -> tuple[str, str]:
    match = re.fullmatch(pattern, known.get(name, ""))
    return (match[1], match[2]) if match else (secrets.token_urlsafe(24), str(free_port()))
