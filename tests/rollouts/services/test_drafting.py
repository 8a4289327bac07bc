"""Drafting: a plan is checked field by field, zero matches are explained, and a submission is frozen."""

import json

import pytest

from fleet.exceptions import InvalidInput, NotAllowed, StateConflict
from fleet.models import DeviceGroup
from rollouts.models import Evidence
from rollouts.selectors.cohorts import cohorts_of, preview
from rollouts.services import drafting
from rollouts.services.documents import sha256_of
from tests.rollouts.conftest import CHANGE_RECORD, actor_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def manager(cast, now):
    """What every call of the manager carries."""
    return {"by": cast.manager, "actor": actor_of(cast.manager), "now": now}


def test_a_lane_is_made_for_each_hardware_target_with_a_device(draft, make_fleet):
    make_fleet(4, targets=("orin-nx-16",))
    rollout = draft()
    assert [lane.hardware_target.slug for lane in rollout.lanes.all()] == ["orin-nx-16"]
    assert rollout.status == "draft"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"stages": []}, "stages"),
        ({"stages": [{"share": 2}]}, "stages[0].share"),
        ({"stages": [{"share": 0.5, "minimum_soak": 3}]}, "stages[0].minimum_soak"),
        ({"stages": [{"selector": {"regions": ["atlantis"]}}]}, "stages[0].selector.regions"),
        ({"stages": [{"required_roles": ["king"]}]}, "stages[0].required_roles"),
        ({"stages": [{"maintenance_window": {"from": "25:00", "to": "04:00"}}]}, "stages[0].maintenance_window"),
        ({"stages": [{"maintenance_window": {"from": "22:00", "to": "4:00", "timezone": "Mars"}}]},
         "stages[0].maintenance_window"),
        ({"stages": [{"maintenance_window": {"from": "22:00", "to": "4:00", "timezone": "Europe"}}]},
         "stages[0].maintenance_window"),
        ({"stages": [{"required_roles": "qa"}]}, "stages[0].required_roles"),
        ({"stages": "canary"}, "stages"),
        ({"stages": [{"share": 0.5}, {"share": 0.25}]}, "stages[1].share"),
        ({"stages": None, "preset": "fast"}, "preset"),
        ({"preset": "ladder"}, "preset"),
        ({"policy": {"alpha": 0}}, "policy.alpha"),
        ({"policy": {"speed": 1}}, "policy.speed"),
        ({"policy": {"margins": {"latency": 1}}}, "policy.margins.latency"),
        ({"policy": {"limits": {"orin-nx-16": {"energy_mj": "low"}}}}, "policy.limits.orin-nx-16.energy_mj"),
        ({"policy": {"margins": {"orin": {"energy_mean": 0.02}}}}, "policy.margins.orin"),
        ({"selector": {"groups": ["nobody"]}}, "selector.groups"),
        ({"selector": {"planet": ["earth"]}}, "selector.planet"),
        ({"change_record": {"because": "x"}}, "change_record.because"),
        ({"seed": -1}, "seed"),
    ],
)  # fmt: skip
def test_a_bad_plan_is_refused_by_field(draft, make_fleet, change, field):
    make_fleet(2)
    with pytest.raises(InvalidInput) as refused:
        draft(**change)
    assert field in refused.value.errors, refused.value.errors


def test_only_a_release_manager_drafts_and_only_a_published_release(draft, cast, make_fleet, now, manager):
    make_fleet(2)
    with pytest.raises(NotAllowed):
        drafting.create_rollout(
            release=cast.candidate, by=cast.engineer, actor=actor_of(cast.engineer), now=now, stages=[{"share": 1}]
        )
    cast.candidate.status = "withdrawn"
    with pytest.raises(InvalidInput, match="withdrawn"):
        drafting.create_rollout(release=cast.candidate, stages=[{"share": 1}], **manager)


