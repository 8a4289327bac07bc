"""The wizard: what is typed is never lost, errors stand at their fields, and the preview is what a start would do."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from rollouts.models import Rollout
from rollouts.selectors.budgets import bounds_for
from telemetry.services.folding import fold
from tests.rollouts.conftest import CHANGE_RECORD, STAGES
from tests.rollouts.field import Field

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock(monkeypatch, now):
    monkeypatch.setattr(timezone, "now", lambda: now)


@pytest.fixture
def manager(browser_client, cast, clock):
    return browser_client(cast.manager)


def fields_of(text: str) -> dict[str, list[str]]:
    """What a browser would send of the wizard's form as it stands."""
    form = text[text.index('<form class="wizard"') : text.index("</form>", text.index('<form class="wizard"'))]
    found: dict[str, list[str]] = {}
    for tag in re.findall(r"<input[^>]*>", form):
        attributes = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if "name" not in attributes or (attributes.get("type") == "checkbox" and " checked" not in tag):
            continue
        found.setdefault(attributes["name"], []).append(attributes.get("value", ""))
    for name, value in re.findall(r'<textarea[^>]*name="([^"]*)"[^>]*>([^<]*)</textarea>', form):
        found[name] = [value]
    for name, options in re.findall(r'<select[^>]*name="([^"]*)"[^>]*>(.*?)</select>', form, re.S):
        found[name] = re.findall(r'value="([^"]*)" selected', options) or [""]
    return found


def opened(client, address: str) -> dict[str, list[str]]:
    answer = client.get(address)
    assert answer.status_code == 200
    return fields_of(answer.content.decode())


def filled(fields: dict[str, list[str]]) -> dict[str, list[str]]:
    """With a whole change record."""
    for name, value in CHANGE_RECORD.items():
        fields[f"record.{name}"] = ["\n".join(value) if isinstance(value, list) else value]
    return fields


def test_the_wizard_drafts_what_is_typed_and_submits_it(manager, cast, make_fleet, qualify):
    make_fleet(24)
    qualify(cast.candidate, cast.orin)
    fields = filled(opened(manager, f"/rollouts/new/?release={cast.candidate.pk}&preset=canary"))
    assert fields["release"] == [str(cast.candidate.pk)]
    assert [fields[f"stage.{n}.name"] for n in fields["stages"]] == [["canary"], ["fleet"]]
    fields |= {
        "stage.0.share": ["12,5"],
        "stage.0.minimum_soak_s": ["0.5"],
        "stage.0.concurrency": ["7"],
        "stage.0.from": ["22:00"],
        "stage.0.to": ["04:30"],
        "stage.0.days": ["sat", "sun"],
        "selector.hardware_targets": ["orin-nx-16"],
        "policy.alpha": ["2.5"],
        "policy.look_interval_s": ["10"],
        "policy.auto_rollback": ["on"],
        "margin.energy_mean": ["3"],
        "do": ["submit"],
    }
    answer = manager.post("/rollouts/new/", fields)
    rollout = Rollout.objects.get()
    assert answer.url == f"/rollouts/{rollout.pk}/"
    stage = rollout.stages.first()
    assert (stage.share, stage.minimum_soak_s, stage.concurrency) == (0.125, 1800, 7)
    assert stage.maintenance_window == {"from": "22:00", "to": "04:30", "days": ["sat", "sun"]}
    rules = rollout.rules
    assert (rules.alpha, rules.look_interval_s, rules.auto_rollback) == (0.025, 600, True)
    assert rules.margins == {"energy_mean": 0.03} and rollout.selector == {"hardware_targets": ["orin-nx-16"]}
    assert rollout.change_record["tests_run"] == CHANGE_RECORD["tests_run"]
    assert {lane.state for lane in rollout.lanes.all()} == {"awaiting_approval"}


def test_every_error_stands_at_its_field_and_nothing_typed_is_lost(manager, cast, make_fleet):
    make_fleet(6)
    fields = opened(manager, "/rollouts/new/?preset=canary")
    fields |= {
        "record.why": ["Because of the rain in Bergen"],
        "stage.0.share": ["many"],
        "stage.1.minimum_devices": ["0"],
        "policy.alpha": ["200"],
        "margin.energy_mean": ["-4"],
        "stage.1.from": ["25:00"],
        "stage.1.to": ["26:00"],
        "do": ["save"],
    }
    answer = manager.post("/rollouts/new/", fields)
    text = answer.content.decode()
    assert answer.status_code == 422 and not Rollout.objects.exists()
    for field in ("release", "stage-0-share", "stage-1-minimum_devices", "policy-alpha", "margin-energy_mean",
                  "stage-1-from"):  # fmt: skip
        assert f'id="{field}-error"' in text, field
    kept = fields_of(text)
    kept.pop("csrfmiddlewaretoken", None)
    assert all(kept[name] == value for name, value in fields.items() if name not in ("do", "csrfmiddlewaretoken"))


