"""The `ridgeline` command as CI and shells use it: exit codes and what is printed."""

import io
import json
import subprocess
import sys

import pytest
from ridgeline_sdk.cli import main
from ridgeline_sdk.gate import read_gate

RELEASE = {"id": 12, "workload": "lane-assist", "version": "4.2.0"}


@pytest.fixture
def gate(server, tmp_path):
    """Runs `ridgeline gate` against a server whose gate answers `payload`; returns the exit code."""
    results = tmp_path / "results.json"
    results.write_text(json.dumps([{"hardware_target": "orin-nx-16", "mode": "nominal"}, {"mode": "stress"}]))
    server.routes["/api/v1/releases/12/qualifications"] = lambda handler, body: server.answer(handler, 201, {"id": 1})

    def run(status, payload, *extra):
        server.routes["/api/v1/releases/12/gate"] = lambda handler, body: server.answer(handler, status, payload)
        return main(
            ["--server", server.url, "gate", "--token", "t", "--release", "12", "--results", str(results), *extra]
        )

    return run


@pytest.mark.parametrize(
    ("status", "payload", "code"),
    [
        (200, {"verdict": "pass", "reasons": []}, 0),
        (200, {"verdict": "fail", "reasons": ["p95 latency 21.0 ms exceeds the budget of 20 ms"]}, 1),
        (200, {"verdict": "missing", "reasons": [{"message": "no stress run on hailo-8"}]}, 2),
        (200, {"verdict": "inconclusive"}, 2),
        (200, {}, 2),
        (200, ["pass"], 2),
        (403, {"detail": "scope missing"}, 2),
        (500, {}, 2),
    ],
)
def test_only_a_clear_pass_exits_with_zero(gate, status, payload, code):
    assert gate(status, payload) == code


def test_qualifications_are_submitted_together_before_the_gate_is_read_and_the_reason_is_printed(gate, server, capsys):
    gate(200, {"verdict": "fail", "reasons": ["energy +8 % against 4.1.0 on orin-nx-16"]})
    assert [(method, path) for method, path, _, _ in server.requests] == [
        ("POST", "/api/v1/releases/12/qualifications"),
        ("GET", "/api/v1/releases/12/gate"),
    ]
    assert [row["mode"] for row in json.loads(server.requests[0][3])] == ["nominal", "stress"]
    assert capsys.readouterr().out == "gate: fail\n  energy +8 % against 4.1.0 on orin-nx-16\n"


def test_a_qualification_that_is_not_taken_ends_without_a_verdict(gate, server, capsys):
    problem = {"detail": "bad input", "errors": [{"field": "mode", "message": "unknown"}]}
    server.routes["/api/v1/releases/12/qualifications"] = lambda handler, body: server.answer(handler, 422, problem)
    assert gate(200, {"verdict": "pass"}) == 2
    assert "not submitted\n  422 bad input mode: unknown" in capsys.readouterr().out


def test_one_hardware_target_can_be_judged_alone(gate, server):
    assert gate(200, {"verdict": "pass"}, "--hardware-target", "orin-nx-16") == 0
    assert server.requests[-1][1] == "/api/v1/releases/12/gate?hardware_target=orin-nx-16"


def test_a_release_is_found_by_workload_and_version(server):
    rows = {"results": [RELEASE, {**RELEASE, "id": 13, "version": "4.2.1"}]}
    server.routes["/api/v1/releases"] = lambda handler, body: server.answer(handler, 200, rows)
    server.routes["/api/v1/releases/12/gate"] = lambda handler, body: server.answer(handler, 200, {"verdict": "pass"})
    arguments = ["--server", server.url, "gate", "--token", "t", "--workload", "lane-assist", "--version"]
    assert main([*arguments, "4.2.0"]) == 0
    assert main([*arguments, "9.9.9"]) == 2


def test_a_server_that_is_away_is_no_verdict(capsys):
    assert main(["--server", "http://127.0.0.1:1", "gate", "--token", "t", "--release", "1"]) == 2
    assert "unreachable" in capsys.readouterr().out


