"""Becoming a known device: enrolment with a key, the credentials file, rotation of the token."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone

from .backoff import next_wait_s, retry_after_s
from .transport import Transport, explain, send_json

ENROLL_PATH = "/api/v1/enroll"
ROTATE_PATH = "/api/v1/device/token"
# A fleet that is switched on at once is let in by and by; so many answers of "later" a device takes for that.
MOST_ATTEMPTS = 10


class EnrollmentRefused(RuntimeError):
    """The server did not enrol this device or renew its token; the message says why."""


@dataclass(frozen=True)
class Credentials:
    """What a device keeps: its serial, its token, and whether an operator must still approve it ("pending")."""

    device: str
    status: str
    token: str

    def save(self, path: str) -> None:
        """Write to a file that only its owner can read, in one step."""
        scratch = f"{path}.new"
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)

    @classmethod
    def load(cls, path: str) -> Credentials | None:
        """Credentials from a file; None when there is none."""
        try:
            with open(path, encoding="utf-8") as file:
                return cls(**json.load(file))
        except FileNotFoundError:
            return None


def enroll(
    transport: Transport,
    enrollment_key: str,
    serial: str,
    hardware_target: str,
    region: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    rng: random.Random | None = None,
) -> Credentials:
    """Trade an enrolment key for a device token; the server shows it once, so save it.

    Where the server asks to come later (429, 503), waits as Retry-After says, for MOST_ATTEMPTS attempts in all.
    Raises EnrollmentRefused when it does not let the device in.
    """
    payload = {
        "enrollment_key": enrollment_key,
        "serial": serial,
        "hardware_target": hardware_target,
        "region": region,
    }
    for attempt in range(1, MOST_ATTEMPTS + 1):
        response = send_json(transport, "POST", ENROLL_PATH, payload)
        if response.status not in (429, 503) or attempt == MOST_ATTEMPTS:
            break
        asked = retry_after_s(response.headers.get("retry-after"), datetime.now(timezone.utc))
        sleep(next_wait_s(attempt, asked, rng or random.Random()))
    if response.status not in (200, 201):
        raise EnrollmentRefused(explain(response))
    answer = response.json()
    return Credentials(answer["device"], answer["status"], answer["token"])


def enroll_once(
    transport: Transport, path: str, enrollment_key: str, serial: str, hardware_target: str, region: str
) -> Credentials:
    """The credentials saved at `path` if they are this serial's, else those of a new enrolment, saved."""
    credentials = Credentials.load(path)
    if credentials is None or credentials.device != serial:
        credentials = enroll(transport, enrollment_key, serial, hardware_target, region)
        credentials.save(path)
    return credentials


def rotate(transport: Transport, credentials: Credentials) -> Credentials:
    """Fetch a new token; the old one stays valid beside it, so an answer lost on the way locks nobody out."""
    response = send_json(transport, "POST", ROTATE_PATH, {}, credentials.token)
    if response.status not in (200, 201):
        raise EnrollmentRefused(explain(response))
    return Credentials(credentials.device, credentials.status, response.json()["token"])
