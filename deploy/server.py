"""The command script/server: the whole product on this machine, until SIGTERM or Ctrl-C."""

import argparse
import json
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import environment
from provisioning import interruption, ways
from provisioning.console import CannotProvision, run_for_output, run_step, say
from provisioning.sharing import Use
from provisioning.state import CHECKOUT, State
from supervise import Program, Supervisor, end_leftovers

USUAL_PORT = 8000
READY_SECONDS = 90
WEB, WORKER, BEAT = "web server", "task worker", "task scheduler"
# The files that a page may load; their digest says whether they have to be collected again.
STATIC_SOURCES = ["static", "requirements.txt"]


@dataclass(frozen=True)
class Product:
    """A product whose servers are up and whose schema is current: where it will answer, and what runs it."""

    url: str
    env: dict[str, str]
    state: State
    supervisor: Supervisor
    listener: socket.socket

    def manage(self, title: str, *arguments: str) -> str:
        """Run a management command in the product's environment and return what it printed."""
        return run_for_output(title, manage(*arguments), self.state.log / "manage.log", self.env)

    def start(self) -> None:
        """Start its processes and wait until it answers."""
        for program in programs(self):
            interruption.check()
            self.supervisor.start(program)
        wait_until_ready(self.url, self.supervisor)


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="script/server", description=__doc__)
    add_address_options(parser)
    parser.add_argument("--json", action="store_true", help="when ready, print one line of JSON: url and credentials")
    options = parser.parse_args()
    return run_command(lambda: serve(options.host, options.port, as_json=options.json))


def add_address_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where the product listens."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for every one (%(default)s)")
    parser.add_argument("--port", type=int, help=f"port to listen on; 0 for any free one ({USUAL_PORT}, if it is free)")


def run_command(command: Callable[[], None]) -> int:
    """Run a command's body with signals noted and the reasons for a failure told in one sentence."""
    interruption.watch()
    try:
        command()
    except (CannotProvision, ways.Unusable) as reason:
        say(str(reason))
        return 1
    return 0


def serve(host: str, port: int | None, *, as_json: bool) -> None:
    """Bring the product up, say so, and keep it up until told to stop."""
    state = State.of_checkout()
    environment.prepare(state)
    with prepared(state, host, port) as product:
        line = {"url": product.url}
        if as_json:
            access = last_json(product.manage("issuing credentials", "bootstrap_access", "--json"))
            line |= {name: access[name] for name in ("admin_token", "enrollment_key")}
        product.start()
        if as_json:
            print(json.dumps(line), flush=True)
        say(f"Ridgeline is at {product.url} (logs in {state.log}); Ctrl-C stops it")
        product.supervisor.watch()
        say("stopping …")


