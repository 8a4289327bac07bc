"""Replaying evidence: the same verdict again from the frozen inputs alone, whatever has arrived since."""

import json
from dataclasses import dataclass, replace
from typing import Any

from drift.services import looks
from drift.stats.canonical import canonical_json
from rollouts import policy
from rollouts.models import Evidence
from rollouts.policy import LaneFacts
from rollouts.services.documents import code_version, sha256_of


@dataclass(frozen=True)
class Replay:
    """What a replay found. `differences` is empty where everything came out the same."""

    evidence: Evidence
    recorded: dict[str, Any]
    recomputed: dict[str, Any]
    differences: tuple[str, ...]
    same_code: bool

    @property
    def agrees(self) -> bool:
        """Whether hash, figures and decision are those on record."""
        return not self.differences


def replay(evidence: Evidence) -> Replay:
    """Check the hash, recompute the look and the decision from the document, and compare. Reads nothing else."""
    document = json.loads(evidence.body)
    differences = []
    if sha256_of(evidence.body) != evidence.sha256:
        differences.append("the document does not have the hash under which it is kept")
    if evidence.kind != Evidence.Kind.RECOMMENDATION:
        return Replay(evidence, {}, {}, tuple(differences), document["code_version"] == code_version())
    facts = LaneFacts.from_dict(document["facts"])
    if document["look_inputs"] is not None:
        recomputed = _lane(looks.replay(document["look_inputs"]).to_dict(), facts.hardware_target)
        if canonical_json(recomputed) != canonical_json(facts.look):
            differences.append(_difference(facts.look, recomputed))
        facts = replace(facts, look=recomputed)
    decision = policy.failed_evaluation(facts) if facts.look_error else policy.decide(facts)
    recorded, found = document["decision"], decision.to_dict()
    if canonical_json(recorded) != canonical_json(found):
        differences.append(
            f"the decision was {recorded['recommendation']} ({recorded['reason']}) and comes out as "
            f"{found['recommendation']} ({found['reason']})"
        )
    return Replay(evidence, recorded, found, tuple(differences), document["code_version"] == code_version())


def _lane(result: dict[str, Any], hardware_target: str) -> dict[str, Any] | None:
    lane = next((row for row in result["lanes"] if row["hardware_target"] == hardware_target), None)
    # As the document holds it: tuples are lists, and numbers have gone through JSON.
    return json.loads(canonical_json(lane))


def _difference(recorded: Any, recomputed: Any) -> str:
    before = {} if recorded is None else recorded
    after = {} if recomputed is None else recomputed
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return f"the look's {', '.join(names)} come out otherwise"
