"""The ways to a TimescaleDB and a Redis, in the order in which they are tried; the first that works is taken."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from provisioning import compose, debian
from provisioning.console import CannotProvision, say
from provisioning.postgres import Postgres, has_timescaledb, major_version
from provisioning.programs import Programs, find, in_root, installed
from provisioning.redis import Redis
from provisioning.state import State, answers

TIMESCALEDB_PACKAGE = r"postgresql-\d+-timescaledb"
REDIS_PROGRAMS = ["valkey-server", "redis-server"]
ROOT_BINARIES = "/usr/lib/postgresql/17/bin"
Server = Postgres | Redis

NO_WAY = (
    "No {server} can be had here: set {variable} to a server that you have, install {package}, run this as root on "
    "Debian 13 or later so that apt can install it, use a machine whose apt names a Debian mirror, or start a "
    "container engine."
)
MISSING = {
    "DATABASE_URL": {"server": "TimescaleDB", "package": "PostgreSQL with the timescaledb extension"},
    "REDIS_URL": {"server": "Redis", "package": "redis-server or valkey-server"},
}


class Unusable(Exception):
    """Something made here before cannot be used; taking another way would hide its data."""


@dataclass(frozen=True)
class Outcome:
    """What stands after provisioning.

    `started` has the titles of the servers that this run started, `private` the variables whose server is this
    checkout's own: there every database and every Redis database is free to use.
    """

    database_url: str
    redis_url: str
    started: tuple[str, ...]
    private: frozenset[str]


def up(state: State) -> Outcome:
    """Bring both servers up and write the env file. Raises CannotProvision with one sentence when no way works.

    The env file holds the addresses of the servers made here; an address given by the caller stays the caller's.
    """
    with state.locked():
        known = state.read_env()
        urls = {name: url for name in WAYS if (url := _given(name, known))}
        made: dict[str, str] = {}
        private: set[str] = set()
        started: list[Server] = []
        try:
            for name in WAYS:
                if name in urls or name in made:
                    continue
                server = _first_that_works(WAYS[name], state)
                if server is not None:
                    made[name], fresh = server.up(known.get(name))
                    private.add(name)
                    started += [server] if fresh else []
                else:
                    made = {**_containers(name, state, known), **made}
        except BaseException:
            for server in started:  # one server without the other is of no use, and nobody would know of it
                server.stop()
            raise
        if any(known.get(name) != url for name, url in made.items()) or not state.env_file.exists():
            state.write_env(made)
        urls = {**made, **urls}
        titles = tuple(server.title for server in started)
        return Outcome(urls["DATABASE_URL"], urls["REDIS_URL"], titles, frozenset(private))


def down(state: State, titles: tuple[str, ...] | None = None) -> list[str]:
    """Stop the private servers, all or those with the given titles. Returns the titles of those that ran."""
    with state.locked():
        servers = [server for server in existing(state) if titles is None or server.title in titles]
        stopped = [server.title for server in servers if server.stop()]
        if titles is None and compose.down(state):
            stopped.append("the containers")
        return stopped


def existing(state: State) -> Iterator[Server]:
    """The private servers that were made here before, running or not."""
    for programs in _places(state):
        if (programs.services / "postgres" / "data").is_dir():
            yield Postgres(programs, _binaries_of(programs) or "")
        if (programs.services / "redis").is_dir():
            yield Redis(programs, _redis_program(programs) or "")


def _given(name: str, known: dict[str, str]) -> str | None:
    """Way 1: the caller's server. The private server's own address, read from the env file, does not count as given."""
    url = os.environ.get(name) or None
    if url is None or url == known.get(name):
        return None
    parts = urlsplit(url)
    if parts.hostname and not answers(parts.hostname, parts.port or {"DATABASE_URL": 5432}.get(name, 6379)):
        raise CannotProvision(f"{name} names {parts.hostname}:{parts.port or 'its usual port'}, where nothing answers.")
    return url


def _first_that_works(ways: Sequence[Callable[[State], Server | None]], state: State) -> Server | None:
    for way in ways:
        try:
            server = way(state)
        except CannotProvision as reason:
            say(str(reason))
            continue
        if server is not None:
            return server
    return None


def _containers(name: str, state: State, known: dict[str, str]) -> dict[str, str]:
    """Way 5: both servers from the compose file; way 6, when there is no engine, is a sentence."""
    urls = compose.up(state, known)
    if urls is None:
        raise CannotProvision(NO_WAY.format(variable=name, **MISSING[name]))
    return urls


def _made_before(state: State) -> Postgres | None:
    """A cluster that exists goes on with the programs that made it; another version could not read it."""
    for programs in _places(state):
        data = programs.services / "postgres" / "data"
        if not data.is_dir():
            continue
        binaries = _binaries_of(programs)
        if binaries is None:
            version = (data / "PG_VERSION").read_text().strip()
            needed = f"PostgreSQL {version} with timescaledb"
            raise Unusable(f"The cluster in {data} needs {needed}: install it, or remove that folder.")
        return Postgres(programs, binaries)
    return None


def _installed_postgres(state: State) -> Postgres | None:
    """Way 2: a PostgreSQL with the extension's files is on this machine."""
    folder = next((folder for folder in _installed_folders() if has_timescaledb(folder)), None)
    return Postgres(installed(state), str(folder)) if folder else None


