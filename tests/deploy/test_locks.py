"""The lock files: every file hashed, no host named, all three agreeing with each other."""

import re

import pytest

LOCKS = ["requirements.txt", "requirements-agent.txt", "requirements-dev.txt"]
REQUIREMENT = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.IGNORECASE)
# A host: a dotted name that ends in letters, such as a URL or an option could bring along.
HOST = re.compile(r"(?:[a-z][a-z0-9+]*://|--(?:index|extra-index|find-links|trusted)\S*)", re.IGNORECASE)


def blocks(text: str) -> list[str]:
    """The requirements of a lock with the lines that continue them, without comments."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return re.split(r"\n(?=\S)", "\n".join(lines))


def pins(text: str) -> set[str]:
    """Name, version and marker of each requirement."""
    return {block.split("\n", 1)[0].rstrip(" \\") for block in blocks(text)}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_and_has_hashes(checkout, lock):
    requirements = blocks((checkout / lock).read_text())
    assert len(requirements) > 20
    for requirement in requirements:
        assert REQUIREMENT.match(requirement), requirement
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", requirement), requirement


@pytest.mark.parametrize("lock", LOCKS + [lock.replace(".txt", ".in") for lock in LOCKS])
def test_no_host_is_named(checkout, lock):
    assert not HOST.search((checkout / lock).read_text())


def test_each_lock_holds_the_smaller_ones(checkout):
    runtime, agent, dev = (pins((checkout / lock).read_text()) for lock in LOCKS)
    assert runtime < agent < dev


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_that_was_asked_for_is_locked(checkout, lock):
    wanted = (checkout / lock.replace(".txt", ".in")).read_text().splitlines()
    names = {re.split(r"[\[<>=]", line)[0] for line in wanted if line and not line.startswith(("#", "-r"))}
    locked = {match[1] for block in blocks((checkout / lock).read_text()) if (match := REQUIREMENT.match(block))}
    assert names <= locked


def test_the_environments_order_of_locks_is_from_small_to_large(checkout):
    import environment

    assert list(environment.LOCKS.values()) == LOCKS
