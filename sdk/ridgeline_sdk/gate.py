"""The device-CI gate from the outside: submit hardware-in-the-loop results, get a verdict with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from .transport import Transport, TransportError, explain, send_json

PASS, FAIL, UNDECIDED = 0, 1, 2


@dataclass(frozen=True)
class GateResult:
    """What CI needs: an exit code (0 pass, 1 fail, 2 no verdict), the verdict's word, and the reasons."""

    exit_code: int
    verdict: str
    reasons: list[str] = field(default_factory=list)


def find_release(transport: Transport, token: str, workload: str, version: str) -> str:
    """Id of a release; LookupError when there is not exactly one."""
    path = f"/api/v1/releases?workload={quote(workload)}&version={quote(version)}"
    response = send_json(transport, "GET", path, token=token)
    if response.status != 200:
        raise LookupError(explain(response))
    answer = response.json()
    rows = answer if isinstance(answer, list) else answer.get("results", [])
    # A server that ignores a filter must not make us judge another release.
    found = [row for row in rows if row.get("version") == version and row.get("workload") == workload]
    if len(found) != 1:
        raise LookupError(f"{len(found)} releases are {workload} {version}")
    return str(found[0]["id"])


def submit_and_judge(
    transport: Transport,
    token: str,
    release_id: str,
    qualifications: list[dict[str, Any]],
    hardware_target: str | None = None,
) -> GateResult:
    """Post the qualifications, all or none, then read the gate, of one hardware target or of all.

    Whatever is not a clear pass is not a pass.
    """
    base = f"/api/v1/releases/{quote(release_id)}"
    selected = f"?hardware_target={quote(hardware_target)}" if hardware_target else ""
    try:
        if qualifications:
            response = send_json(transport, "POST", f"{base}/qualifications", qualifications, token)
            if response.status not in (200, 201):
                return GateResult(UNDECIDED, "not submitted", [explain(response)])
        response = send_json(transport, "GET", f"{base}/gate{selected}", token=token)
    except TransportError as error:
        return GateResult(UNDECIDED, "unreachable", [str(error)])
    if response.status != 200:
        return GateResult(UNDECIDED, "no verdict", [explain(response)])
    try:
        return read_gate(response.json())
    except (ValueError, AttributeError, TypeError) as error:
        return GateResult(UNDECIDED, "no verdict", [f"the answer cannot be read: {error}"])


def read_gate(answer: dict[str, Any]) -> GateResult:
    """Exit code and reasons from the JSON of the gate endpoint."""
    verdict = str(answer.get("verdict", "missing"))
    reasons = [item if isinstance(item, str) else _sentence(item) for item in answer.get("reasons") or []]
    if not reasons and answer.get("reason"):
        reasons = [str(answer["reason"])]
    exit_code = {"pass": PASS, "fail": FAIL}.get(verdict, UNDECIDED)
    return GateResult(exit_code, verdict, reasons)


def _sentence(item: dict[str, Any]) -> str:
    return str(item.get("message") or item.get("reason") or item)
