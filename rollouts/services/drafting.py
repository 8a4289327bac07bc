"""Drafting a rollout: plan it, change it, submit it for signatures, take it back."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from fleet.actors import Actor
from fleet.exceptions import InvalidInput, StateConflict
from fleet.models import DeviceGroup, HardwareTarget, Release, User
from fleet.selectors.releases import difference
from fleet.services import audit
from rollouts import machine, plans
from rollouts.machine import Event, State
from rollouts.models import Evidence, Lane, Rollout, Stage
from rollouts.plans import Policy, StagePlan
from rollouts.selectors import populations
from rollouts.selectors.budgets import bounds_for
from rollouts.selectors.cohorts import preview
from rollouts.selectors.gates import gate
from rollouts.services import documents, rights, transitions

# Seeds survive every JSON reader as exact integers.
SEED_BELOW = 2**53


@transaction.atomic
def create_rollout(
    *,
    release: Release,
    by: User,
    actor: Actor,
    now: datetime,
    change_record: Any = None,
    preset: str = "",
    stages: Any = None,
    policy: Any = None,
    selector: Any = None,
    region: str = "",
    seed: int | None = None,
) -> Rollout:
    """Draft a rollout from stages or from a preset, the standard one where neither is given.

    Raises `InvalidInput` with one entry per bad field, and for a release that is not published.
    """
    rights.assert_manager(by)
    if release.status != Release.Status.PUBLISHED:
        raise InvalidInput({"release": f"{release} is {release.status}; only a published release can be rolled out."})
    if seed is not None and not 0 <= seed < SEED_BELOW:
        raise InvalidInput({"seed": f"The seed lies between 0 and {SEED_BELOW - 1}."})
    if stages is not None and preset:
        raise InvalidInput({"preset": "Give stages or a preset, not both."})
    checked = check(change_record=change_record, stages=stages, policy=policy, selector=selector)
    stage_plans, notes = checked.stages, []
    if stages is None:
        preset = preset or plans.DEFAULT_PRESET
        stage_plans, notes = stages_of_preset(release, preset, checked.selector, region)
    rollout = Rollout.objects.create(
        workload=release.workload,
        release=release,
        change_record=checked.change_record,
        selector=checked.selector,
        policy=checked.policy.to_dict(),
        preset=preset,
        seed=secrets.randbelow(SEED_BELOW) if seed is None else seed,
        notes=notes,
        created_by=by,
        created_at=now,
    )
    _write_stages(rollout, stage_plans)
    sync_lanes(rollout, now=now)
    audit.record(actor=actor, action="rollout.created", obj=rollout, now=now, new=describe(rollout))
    return rollout


@dataclass(frozen=True)
class Checked:
    """The parts of a plan, each read and found good."""

    change_record: dict[str, Any]
    stages: list[StagePlan]
    policy: Policy
    selector: dict[str, list[str]]


def check(*, change_record: Any = None, stages: Any = None, policy: Any = None, selector: Any = None) -> Checked:
    """Read a plan; `InvalidInput` names every bad field of every part at once. Stages left out are no stages."""
    errors: dict[str, str] = {}
    code = "invalid"

    def read(part: Callable[[], Any], otherwise: Any) -> Any:
        nonlocal code
        try:
            return part()
        except InvalidInput as refusal:
            code = refusal.code if not errors else "invalid"
            errors.update(refusal.errors)
            return otherwise

    checked = Checked(
        change_record=read(lambda: plans.change_record_from(change_record), {}),
        stages=read(lambda: _stages_from(stages), []) if stages is not None else [],
        policy=read(lambda: _policy_from(policy), Policy()),
        selector=read(lambda: _selector_from(selector), {}),
    )
    if errors:
        raise InvalidInput(errors, code=code)
    return checked


def _policy_from(policy: Any) -> Policy:
    """A policy whose margins and limits are about hardware targets that exist: a misspelt one would hold for nobody."""
    found = plans.policy_from(policy)
    parts = {"margins": found.margins, "limits": found.limits}
    named = [(target, part) for part, values in parts.items() for target in plans.targets_of(values)]
    known = set(HardwareTarget.objects.filter(slug__in=dict(named)).values_list("slug", flat=True))
    unknown = {
        f"policy.{part}.{target}": f"There is no hardware target “{target}”."
        for target, part in named
        if target not in known
    }
    if unknown:
        raise InvalidInput(unknown, code="does_not_exist")
    return found


def _selector_from(selector: Any) -> dict[str, list[str]]:
    chosen = plans.selector_from(selector)
    _assert_known_names(chosen, "selector")
    return chosen


def _stages_from(stages: Any) -> list[StagePlan]:
    found = plans.stages_from(stages)
    for index, plan in enumerate(found):
        _assert_known_names(plan.selector, f"stages[{index}].selector")
    return found


def stages_of_preset(
    release: Release, name: str, selector: dict[str, list[str]], region: str = ""
) -> tuple[list[StagePlan], list[str]]:
    """The stages of a preset without the ones that would match nobody, and a note for each of these."""
    if name not in plans.PRESETS:
        raise InvalidInput({"preset": f"There is no preset “{name}”; known: {', '.join(plans.PRESETS)}."})
    group = plans.INTERNAL_GROUP if DeviceGroup.objects.filter(slug=plans.INTERNAL_GROUP).exists() else ""
    counts = _devices_by_region(release, selector)
    if region and region not in counts:
        raise InvalidInput({"region": f"No device of this rollout is in “{region}”."})
    region = region or (max(counts, key=lambda slug: (counts[slug], slug)) if len(counts) > 1 else "")
    notes = []
    found = []
    for plan in plans.PRESETS[name].stages(group or plans.INTERNAL_GROUP, region):
        if plan.selector and not populations.match(release, [selector, plan.selector]).candidates:
            why = populations.explain_empty(release, [selector, plan.selector])
            notes.append(f"Stage “{plan.name}” was left out because it matches no device: {why}.")
        else:
            found.append(plan)
    return found, notes


def _devices_by_region(release: Release, selector: dict[str, list[str]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for candidate in populations.match(release, [selector]).candidates:
        counts[candidate.region] = counts.get(candidate.region, 0) + 1
    return counts


def _assert_known_names(selector: Mapping[str, list[str]], place: str) -> None:
    unknown = populations.unknown_names(selector)
    if unknown:
        raise InvalidInput(
            {f"{place}.{field}": f"There is no {', '.join(names[:5])}." for field, names in unknown.items()},
            code="does_not_exist",
        )


def stage_rows(stage_plans: list[StagePlan]) -> list[Stage]:
    """Stages that are not written down and belong to no rollout yet."""
    return [
        Stage(order=order, **asdict(plan) | {"required_roles": list(plan.required_roles)})
        for order, plan in enumerate(stage_plans)
    ]


def _write_stages(rollout: Rollout, stage_plans: list[StagePlan]) -> None:
    rows = stage_rows(stage_plans)
    for row in rows:
        row.rollout = rollout
    Stage.objects.bulk_create(rows)


def sync_lanes(rollout: Rollout, *, now: datetime) -> None:
    """One lane per hardware target that has a device for this rollout; lanes of a draft come and go with the fleet."""
    match = populations.match(rollout.release, [rollout.selector], rollout=rollout)
    wanted = {candidate.hardware_target for candidate in match.candidates}
    present = {lane.hardware_target.slug: lane for lane in rollout.lanes.select_related("hardware_target")}
    targets = HardwareTarget.objects.filter(slug__in=wanted - set(present)).order_by("slug")
    Lane.objects.bulk_create(
        Lane(rollout=rollout, hardware_target=target, state=State.DRAFT, state_since=now) for target in targets
    )
    for slug, lane in present.items():
        # A lane that was submitted once has a history, which stays.
        if slug not in wanted and lane.state == State.DRAFT and not lane.transitions.exists():
            lane.delete()


def describe(rollout: Rollout) -> dict[str, Any]:
    """The plan as plain JSON, for the audit trail and for evidence."""
    return {
        "rollout": rollout.pk,
        "workload": rollout.workload.slug,
        "release": rollout.release.version,
        "bill_of_materials": rollout.release.bill_of_materials,
        "change_record": rollout.change_record,
        "selector": rollout.selector,
        "policy": rollout.policy,
        "preset": rollout.preset,
        "seed": rollout.seed,
        "created_by": rollout.created_by.username,
        "stages": [describe_stage(stage) for stage in rollout.stages.all()],
    }


def describe_stage(stage: Stage) -> dict[str, Any]:
    """A stage as plain JSON."""
    return {name: getattr(stage, name) for name in ("order", *plans.STAGE_FIELDS)}


def assert_draft(rollout: Rollout) -> None:
    """Only a rollout whose lanes are all drafts may change."""
    states = {lane.state for lane in rollout.lanes.all()}
    if states - {State.DRAFT}:
        state = machine.rollout_state(states)
        raise StateConflict(state, machine.allowed_actions(state), f"The rollout is {state}: its plan is fixed.")


@transaction.atomic
def update_draft(
    rollout: Rollout,
    *,
    by: User,
    actor: Actor,
    now: datetime,
    change_record: Any = None,
    stages: Any = None,
    policy: Any = None,
    selector: Any = None,
) -> Rollout:
    """Change parts of a draft; what is None stays."""
    rights.assert_manager(by)
    rollout = Rollout.objects.select_for_update().get(pk=rollout.pk)
    assert_draft(rollout)
    old = describe(rollout)
    checked = check(
        change_record=change_record,
        stages=stages,
        policy={**rollout.policy, **policy} if isinstance(policy, Mapping) else policy,
        selector=selector,
    )
    if change_record is not None:
        rollout.change_record = checked.change_record
    if policy is not None:
        rollout.policy = checked.policy.to_dict()
    if selector is not None:
        rollout.selector = checked.selector
    rollout.save()
    if stages is not None:
        rollout.stages.all().delete()
        _write_stages(rollout, checked.stages)
        Rollout.objects.filter(pk=rollout.pk).update(preset="", notes=[])
    rollout = Rollout.objects.get(pk=rollout.pk)
    sync_lanes(rollout, now=now)
    audit.record(actor=actor, action="rollout.changed", obj=rollout, now=now, old=old, new=describe(rollout))
    return rollout


@transaction.atomic
def submit(rollout: Rollout, *, by: User, actor: Actor, now: datetime, reason: str = "") -> Evidence:
    """Freeze the plan and ask for signatures; returns the document that they will refer to.

    `InvalidInput` names each empty field of the change record and each stage that matches nobody, with the reason.
    """
    rights.assert_manager(by)
    rollout = Rollout.objects.select_for_update().get(pk=rollout.pk)
    states = {lane.state for lane in rollout.lanes.all()}
    if states - {State.DRAFT}:
        state = machine.rollout_state(states)
        raise StateConflict(state, machine.allowed_actions(state))
    sync_lanes(rollout, now=now)
    lanes = list(rollout.lanes.select_related("hardware_target", "stage", "rollout__release", "rollout__workload"))
    errors = plans.missing_from_change_record(rollout.change_record)
    if not lanes:
        why = populations.explain_empty(rollout.release, [rollout.selector])
        errors["selector"] = f"This rollout matches no device: {why}."
    previews = preview(rollout)
    for found in previews:
        if lanes and found.reason:
            errors[f"stages[{found.stage.order}].selector"] = f"This stage matches no device: {found.reason}."
    if errors:
        raise InvalidInput(errors)
    evidence = documents.freeze(
        Evidence.Kind.SUBMISSION,
        {
            "schema": "ridgeline.submission/1",
            "plan": describe(rollout),
            "lanes": [lane.hardware_target.slug for lane in lanes],
            "preview": [
                {"stage": found.stage.name, "lanes": found.lanes(), "excluded": found.excluded} for found in previews
            ],
            "bounds": {
                lane.hardware_target.slug: bounds_for(
                    rollout.release, lane.hardware_target, now, rollout.rules
                ).to_dict()
                for lane in lanes
            },
            "gate": gate(rollout.release, now, [lane.hardware_target for lane in lanes]),
            "differs_from": _differences(rollout),
        },
        rollout=rollout,
        now=now,
    )
    Rollout.objects.filter(pk=rollout.pk).update(submitted_at=now)
    for lane in lanes:
        transitions.move(lane, Event.SUBMIT, actor=actor, now=now, reason=reason, evidence_hash=evidence.sha256)
    return evidence


def _differences(rollout: Rollout) -> list[dict[str, Any]]:
    """What changes for the devices: the bill of materials against each release that they run now."""
    match = populations.match(rollout.release, [rollout.selector], rollout=rollout)
    counts: dict[int, int] = {}
    for release in match.running.values():
        counts[release] = counts.get(release, 0) + 1
    running = Release.objects.select_related("workload").in_bulk(counts)
    return [
        {
            "release": running[pk].version,
            "devices": devices,
            "parts": [row for row in difference(rollout.release, running[pk]) if row["changed"]],
        }
        for pk, devices in sorted(counts.items(), key=lambda item: -item[1])
    ]


@transaction.atomic
def revise(rollout: Rollout, *, by: User, actor: Actor, now: datetime, reason: str = "") -> Rollout:
    """Take a submitted rollout back into drafting; signatures given so far end with the document that they signed."""
    rights.assert_manager(by)
    lanes = list(rollout.lanes.select_for_update(of=("self",)).select_related("hardware_target", "stage"))
    if not lanes or any(lane.state != State.AWAITING_APPROVAL for lane in lanes):
        state = machine.rollout_state(lane.state for lane in lanes)
        raise StateConflict(state, machine.allowed_actions(state))
    for lane in lanes:
        transitions.move(lane, Event.REVISE, actor=actor, now=now, reason=reason)
    return rollout
