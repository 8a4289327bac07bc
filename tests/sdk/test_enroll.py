"""Enrolment, the credentials file, rotation."""

import json
import os
import random
import stat

import pytest
from ridgeline_sdk import Credentials, EnrollmentRefused, Transport, enroll, enroll_once, rotate

ANSWER = {"device": "cam-17", "status": "pending", "token": "rdl_abcdefgh_secret"}
IDENTITY = ("key", "cam-17", "orin-nx-16", "eu-north")


def test_a_key_is_traded_for_a_token(server):
    server.routes["/api/v1/enroll"] = lambda handler, body: server.answer(handler, 201, ANSWER)
    credentials = enroll(Transport(server.url), *IDENTITY)
    assert credentials == Credentials("cam-17", "pending", "rdl_abcdefgh_secret")
    assert json.loads(server.requests[0][3]) == {
        "enrollment_key": "key",
        "serial": "cam-17",
        "hardware_target": "orin-nx-16",
        "region": "eu-north",
    }


def test_a_refusal_says_why(server):
    problem = {"detail": "key expired", "errors": [{"field": "enrollment_key", "message": "is used up"}]}
    server.routes["/api/v1/enroll"] = lambda handler, body: server.answer(handler, 403, problem)
    with pytest.raises(EnrollmentRefused, match="403 key expired enrollment_key: is used up"):
        enroll(Transport(server.url), *IDENTITY)


def test_a_device_that_is_told_to_come_later_waits_as_long_as_it_is_told(server):
    answers = iter([(429, {"Retry-After": "7"}), (503, {"Retry-After": "2"}), (201, {})])

    def let_in(handler, body):
        status, headers = next(answers)
        server.answer(handler, status, ANSWER if status == 201 else {"detail": "later"}, headers)

    server.routes["/api/v1/enroll"] = let_in
    waits = []
    credentials = enroll(Transport(server.url), *IDENTITY, sleep=waits.append, rng=random.Random(1))
    assert credentials.token == ANSWER["token"]
    assert 7.0 <= waits[0] <= 7.0 * 1.25 and 2.0 <= waits[1] <= 2.0 * 1.25


def test_a_door_that_stays_shut_is_a_refusal(server):
    server.routes["/api/v1/enroll"] = lambda handler, body: server.answer(handler, 429, {"detail": "later"})
    waits = []
    with pytest.raises(EnrollmentRefused, match="429 later"):
        enroll(Transport(server.url), *IDENTITY, sleep=waits.append, rng=random.Random(1))
    assert len(waits) == len(server.requests) - 1 == 9


def test_a_saved_token_is_used_again_and_readable_by_its_owner_alone(server, tmp_path):
    path = str(tmp_path / "token.json")
    server.routes["/api/v1/enroll"] = lambda handler, body: server.answer(handler, 201, ANSWER)
    first = enroll_once(Transport(server.url), path, *IDENTITY)
    assert enroll_once(Transport(server.url), path, *IDENTITY) == first
    assert len(server.requests) == 1
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_another_serial_enrols_anew(server, tmp_path):
    path = str(tmp_path / "token.json")
    Credentials("cam-16", "accepted", "old").save(path)
    server.routes["/api/v1/enroll"] = lambda handler, body: server.answer(handler, 201, ANSWER)
    assert enroll_once(Transport(server.url), path, *IDENTITY).token == ANSWER["token"]


def test_rotation_presents_the_old_token_and_returns_the_new(server):
    server.routes["/api/v1/device/token"] = lambda handler, body: server.answer(handler, 201, {"token": "new"})
    renewed = rotate(Transport(server.url), Credentials("cam-17", "accepted", "old"))
    assert renewed == Credentials("cam-17", "accepted", "new")
    assert server.requests[0][2]["Authorization"] == "Bearer old"
