"""The decision page: what was frozen is shown as it was, replayed on demand, with what came later beside it."""

import json

import pytest
from django.utils import timezone

from rollouts.machine import State
from rollouts.models import Evidence
from rollouts.selectors.replay import replay
from rollouts.services import deciding
from rollouts.services.documents import sha256_of
from tests.rollouts.conftest import actor_of, hash_of, sign_all

pytestmark = pytest.mark.django_db


@pytest.fixture
def harmed(play, monkeypatch):
    """A canary that costs 15 % more energy on one hardware target, after the product has seen it."""
    game = play(faults={("4.2.0", "orin-nx-16"): {"energy": 1.15}}, per_target=14)
    for _ in range(12):
        game.pass_time()
        if game.states()["orin-nx-16"] == State.ROLLBACK_RECOMMENDED:
            break
    monkeypatch.setattr(timezone, "now", lambda: game.now)
    return game


def test_a_decision_shows_gate_evidence_signatures_consequences_and_what_came_since(browser_client, cast, harmed):
    shown = hash_of(harmed.lane("orin-nx-16"))
    harmed.pass_time()
    deciding.roll_back(
        harmed.rollout, by=cast.manager, actor=actor_of(cast.manager), now=harmed.now, reason="Too much energy.",
        hardware_target="orin-nx-16", evidence_hash=shown,
    )  # fmt: skip
    client = browser_client(cast.engineer)
    text = client.get(f"/decisions/{shown}/").content.decode()
    for words in ("Rollback recommended", shown, "Energy per inference", "Too much energy.", "Accepted by mara",
                  "Since the decision", "Reverse plan", "n treated"):  # fmt: skip
        assert words in text, words
    for lane in harmed.lane("orin-nx-16").run.look_rows.last().lanes:
        names = [row["name"] for row in lane["hard_limits"]]
        assert len(names) == len(set(names)), "a limit is listed once per lane"
    same = client.post(f"/decisions/{shown}/replay/").content.decode()
    assert "The same" in same and "to the last digit" in same
    address = f"/decisions/{shown}/"
    assert address in client.get(f"/rollouts/{harmed.rollout.pk}/").content.decode()
    assert address in client.get("/audit/").content.decode()


def test_metrics_beside_the_tested_ones_are_frozen_shown_and_come_out_the_same_and_decide_nothing(
    browser_client, cast, harmed
):
    lane = harmed.lane("orin-nx-16")
    evidence = Evidence.objects.get(sha256=hash_of(lane))
    document = json.loads(evidence.body)
    frozen = document["facts"]["look"]
    described = {row["metric"] for row in frozen["described"]}
    assert described == {row["name"] for row in document["look_inputs"]["described"]}
    assert described >= {"timeout_rate", "energy_spread"}
    assert described.isdisjoint(row["metric"] for row in frozen["metrics"])
    assert replay(evidence).agrees
    # a figure of another size in the frozen input changes what is reported, and not what was decided
    document["look_inputs"]["described"] = [
        row | {"post": [value and value + 1.0 for value in row["post"]]} for row in document["look_inputs"]["described"]
    ]
    changed = json.dumps(document, sort_keys=True, separators=(",", ":"))
    found = replay(Evidence(kind="recommendation", sha256=sha256_of(changed), body=changed))
    assert found.differences == ("the look's described come out otherwise",)
    client = browser_client(cast.engineer)
    for address in (f"/decisions/{evidence.sha256}/", f"/rollouts/{harmed.rollout.pk}/?lane=orin-nx-16"):
        text = client.get(address).content.decode()
        assert "Reported, not tested" in text and "no part of any verdict" in text
        assert "Variation of energy per inference" in text


def test_evidence_that_was_tampered_with_comes_out_different(browser_client, cast, harmed, monkeypatch):
    shown = hash_of(harmed.lane("orin-nx-16"))
    genuine = Evidence.objects.get(sha256=shown).body
    monkeypatch.setattr(
        "rollouts.views.decision._found",
        lambda sha256: Evidence(
            kind="recommendation", sha256=sha256, body=genuine.replace('"verdict":"fail"', '"verdict":"pass"')
        ),
    )
    text = browser_client(cast.engineer).post(f"/decisions/{shown}/replay/").content.decode()
    assert "Different" in text and "does not have the hash" in text


def test_the_document_of_a_submission_shows_the_plan_and_who_signed(browser_client, cast, draft, make_fleet, now):
    from rollouts.services import drafting

    make_fleet(6)
    rollout = draft(stages=[{"name": "canary", "share": 0.5, "required_roles": ["qa"]}])
    evidence = drafting.submit(rollout, by=cast.manager, actor=actor_of(cast.manager), now=now)
    sign_all(rollout, cast, now)
    client = browser_client(cast.engineer)
    text = client.get(f"/decisions/{evidence.sha256}/").content.decode()
    for words in ("Start of lane-assist 4.2.0", "Looked at the numbers.", "Two points of accuracy"):
        assert words in text, words
    assert "holds no verdict" in client.post(f"/decisions/{evidence.sha256}/replay/").content.decode()
    assert client.get(f"/decisions/{'0' * 64}/").status_code == 404


def frozen_again(evidence: Evidence, change) -> Evidence:
    """The document with a change, under the hash that it then has."""
    document = json.loads(evidence.body)
    change(document)
    body = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return Evidence(kind="recommendation", sha256=sha256_of(body), body=body)


def test_what_an_earlier_version_decided_comes_out_the_same_in_other_words_and_not_with_other_figures(harmed):
    evidence = Evidence.objects.get(sha256=hash_of(harmed.lane("orin-nx-16")))

    def reworded(document) -> None:
        document["decision"]["reason"] = document["facts"]["look"]["reason"] = "Energie pro Inferenz zu hoch"
        document["decision"]["checks"][0]["reason"] = "keine"

    def of_an_earlier_version(document) -> None:
        reworded(document)
        document["code_version"] = "0" * 16

    def with_another_figure(document) -> None:
        of_an_earlier_version(document)
        document["facts"]["look"]["metrics"][0]["effect"] += 1e-12

    def with_another_verdict(document) -> None:
        of_an_earlier_version(document)
        document["decision"]["checks"][0]["verdict"] = "fail"

    assert not replay(frozen_again(evidence, reworded)).agrees, "the same code says it in the same words"
    earlier = replay(frozen_again(evidence, of_an_earlier_version))
    assert earlier.agrees and earlier.reworded and not earlier.same_code
    assert replay(evidence).agrees and not replay(evidence).reworded
    assert replay(frozen_again(evidence, with_another_figure)).differences == ("the look's metrics come out otherwise",)
    assert "the decision was rollback" in replay(frozen_again(evidence, with_another_verdict)).differences[0]
