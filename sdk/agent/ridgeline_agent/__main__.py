"""`python -m ridgeline_agent`: a device on this machine, with a real model, until it is interrupted."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

from ridgeline_sdk import Client, Device, ReleaseClient, Spool, Transport, TransportError, enroll, enroll_once

from .agent import Agent, ModelMissing, context
from .build import FLOAT32, WORKLOAD
from .digits import Camera
from .energy import NOMINAL_CORE_W, EnergyMeter

log = logging.getLogger("ridgeline.agent")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ridgeline_agent", description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--enrollment-key", required=True)
    parser.add_argument("--serial", required=True)
    parser.add_argument("--hardware-target", default="cpu-x86")
    parser.add_argument("--region", default="lab")
    parser.add_argument("--workload", default=WORKLOAD)
    parser.add_argument("--release", default=FLOAT32, help="what runs until the server wishes otherwise")
    parser.add_argument("--model-dir", required=True, help="where `python -m ridgeline_agent.build` put the models")
    parser.add_argument("--state-dir", help="spool, token and current release; MODEL_DIR/SERIAL by default")
    parser.add_argument("--rate", type=float, default=2.0, help="inferences per second")
    parser.add_argument("--poll", type=float, default=15.0, help="seconds between questions for the desired release")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between batches")
    parser.add_argument("--nominal-watts", type=float, default=NOMINAL_CORE_W, help="of one core, without RAPL")
    parser.add_argument("--seed", type=int, help="of the camera; drawn from the serial by default")
    return parser.parse_args()


def main() -> int:
    """Enrol, then infer, send and follow the desired release; 0 after an interruption, 2 when it cannot begin."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    state_dir = arguments.state_dir or os.path.join(arguments.model_dir, arguments.serial)
    os.makedirs(state_dir, exist_ok=True)
    identity = (arguments.enrollment_key, arguments.serial, arguments.hardware_target, arguments.region)
    token_file = os.path.join(state_dir, "credentials.json")
    transport = Transport(arguments.server)
    while not stop.is_set():
        try:
            credentials = enroll_once(transport, token_file, *identity)
            break
        except TransportError as error:
            log.warning("the server does not answer, next attempt in 5 s: %s", error)
            stop.wait(5.0)
    if stop.is_set():
        return 0

    spool = Spool(os.path.join(state_dir, "spool.db"))
    device = Device(spool, context(arguments.workload, arguments.release, arguments.hardware_target))
    seed = arguments.seed if arguments.seed is not None else list(arguments.serial.encode())
    try:
        agent = Agent(
            device,
            Camera(np.random.default_rng(seed)),
            EnergyMeter(time.perf_counter(), arguments.nominal_watts),
            arguments.model_dir,
            os.path.join(state_dir, "release"),
            arguments.release,
        )
    except ModelMissing as error:
        log.error("%s", error)
        return 2
    releases = ReleaseClient(Transport(arguments.server), credentials.token, arguments.server)

    def renew() -> str:
        renewed = enroll(Transport(arguments.server), *identity)
        renewed.save(token_file)
        releases.token = renewed.token
        return renewed.token

    client = Client(
        device, transport, credentials.token, interval_s=arguments.interval, on_unauthorized=lambda: _or_none(renew)
    )
    threads = [
        threading.Thread(target=client.run, args=(stop,)),
        threading.Thread(target=_follow, args=(agent, releases, arguments.poll, stop)),
    ]
    for thread in threads:
        thread.start()
    log.info("%s runs %s %s", arguments.serial, arguments.workload, agent.release)
    while not (stop.is_set() or client.stopped):
        agent.infer_once()
        stop.wait(1.0 / arguments.rate)
    stop.set()
    for thread in threads:
        thread.join()
    client.drain(timeout_s=5.0)
    spool.close()
    return 0


def _follow(agent: Agent, releases: ReleaseClient, every_s: float, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            if agent.follow(releases):
                log.info("now on release %s", agent.release)
        except OSError:
            # A model directory that cannot be written must not end the polling for ever.
            log.exception("the desired release could not be followed")
        stop.wait(every_s)


def _or_none(renew: Callable[[], str]) -> str | None:
    try:
        return renew()
    except (RuntimeError, TransportError) as error:
        log.error("the token is refused and enrolment too: %s", error)
        return None


if __name__ == "__main__":
    sys.exit(main())