def test_a_missing_address_or_token_is_told(monkeypatch, capsys):
    monkeypatch.delenv("RIDGELINE_SERVER", raising=False)
    monkeypatch.delenv("RIDGELINE_TOKEN", raising=False)
    assert main(["gate", "--release", "1"]) == 2
    assert main(["--server", "http://127.0.0.1:1", "gate", "--release", "1"]) == 2
    assert capsys.readouterr().err.count("is needed") == 2


def test_reasons_may_be_words_or_objects():
    answer = {"verdict": "fail", "reasons": ["a", {"message": "b"}, {"reason": "c"}]}
    assert read_gate(answer).reasons == ["a", "b", "c"]
    assert read_gate({"verdict": "pass", "reason": "all budgets kept"}).reasons == ["all budgets kept"]


def test_send_takes_lines_from_a_file_and_says_what_became_of_them(server, tmp_path, capsys):
    lines = [
        {"time": "2026-03-02T12:00:00.5Z", "latency_ms": 17.4, "confidence": 0.97},
        {"time": 1_772_452_801_000_000, "latency_ms": 18.0},
        {"latency_ms": 19.0},
    ]
    file = tmp_path / "inferences.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    arguments = ["--server", server.url, "send", "--token", "good", "--context", "release=4.1.0", str(file)]
    assert main(arguments) == 0
    assert [row["time"] for row in server.rows["inferences"][:2]] == [1_772_452_800_500_000, 1_772_452_801_000_000]
    assert server.envelopes()[0]["context"] == {"release": "4.1.0"}
    assert capsys.readouterr().out == "3 read, 0 unreadable, 0 rejected by the server, 0 dropped\n"


def test_send_names_the_lines_it_cannot_read_and_sends_the_rest(server, monkeypatch, capsys):
    text = (
        '{"latency_ms": 1}\nnot json\n{"latency_ms": -1}\n{"confidence": 1}\n{"latency_ms": 2, "time": "2026-03-02"}\n'
    )
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert main(["--server", server.url, "send", "--token", "good", "-"]) == 1
    assert len(server.rows["inferences"]) == 1
    complaints = capsys.readouterr().err
    assert [complaints.count(f"line {n}:") for n in range(1, 6)] == [0, 1, 1, 1, 1]


def test_send_without_a_server_keeps_everything_in_the_spool(tmp_path, server, capsys):
    file = tmp_path / "inferences.jsonl"
    file.write_text('{"latency_ms": 1}\n')
    spool = ["--spool", str(tmp_path / "spool.db")]
    away = ["--server", "http://127.0.0.1:1", "send", "--token", "good", "--timeout", "0", *spool, str(file)]
    assert main(away) == 2
    file.write_text("")
    assert main(["--server", server.url, "send", "--token", "good", *spool, str(file)]) == 0
    assert len(server.rows["inferences"]) == 1


def test_enroll_saves_or_prints_the_token(server, tmp_path, capsys):
    answer = {"device": "cam-17", "status": "accepted", "token": "good"}
    server.routes["/api/v1/enroll"] = lambda handler, body: server.answer(handler, 201, answer)
    arguments = ["--server", server.url, "enroll", "--enrollment-key", "k", "--serial", "cam-17"]
    arguments += ["--hardware-target", "orin-nx-16", "--region", "eu-north"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == answer
    token_file = tmp_path / "token.json"
    assert main([*arguments, "--credentials", str(token_file)]) == 0
    assert json.loads(token_file.read_text()) == answer


def test_it_runs_as_a_module_with_the_standard_library_alone():
    """`-S -I` leaves site-packages and the environment out."""
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import ridgeline_sdk.cli as c; sys.exit(c.main(['--help']))"
    )
    root = __file__.rsplit("/tests/", 1)[0]
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, f"{root}/sdk"], capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert b"gate" in done.stdout
