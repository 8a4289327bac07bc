"""The command script/demo: the devices that it starts and the words with which it greets."""

import demo
import pytest
from server import Product

ACCESS = {"enrollment_key": "key-1", "admin_token": "token-1"}
LOGINS = [
    {"role": "engineer", "username": "ines", "password": "one"},
    {"role": "release manager", "username": "ravi", "password": "two"},
    {"role": "administrator", "username": "ada", "password": "three"},
]


@pytest.fixture
def programs(state):
    product = Product("http://127.0.0.1:1", {"DATABASE_URL": "postgres://h/d"}, state, supervisor=None, listener=None)
    return {program.name: program for program in demo.fleet(product, state.demo / "models", ACCESS)}


def test_the_fleet_is_one_simulator_and_a_few_agents_with_a_real_model(programs):
    assert set(programs) == {"simulated fleet", "agent digits-01", "agent digits-02", "agent digits-03"}


def test_every_device_side_program_knows_where_to_push_and_how_to_enrol(programs):
    for program in programs.values():
        assert "http://127.0.0.1:1" in program.command
        assert program.env["RIDGELINE_ENROLLMENT_KEY"] == "key-1"


def test_agents_keep_their_identity_apart_from_each_other(programs):
    folders = [
        program.command[program.command.index("--state-dir") + 1]
        for name, program in programs.items()
        if "agent" in name
    ]
    assert len(set(folders)) == demo.AGENTS


def test_the_greeting_has_the_address_and_every_login():
    greeting = demo.welcome("http://127.0.0.1:8000", LOGINS)
    assert "http://127.0.0.1:8000" in greeting
    for login in LOGINS:
        assert login["role"] in greeting and f"{login['username']} / {login['password']}" in greeting