def test_submitting_an_unfinished_plan_writes_nothing_and_names_what_is_missing(manager, cast, make_fleet):
    make_fleet(6)
    fields = opened(manager, f"/rollouts/new/?release={cast.candidate.pk}&preset=canary")
    fields |= {"do": ["submit"], "stage.1.regions": ["eu-north"], "selector.regions": ["us-west"]}
    text = manager.post("/rollouts/new/", fields).content.decode()
    assert not Rollout.objects.exists()
    assert 'id="record-rollback_path-error"' in text and "matches no device" in text


def test_stages_are_added_and_removed_and_presets_fill_them_in(manager, cast, make_fleet):
    make_fleet(6)
    fields = opened(manager, f"/rollouts/new/?release={cast.candidate.pk}&preset=canary")
    fields["record.why"] = ["kept"]
    more = fields_of(manager.post("/rollouts/new/", {**fields, "do": "add"}).content.decode())
    assert more["stages"] == ["0", "1", "2"] and more["record.why"] == ["kept"]
    fewer = fields_of(manager.post("/rollouts/new/", {**more, "do": "remove:0"}).content.decode())
    assert fewer["stages"] == ["1", "2"] and fewer["stage.1.name"] == ["fleet"]
    ladder = fields_of(manager.post("/rollouts/new/", {**fewer, "do": "fill:ladder"}).content.decode())
    assert [ladder[f"stage.{n}.share"] for n in ladder["stages"]] == [["5"], ["25"], ["50"], ["100"]]
    assert ladder["record.why"] == ["kept"]


def test_a_draft_is_planned_further_in_the_same_wizard_and_what_the_api_set_stays(manager, draft, make_fleet, cast):
    make_fleet(24)
    margins = {"orin-nx-16": {"energy_mean": 0.02, "power_mean": 0.1}, "latency_p95": 0.04, "memory_mean": 0.2}
    rollout = draft(policy={"margins": margins, "limits": {"hailo-8": {"energy_mj": 80.0}}})
    fields = opened(manager, f"/rollouts/{rollout.pk}/plan/")
    assert fields["margin.latency_p95"] == ["4"] and fields["margin.orin-nx-16.energy_mean"] == ["2"]
    before = (rollout.rules, [stage.share for stage in rollout.stages.all()], rollout.change_record)
    manager.post(f"/rollouts/{rollout.pk}/plan/", {**fields, "do": "save"})
    same = Rollout.objects.get()
    assert (same.rules, [stage.share for stage in same.stages.all()], same.change_record) == before
    manager.post(f"/rollouts/{rollout.pk}/plan/", {**fields, "record.why": "Better", "do": "submit"})
    assert Rollout.objects.get().change_record["why"] == "Better"
    answer = manager.get(f"/rollouts/{rollout.pk}/plan/", follow=True)
    assert "its plan is fixed" in answer.content.decode()


def test_margins_of_one_hardware_target_are_set_and_taken_back_on_the_page(manager, cast, make_fleet, now):
    make_fleet(6)
    address = f"/rollouts/new/?release={cast.candidate.pk}&preset=canary"
    fields = opened(manager, address) | {"margin.energy_mean": ["4"]}
    assert "margin_targets" not in fields
    added = fields_of(
        manager.post("/rollouts/new/", fields | {"margin_target": "orin-nx-16", "do": "add_margins"}).content.decode()
    )
    assert added["margin_targets"] == ["orin-nx-16"] and added["margin_target"] == [""]
    wrong = manager.post("/rollouts/new/", added | {"margin.orin-nx-16.energy_mean": ["-1"], "do": "save"})
    assert wrong.status_code == 422 and 'id="margin-orin-nx-16-energy_mean-error"' in wrong.content.decode()
    typed = added | {"margin.orin-nx-16.energy_mean": ["2,5"], "margin.orin-nx-16.error_rate": ["0.1"], "do": "save"}
    assert manager.post("/rollouts/new/", typed).status_code == 302
    rollout = Rollout.objects.get()
    assert rollout.rules.margins == {"energy_mean": 0.04, "orin-nx-16": {"energy_mean": 0.025, "error_rate": 0.001}}
    assert bounds_for(cast.candidate, cast.orin, now, rollout.rules).margins["energy_mean"] == 0.025
    assert bounds_for(cast.candidate, cast.hailo, now, rollout.rules).margins["energy_mean"] == 0.04
    again = opened(manager, f"/rollouts/{rollout.pk}/plan/")
    assert again["margin.orin-nx-16.energy_mean"] == ["2.5"]
    gone = manager.post(f"/rollouts/{rollout.pk}/plan/", again | {"do": "remove_margins:orin-nx-16"})
    manager.post(f"/rollouts/{rollout.pk}/plan/", fields_of(gone.content.decode()) | {"do": "save"})
    assert Rollout.objects.get().rules.margins == {"energy_mean": 0.04}


