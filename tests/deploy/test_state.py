"""The state folder: secrets made once, readable by their owner alone, and an env file that a shell can source."""

import os
import re
import socket
import stat
import subprocess

from provisioning.state import State, free_port, write_private


def test_secrets_are_made_once_and_kept(state):
    first = state.secrets()
    state.write_env({"REDIS_URL": "redis://127.0.0.1/0"})
    assert State(state.folder).secrets() == first


def test_a_pepper_has_a_version_and_256_bits(state):
    assert re.fullmatch(r"1:[0-9a-f]{64}", state.secrets()["RIDGELINE_TOKEN_PEPPERS"])


def test_the_env_file_is_readable_by_its_owner_alone(state):
    state.write_env({})
    assert stat.S_IMODE(state.env_file.stat().st_mode) == 0o600


def test_a_shell_reads_from_the_env_file_what_was_written(state):
    written = {"DATABASE_URL": "postgres://ridgeline:a-b_c@127.0.0.1:5432/ridgeline"}
    state.write_env(written)
    shell = subprocess.run(
        ["sh", "-c", 'set -a; . "$0"; env', state.env_file], capture_output=True, text=True, env={"PATH": os.defpath}
    )
    seen = dict(line.split("=", 1) for line in shell.stdout.splitlines() if "=" in line)
    assert {name: seen.get(name) for name in state.read_env()} == state.read_env()


def test_an_address_that_changes_leaves_the_secrets_alone(state):
    state.write_env({"REDIS_URL": "redis://127.0.0.1:1/0"})
    before = state.secrets()
    state.write_env({"REDIS_URL": "redis://127.0.0.1:2/0"})
    assert state.read_env() == {**before, "REDIS_URL": "redis://127.0.0.1:2/0"}


def test_a_private_file_that_was_half_written_is_replaced(tmp_path):
    (tmp_path / "secret.partial").write_text("half")
    write_private(tmp_path / "secret", "whole")
    assert (tmp_path / "secret").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_the_preferred_port_is_taken_when_it_is_free_and_another_when_it_is_not():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        taken = holder.getsockname()[1]
        assert free_port(taken) != taken
    assert free_port(taken) == taken