def test_the_standard_preset_leaves_out_stages_that_match_nobody_and_says_why(draft, make_fleet):
    make_fleet(20)
    rollout = draft(stages=None)
    assert [stage.name for stage in rollout.stages.all()] == ["canary", "region", "fleet"]
    assert "Stage “internal” was left out" in rollout.notes[0]
    assert "0 in groups internal" in rollout.notes[0]


def test_the_standard_preset_begins_with_the_internal_group(draft, make_fleet, now):
    group = DeviceGroup.objects.create(slug="internal", name="Internal", created_at=now)
    for device in make_fleet(20)[:3]:
        device.groups.add(group)
    rollout = draft(stages=None)
    first = rollout.stages.first()
    assert (first.name, first.hand_picked, first.required_roles) == ("internal", True, ["qa"])
    assert rollout.notes == []


def test_a_submission_needs_the_whole_change_record(draft, make_fleet, manager):
    make_fleet(4)
    rollout = draft(change_record={"why": "Accuracy"})
    with pytest.raises(InvalidInput) as refused:
        drafting.submit(rollout, **manager)
    assert set(refused.value.errors) == {f"change_record.{name}" for name in CHANGE_RECORD if name != "why"}


def test_a_rollout_that_matches_nobody_cannot_be_submitted_and_the_steps_to_nobody_are_told(draft, make_fleet, manager):
    make_fleet(4)
    rollout = draft(selector={"regions": ["eu-north"], "devices": ["hailo-8-001"]})
    with pytest.raises(InvalidInput) as refused:
        drafting.submit(rollout, **manager)
    told = refused.value.errors["selector"]
    assert "8 devices in the fleet" in told
    assert "4 in regions eu-north; 0 in devices hailo-8-001" in told


def test_a_submission_is_frozen_as_canonical_json_under_its_hash(draft, make_fleet, manager):
    make_fleet(8)
    evidence = drafting.submit(draft(), **manager)
    document = json.loads(evidence.body)
    assert evidence.sha256 == sha256_of(evidence.body)
    assert document["plan"]["change_record"] == CHANGE_RECORD
    assert document["gate"]["verdict"] == "pass"
    assert json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False) == evidence.body


def test_evidence_cannot_be_changed_in_the_database(draft, make_fleet, manager):
    from django.db import IntegrityError, transaction

    make_fleet(4)
    evidence = drafting.submit(draft(), **manager)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        Evidence.objects.filter(pk=evidence.pk).update(body="{}")
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        Evidence.objects.filter(pk=evidence.pk).delete()


def test_a_submitted_rollout_cannot_change(draft, make_fleet, manager):
    make_fleet(4)
    rollout = draft()
    drafting.submit(rollout, **manager)
    with pytest.raises(StateConflict) as refused:
        drafting.update_draft(rollout, policy={"alpha": 0.01}, **manager)
    assert refused.value.state == "awaiting_approval"
    with pytest.raises(StateConflict):
        drafting.submit(rollout, **manager)


def test_the_preview_says_who_is_treated_who_is_left_out_and_what_can_be_decided(draft, make_fleet, make_device):
    make_fleet(12)
    make_device("retired-1", "hailo-8", "eu-north", status="retired")
    found = preview(draft())[0]
    assert found.excluded == {"the device is retired": 1}
    assert found.never_reported == 24
    assert [(row["hardware_target"], row["treated"], row["control"]) for row in found.lanes()] == [
        ("hailo-8", 6, 6),
        ("orin-nx-16", 6, 6),
    ]
    assert not any(row["decidable"] for row in found.lanes())


def test_cohorts_are_drawn_again_the_same_and_the_first_randomised_ones_fit_a_retrospective(draft, make_fleet):
    make_fleet(12)
    rollout = draft()
    first, second = cohorts_of(rollout), cohorts_of(rollout)
    assert first == second
    assert len(first["treated"]) == 12 and not set(first["treated"]) & set(first["control"])
    assert set(first["assignment"]["strata"]) == {str(pk) for pk in first["treated"] + first["control"]}
    assert first["stages"][0]["frozen"] is False
