"""The command script/demo: the product with an example fleet that lives, simulated devices and real models."""

import argparse
import sys
from pathlib import Path

import environment
import server
from provisioning.console import run_step, say
from provisioning.state import State
from server import Product, last_json
from supervise import Program

AGENTS = 3


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="script/demo", description=__doc__)
    server.add_address_options(parser)
    options = parser.parse_args()
    return server.run_command(lambda: show(options.host, options.port))


def show(host: str, port: int | None) -> None:
    """Bring the product and its example fleet up, print the logins, and keep everything up until told to stop."""
    state = State.of_checkout()
    environment.prepare(state, "agent")
    models = build_models(state)
    with server.prepared(state, host, port, demo=True) as product:
        # Before the product starts: its tasks would compete for the processor with twelve days of history.
        example = last_json(product.manage("loading the example fleet and its history", "load_demo", "--json"))
        access = last_json(product.manage("issuing credentials", "bootstrap_access", "--json"))
        product.start()
        for program in fleet(product, models, access):
            product.supervisor.start(program)
        say("a fleet of simulated devices and real-model agents has begun to push")
        print(welcome(product.url, example["logins"]), flush=True)
        product.supervisor.watch()
        say("stopping …")


def build_models(state: State) -> Path:
    """Train and quantize the agents' small model; done once."""
    models = state.demo / "models"
    if not models.is_dir():
        partial = state.demo / "models.partial"
        command = [str(environment.PYTHON), "-m", "ridgeline_agent.build", "--out", str(partial)]
        run_step("training the sample agents' model and quantizing it", command, state.log / "agent.log")
        partial.rename(models)
    return models


def fleet(product: Product, models: Path, access: dict[str, str]) -> list[Program]:
    """The device side: one process that plays the example fleet, and one per real-model agent."""
    log = product.state.log
    env = {
        **product.env,
        "RIDGELINE_ENROLLMENT_KEY": access["enrollment_key"],
        "RIDGELINE_ADMIN_TOKEN": access["admin_token"],
    }
    memory = str(product.state.demo / "fleet")
    simulator = server.manage("simulate_fleet", "--demo", "--url", product.url, "--state-dir", memory)
    programs = [Program("simulated fleet", simulator, log / "fleet.log", env, wave=1)]
    for number in range(1, AGENTS + 1):
        serial = f"digits-{number:02d}"
        agent = [str(environment.PYTHON), "-m", "ridgeline_agent", "--server", product.url, "--serial", serial]
        agent += ["--enrollment-key", access["enrollment_key"], "--model-dir", str(models)]
        agent += ["--state-dir", str(product.state.demo / "agents" / serial)]
        programs.append(Program(f"agent {serial}", agent, log / "agent.log", env, wave=1))
    return programs


def welcome(url: str, logins: list[dict[str, str]]) -> str:
    """What the visitor needs to know."""
    width = max(len(login["role"]) for login in logins)
    rows = [f"  {login['role']:<{width}}  {login['username']} / {login['password']}" for login in logins]
    return "\n".join(
        [
            "",
            f"Ridgeline is at {url}",
            "",
            *rows,
            "",
            "A canary is under way whose release is worse on one hardware target; within five minutes the board",
            "recommends to roll it back there, while the other lanes go on. Ctrl-C stops everything.",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
