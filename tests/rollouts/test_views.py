"""The rollout pages: what they show of a rollout in the field, and that every decision on them is the service's."""

import json

import pytest
from django.utils import timezone

from rollouts.machine import State
from rollouts.models import Approval, Evidence, Rollout
from rollouts.views.pictures import gate_rows

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clock(monkeypatch, now):
    """The wall clock of the pages, set by hand: `clock(moment)`."""

    def set_to(moment) -> None:
        monkeypatch.setattr(timezone, "now", lambda: moment)

    set_to(now)
    return set_to


@pytest.fixture
def harmed(play, clock):
    """A canary that costs 15 % more energy on one hardware target, after the product has seen it."""
    field = play(faults={("4.2.0", "orin-nx-16"): {"energy": 1.15}}, per_target=14)
    for _ in range(12):
        field.pass_time()
        if field.states()["orin-nx-16"] == State.ROLLBACK_RECOMMENDED:
            break
    clock(field.now)
    return field


def page(client, rollout: Rollout, **query) -> str:
    """The rollout page as text."""
    answer = client.get(f"/rollouts/{rollout.pk}/", query)
    assert answer.status_code == 200
    return answer.content.decode()


def act(client, rollout: Rollout, **form):
    """A decision, followed to the page that it leads to."""
    return client.post(f"/rollouts/{rollout.pk}/act/", form, follow=True).content.decode()


def test_a_bad_lane_is_shown_first_with_verdict_gate_and_way_back_and_the_other_goes_on(browser_client, cast, harmed):
    assert harmed.states()["orin-nx-16"] == State.ROLLBACK_RECOMMENDED
    assert harmed.states()["hailo-8"] not in (State.ROLLBACK_RECOMMENDED, State.STOPPED)
    client, rollout = browser_client(cast.manager), harmed.rollout
    text = page(client, rollout)
    assert "Roll back is recommended" in text and 'id="rollback-orin-nx-16"' in text
    assert "Reverse plan" in text and 'data-verdict="fail"' in text
    for title in ("Latency p95", "Energy per inference", "Mean confidence", "Fallback rate"):
        assert title in text
    assert "none, this lane has its verdict" in text and "7 treated, 7 control" in text
    assert "Roll back is recommended" not in page(client, rollout, lane="hailo-8")
    assert "no such hardware target" in page(client, rollout, lane="orin") and "no such hardware" not in text
    for address in ("/rollouts/", "/panels/rollouts/", "/panels/rollouts/?release=4.2.0&workload=lane-assist"):
        listed = client.get(address).content.decode()
        assert "Rollback recommended" in listed and "hailo-8" in listed, address
    member = harmed.lane("orin-nx-16").run.members.filter(arm="treated").select_related("device").first()
    assert (
        "Treated in canary" in client.get("/panels/device-rollouts/", {"device": member.device.serial}).content.decode()
    )


def test_charts_and_evidence_of_a_lane_are_handed_out_as_they_are(browser_client, cast, harmed):
    client, run = browser_client(cast.engineer), harmed.lane("orin-nx-16").run
    effects = client.get(f"/figures/effects/{run.pk}/orin-nx-16/").json()
    assert "Energy per inference" in [row[0] for row in effects["table"]["rows"]]
    address = f"/figures/looks/{run.pk}/orin-nx-16/"
    assert client.get(address, {"metric": "energy_mean"}).json()["figure"]["data"][2]["y"][-1] > 5
    table = b"".join(client.get(address, {"metric": "energy_mean", "format": "csv"})).decode()
    assert table.startswith("Look at,Verdict,Effect")
    assert client.get(address, {"metric": "nonsense"}).json()["empty"]["cause"] == "no_look"
    document = Evidence.objects.filter(rollout=harmed.rollout, kind="recommendation").first()
    answer = client.get(f"/rollouts/{harmed.rollout.pk}/evidence/{document.pk}/")
    assert answer.content.decode() == document.body
    json.loads(answer.content)
    assert client.get(f"/rollouts/{harmed.rollout.pk + 1}/evidence/{document.pk}/").status_code == 404


def test_rolling_back_needs_a_reason_and_the_evidence_shown_and_takes_back_one_lane(browser_client, cast, harmed):
    client, rollout, other = browser_client(cast.manager), harmed.rollout, harmed.states()["hailo-8"]
    form = {"action": "rollback", "hardware_target": "orin-nx-16"}
    assert "Nothing was changed" in act(client, rollout, **form)
    assert "Nothing was changed" in act(client, rollout, **form, reason="energy", evidence_hash="0" * 64)
    assert harmed.states()["orin-nx-16"] == State.ROLLBACK_RECOMMENDED
    act(client, rollout, **form, reason="energy")
    assert harmed.states() == {"orin-nx-16": State.ROLLING_BACK, "hailo-8": other}


def test_an_engineer_may_stop_and_nothing_else(browser_client, cast, harmed):
    client = browser_client(cast.engineer)
    text = page(client, harmed.rollout)
    assert 'id="stop-orin-nx-16"' in text and 'id="rollback-orin-nx-16"' not in text
    form = {"action": "rollback", "hardware_target": "orin-nx-16", "reason": "energy"}
    assert "Nothing was changed" in act(client, harmed.rollout, **form)
    act(client, harmed.rollout, action="stop", hardware_target="orin-nx-16", reason="smoke")
    assert harmed.states()["orin-nx-16"] == State.STOPPED


def test_a_draft_is_submitted_signed_by_others_and_started_on_the_page(browser_client, cast, make_fleet, draft, clock):
    make_fleet(24)
    stages = [{"name": "canary", "share": 0.5, "required_roles": ["qa"]}]
    rollout = draft(stages=stages)
    manager, qa = browser_client(cast.manager), browser_client(cast.qa)
    assert "waits for its signatures" in act(manager, rollout, action="submit")
    assert "so others sign it" in page(manager, rollout)
    assert "Nothing was changed" in act(manager, rollout, action="start")
    sheet = Evidence.objects.get(rollout=rollout)
    act(qa, rollout, action="sign", role="qa", remark="Read it.", evidence_hash=sheet.sha256)
    assert Approval.objects.get(rollout=rollout).user == cast.qa
    assert "Started" in act(manager, rollout, action="start", evidence_hash=sheet.sha256)
    assert {lane.state for lane in rollout.lanes.all()} == {State.DEPLOYING}


def test_an_action_that_does_not_exist_changes_nothing(browser_client, cast, draft, make_fleet, clock):
    make_fleet(6)
    assert "There is no action" in act(browser_client(cast.manager), draft(), action="explode")


def test_the_gate_panel_says_which_hardware_target_is_proven(browser_client, cast, draft, make_fleet, clock):
    make_fleet(6)
    draft()
    answer = browser_client(cast.engineer).get("/panels/qualifications/?workload=lane-assist&release=4.2.0")
    text = answer.content.decode()
    assert "Pass" in text and "hailo-8" in text


def test_limits_stand_in_the_gate_table_in_their_own_units():
    limits = {"error_rate": 0.05, "energy_mj": 90.0, "something_else": 3.0}
    rows = [
        {"kind": "hard limit", "metric": name, "margin": bound, "verdict": "pass"} for name, bound in limits.items()
    ]
    assert [row["margin_text"] for row in gate_rows(rows)] == ["5 %", "90 mJ", "3"]
