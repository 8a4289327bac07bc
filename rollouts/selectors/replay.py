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

# What a verdict is told in. A later version may word it otherwise, or report more beside it: the same verdict still.
WORDS = frozenset({"reason", "would_settle"})


@dataclass(frozen=True)
class Replay:
    """What a replay found. `differences` is empty where every figure and verdict on record came out the same.

    `reworded`: another version of the code tells the same in other words.
    """

    evidence: Evidence
    recorded: dict[str, Any]
    recomputed: dict[str, Any]
    differences: tuple[str, ...]
    same_code: bool
    reworded: bool = False

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
    same_code = document["code_version"] == code_version()
    reworded = False
    facts = LaneFacts.from_dict(document["facts"])
    if document["look_inputs"] is not None:
        recomputed = _lane(looks.replay(document["look_inputs"]).to_dict(), facts.hardware_target)
        if differs(facts.look, recomputed, exactly=same_code):
            differences.append(_difference(facts.look, recomputed, exactly=same_code))
        reworded = differs(facts.look, recomputed, exactly=True)
        facts = replace(facts, look=recomputed)
    decision = policy.failed_evaluation(facts) if facts.look_error else policy.decide(facts)
    recorded, found = document["decision"], json.loads(canonical_json(decision.to_dict()))
    if differs(recorded, found, exactly=same_code):
        differences.append(
            f"the decision was {recorded['recommendation']} ({recorded['reason']}) and comes out as "
            f"{found['recommendation']} ({found['reason']})"
        )
    reworded = reworded or differs(recorded, found, exactly=True)
    return Replay(evidence, recorded, found, tuple(differences), same_code, reworded and not differences)


def differs(recorded: Any, found: Any, *, exactly: bool) -> bool:
    """Whether anything on record comes out otherwise, to the last digit.

    What the same code made must be the same `exactly`; of another version words may differ, and more may be reported.
    """
    if exactly:
        return canonical_json(recorded) != canonical_json(found)
    if isinstance(recorded, dict):
        names = [name for name in recorded if name not in WORDS]
        return not isinstance(found, dict) or any(
            name not in found or differs(recorded[name], found[name], exactly=False) for name in names
        )
    if isinstance(recorded, list):
        return not (isinstance(found, list) and len(found) == len(recorded)) or any(
            differs(*pair, exactly=False) for pair in zip(recorded, found, strict=True)
        )
    return canonical_json(recorded) != canonical_json(found)


def _lane(result: dict[str, Any], hardware_target: str) -> dict[str, Any] | None:
    lane = next((row for row in result["lanes"] if row["hardware_target"] == hardware_target), None)
    # As the document holds it: tuples are lists, and numbers have gone through JSON.
    return json.loads(canonical_json(lane))


def _difference(recorded: Any, recomputed: Any, *, exactly: bool) -> str:
    before = {} if recorded is None else recorded
    after = {} if recomputed is None else recomputed
    names = {*before, *after} if exactly else set(before) - WORDS
    names = sorted(name for name in names if differs(before.get(name), after.get(name), exactly=exactly))
    return f"the look's {', '.join(names)} come out otherwise"