def _postgres_from_apt(state: State) -> Postgres | None:
    """Way 3: apt has the extension's package."""
    if not debian.has_apt():
        return None
    if os.geteuid() == 0 and debian.find_package(r"postgresql-\d+") is None:
        debian.refresh(state)
    package = debian.find_package(TIMESCALEDB_PACKAGE)
    if package is None:
        return None
    installed(state)  # before anything is installed: could its account work here at all?
    debian.install(state, [package])
    return _installed_postgres(state)


def _postgres_from_root(state: State) -> Postgres | None:
    """Way 4: a Debian 13 root under .local."""
    return Postgres(_root(state), ROOT_BINARIES) if debian.has_apt() else None


def _redis_beside_postgres(state: State) -> Redis | None:
    """The root that PostgreSQL runs from has Valkey too."""
    return _redis_from_root(state) if (state.root / "srv/ridgeline/postgres/data").is_dir() else None


def _installed_redis(state: State) -> Redis | None:
    programs = installed(state)
    program = _redis_program(programs)
    return Redis(programs, program) if program else None


def _redis_from_apt(state: State) -> Redis | None:
    package = debian.find_package("valkey-server") or debian.find_package("redis-server")
    if package is None:
        return None
    debian.install(state, [package])
    return _installed_redis(state)


def _redis_from_root(state: State) -> Redis | None:
    return Redis(_root(state), "/usr/bin/valkey-server") if debian.has_apt() else None


def _root(state: State) -> Programs:
    root = debian.build_root(state)
    programs = in_root(state, root)
    debian.enter_account(root, programs.account.uid, programs.account.gid)
    return programs


def _places(state: State) -> list[Programs]:
    """Where servers may have been made before: beside the machine's own programs, and in the root."""
    places = [installed(state)] if state.services.is_dir() else []
    return places + ([in_root(state, state.root)] if state.root.is_dir() else [])


def _installed_folders() -> list[Path]:
    """Folders with the machine's own PostgreSQL programs, the newest version first."""
    folders = [
        *Path("/usr/lib/postgresql").glob("*/bin"),
        *Path("/usr").glob("pgsql-*/bin"),
        Path("/usr/local/pgsql/bin"),
    ]
    on_path = find("postgres")
    if on_path:
        folders.append(on_path.resolve().parent)
    complete = {
        folder for folder in folders if all((folder / name).exists() for name in ("initdb", "postgres", "psql"))
    }
    return sorted(complete, key=major_version, reverse=True)


def _binaries_of(programs: Programs) -> str | None:
    """The folder with the programs for an existing cluster's version."""
    if programs.root:
        return ROOT_BINARIES
    version = (programs.services / "postgres" / "data" / "PG_VERSION").read_text().strip()
    for folder in _installed_folders():
        if str(major_version(folder)) == version and has_timescaledb(folder):
            return str(folder)
    return None


def _redis_program(programs: Programs) -> str | None:
    if programs.root:
        return "/usr/bin/valkey-server"
    found = next((path for path in map(find, REDIS_PROGRAMS) if path), None)
    return str(found) if found else None


WAYS: dict[str, list[Callable[[State], Server | None]]] = {
    "DATABASE_URL": [_made_before, _installed_postgres, _postgres_from_apt, _postgres_from_root],
    "REDIS_URL": [_redis_beside_postgres, _installed_redis, _redis_from_apt, _redis_from_root],
}
