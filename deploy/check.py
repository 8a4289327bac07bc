"""The command script/test: lint, import rules, migrations, then every test; or, with arguments, pytest with those."""

import fcntl
import os
import sys
import time

import environment
import server
from provisioning import interruption
from provisioning.console import run_in_view, say
from provisioning.sharing import Use
from provisioning.state import CHECKOUT, State

BIN = environment.FOLDER / "bin"
PYTEST = [str(environment.PYTHON), "-m", "pytest"]
REDIS_DATABASE = 15  # that of no product; private servers and most others have it
NO_TEST_RAN = 5


def main() -> int:
    """Run the command; returns 0 only when every step passed and tests ran."""
    failed: list[str] = []
    status = server.run_command(lambda: failed.extend(check(sys.argv[1:])))
    for title in failed:
        say(f"FAILED: {title}")
    if status == 0 and not failed:
        say("everything passed")
    return status or bool(failed)


def check(arguments: list[str]) -> list[str]:
    """Run every step, or pytest alone when it has arguments. Returns the titles of the steps that failed."""
    state = State.of_checkout()
    environment.prepare(state, "dev")
    with (state.folder / "test.lock").open("w") as lock, Use(state) as outcome:
        wait_for_turn(lock)
        database = {"TEST_DATABASE_NAME": "test_ridgeline_script"}
        redis = outcome.redis_url
        if "REDIS_URL" in outcome.private:
            redis = f"{redis.removesuffix('/0')}/{REDIS_DATABASE}"
        env = {**state.secrets(), **os.environ, **database, "DATABASE_URL": outcome.database_url, "REDIS_URL": redis}
        # Commands such as lint-imports are looked up here, and import the checkout.
        env |= {"PATH": f"{BIN}:{env.get('PATH', '')}", "PYTHONPATH": str(CHECKOUT)}
        os.chdir(CHECKOUT)
        failed = []
        for title, command in steps(arguments).items():
            interruption.check()
            started = time.monotonic()
            result = run_in_view(title, command, env)
            if result == NO_TEST_RAN and command[: len(PYTEST)] == PYTEST:
                say("no test ran, which proves nothing")
            if result != 0:
                failed.append(title)
            say(f"{title}: {'passed' if result == 0 else 'failed'} in {time.monotonic() - started:.0f} s")
        return failed


def steps(arguments: list[str]) -> dict[str, list[str]]:
    """The steps by title, in order; the quickest to fail first."""
    if arguments:
        return {"tests": [*PYTEST, "--create-db", *arguments]}
    manage = server.manage
    return {
        "lint": [str(BIN / "ruff"), "check", "--no-cache", "."],
        "import rules": [str(BIN / "lint-imports")],
        "migrations": manage("makemigrations", "--check", "--dry-run"),
        # A browser wants both cores to itself, or its waiting times run out.
        "tests": [*PYTEST, "--create-db", "-q", "-n", "2", "-m", "not browser"],
        "browser tests": [*PYTEST, "--create-db", "-q", "-m", "browser"],
    }


def wait_for_turn(lock) -> None:
    """Only one run at a time has the test databases of this checkout."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another script/test of this checkout …")
        while True:
            interruption.check()
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