@contextmanager
def prepared(state: State, host: str, port: int | None, *, demo: bool = False) -> Iterator[Product]:
    """A product ready to start, for the length of a `with` block; everything that it started is stopped at the end.

    Raises CannotProvision when it cannot be made ready. The demo has a database of its own.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(listen(host, port))
        state.run.mkdir(parents=True, exist_ok=True)
        end_leftovers(state.run)
        outcome = stack.enter_context(Use(state))
        supervisor = Supervisor(state.run / f"product-{os.getpid()}")
        stack.callback(supervisor.stop)
        address, bound_port = listener.getsockname()[:2]
        url = f"http://{'127.0.0.1' if address in ('0.0.0.0', '::') else address}:{bound_port}"
        env = {**variables(state, outcome, demo=demo), "RIDGELINE_URL": url}
        interruption.check()
        with state.locked():  # two products that start at once would both migrate
            run_step("bringing the database up to date", manage("migrate", "--noinput"), state.log / "manage.log", env)
            collect_static(state, env)
        yield Product(url, env, state, supervisor, listener)


def last_json(output: str) -> dict[str, Any]:
    """The object on the last line of a command's output."""
    try:
        return json.loads(output.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise CannotProvision(f"A management command printed no JSON but: {output.strip()[-200:]}") from None


def listen(host: str, port: int | None) -> socket.socket:
    """The web server's socket, opened here so that connections wait in it, unrefused, while the web server restarts.

    Without a port the usual one is taken, or any other when somebody has it.
    """
    for candidate in [USUAL_PORT, 0] if port is None else [port]:
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            return listener
        except (OSError, OverflowError) as error:
            listener.close()
            reason = error
    raise CannotProvision(f"Nothing can listen on {host}:{port} ({reason}): choose another with --port, or 0 for any.")


def variables(state: State, outcome: ways.Outcome, *, demo: bool = False) -> dict[str, str]:
    """The environment variables of the product's processes; what the caller has set goes before the env file."""
    database_url, redis_url = outcome.database_url, outcome.redis_url
    extra = {"RIDGELINE_DEMO_DIR": str(state.demo)} if demo else {}
    if demo and "DATABASE_URL" in outcome.private:
        database_url = f"{database_url}_demo"
        extra["RIDGELINE_ARTIFACT_DIR"] = str(state.demo / "artifacts")
    if demo and "REDIS_URL" in outcome.private:
        redis_url = f"{redis_url.removesuffix('/0')}/1"
    kept = {**state.secrets(), **os.environ}
    # Logs are read while they are written.
    own = {"RIDGELINE_STATIC_MANIFEST": "true", "PYTHONUNBUFFERED": "1", **extra}
    return {**kept, **own, "DATABASE_URL": database_url, "REDIS_URL": redis_url}


def manage(*arguments: str) -> list[str]:
    """The command line of a management command."""
    return [str(environment.PYTHON), str(CHECKOUT / "manage.py"), *arguments]


def collect_static(state: State, env: dict[str, str]) -> None:
    """Gather, name by content and compress the static files, when they have changed."""
    marker = state.folder / "static-collected"
    digest = static_digest()
    if not marker.exists() or marker.read_text() != digest:
        run_step("collecting the static files", manage("collectstatic", "--noinput"), state.log / "manage.log", env)
        marker.write_text(digest)


def static_digest() -> str:
    """Names, sizes and times of the static files' sources."""
    files = [
        path for name in STATIC_SOURCES for path in [CHECKOUT / name, *(CHECKOUT / name).rglob("*")] if path.is_file()
    ]
    stats = ((path.relative_to(CHECKOUT), path.stat()) for path in sorted(files))
    return "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)


def programs(product: Product) -> list[Program]:
    """The three processes that are the product. The schedule's memory is the run's own: two schedulers would fight."""
    env, log, folder = product.env, product.state.log, product.supervisor.folder
    python = str(environment.PYTHON)
    celery = [python, "-m", "celery", "--app=config.celery", f"--workdir={CHECKOUT}"]
    gunicorn = [python, "-m", "gunicorn", f"--config={CHECKOUT / 'deploy' / 'gunicorn.conf.py'}", f"--chdir={CHECKOUT}"]
    workers = env.get("RIDGELINE_TASK_WORKERS", "2")
    worker = ["worker", f"--concurrency={workers}", "--loglevel=INFO", "--without-gossip", "--without-mingle"]
    beat = ["beat", f"--schedule={folder / 'schedule'}", "--pidfile=", "--loglevel=WARNING"]
    metrics = folder / "metrics"
    metrics.mkdir()
    web_env = {**env, "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
    descriptor = product.listener.fileno()
    return [
        Program(WEB, [*gunicorn, f"--bind=fd://{descriptor}"], log / "web.log", web_env, inherited=(descriptor,)),
        Program(WORKER, [*celery, *worker], log / "worker.log", env),
        Program(BEAT, [*celery, *beat], log / "beat.log", env),
    ]


def wait_until_ready(url: str, supervisor: Supervisor) -> None:
    """Wait until the log-in page is answered; CannotProvision with the web server's last words when it never is."""
    say("starting the web server, the task worker and the task scheduler …")
    deadline = time.monotonic() + READY_SECONDS
    answer = "nothing"
    while time.monotonic() < deadline:
        interruption.check()
        for name in (WEB, WORKER, BEAT):
            if supervisor.has_ended(name):
                raise CannotProvision(f"The {name} does not start; its last words:\n{supervisor.last_words(name)}")
        try:
            with urllib.request.urlopen(f"{url}/login/", timeout=5):
                return
        except urllib.error.HTTPError as error:
            answer = f"status {error.code}"
            if error.code < 500:
                return
        except OSError as error:
            answer = str(error)
        time.sleep(0.1)
    words = supervisor.last_words(WEB)
    raise CannotProvision(f"The web server was not ready after {READY_SECONDS} s ({answer}); its last words:\n{words}")


if __name__ == "__main__":
    sys.exit(main())