def test_the_preview_says_who_is_reached_who_is_not_and_what_could_be_shown(
    manager, cast, make_fleet, now, make_device
):
    field = Field()
    field.add(make_fleet(24), "4.1.0")
    hour = timedelta(hours=1)
    field.send([now - 50 * hour, now - 49 * hour])
    field.send([now - 5 * hour, now - 4 * hour])
    fold(now)
    make_device("broken", "hailo-8", "eu-north", status="suspended")
    fields = opened(manager, f"/rollouts/new/?release={cast.candidate.pk}&preset=canary")
    text = manager.post("/rollouts/new/preview/", fields).content.decode()
    assert "48 devices can take the release" in text
    assert "the device is suspended" in text
    assert "Latency p95" in text and "of 5.0 % allowed" in text
    assert "after 24 h if nothing changed" in text and "a harm of one margin is shown after" in text
    assert not Rollout.objects.exists()
    fields["stage.0.devices"] = ["hailo-8-000"]
    fields["stage.0.regions"] = ["us-west"]
    text = manager.post("/rollouts/new/preview/", fields).content.decode()
    assert "Matches no device" in text and "0 in devices hailo-8-000" in text
    fields["stage.0.share"] = ["x"]
    assert 'href="#stage-0-share"' in manager.post("/rollouts/new/preview/", fields).content.decode()


def test_where_telemetry_is_missing_the_preview_cannot_say_when_a_lane_is_decided(manager, cast, make_fleet, now):
    field = Field()
    devices = make_fleet(24)
    field.add(devices, "4.1.0")
    fields = opened(manager, f"/rollouts/new/?release={cast.candidate.pk}&preset=canary")
    fields["stage.0.share"] = ["40"]

    def preview() -> str:
        return manager.post("/rollouts/new/preview/", fields).content.decode()

    assert "cannot say" in preview() and "sent too little in the last eight days" in preview()
    hour = timedelta(hours=1)
    # One in three is heard from: of ten treated devices three would be.
    field.send([now - 50 * hour, now - 49 * hour], devices=devices[::3])
    field.send([now - 5 * hour, now - 4 * hour], devices=devices[::3])
    fold(now)
    assert "only 33% of the devices said enough" in preview()
    # Everybody is, but what the plan limits was never measured.
    field.send([now - 48 * hour, now - 47 * hour])
    field.send([now - 3 * hour, now - 2 * hour])
    fold(now)
    assert "cannot say" not in preview()
    fields |= {"margin_targets": ["hailo-8"], "margin.hailo-8.memory_mean": ["5"]}
    assert "fewer than 6 devices measured memory in the last eight days" in preview()


def test_the_baseline_says_what_devices_run_and_whether_the_gate_is_open(manager, cast, make_fleet, qualify):
    make_fleet(3)
    qualify(cast.candidate, cast.orin)
    text = manager.get("/panels/baseline/", {"release": cast.candidate.pk}).content.decode()
    assert "orin-nx-16" in text and "Missing" in text and "Pass" in text and "no telemetry yet" in text
    assert "Choose a release" in manager.get("/panels/baseline/", {"release": "x"}).content.decode()


def test_only_who_may_plan_sees_the_wizard(browser_client, cast, clock, draft, make_fleet):
    make_fleet(6)
    client = browser_client(cast.engineer)
    assert client.get("/rollouts/new/").status_code == 403
    assert client.get(f"/rollouts/{draft().pk}/plan/").status_code == 403
    assert client.post("/rollouts/new/preview/").status_code == 403


def test_stages_of_the_test_plan_survive_the_form(manager, draft, make_fleet):
    make_fleet(6)
    rollout = draft(stages=[{**STAGES[0], "concurrency": 3, "hand_picked": True, "selector": {"groups": []}}])
    fields = opened(manager, f"/rollouts/{rollout.pk}/plan/")
    assert fields["stage.0.concurrency"] == ["3"] and fields["stage.0.hand_picked"] == ["on"]
