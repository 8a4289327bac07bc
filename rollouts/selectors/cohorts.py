"""Cohorts as they are drawn for a preview, and as they were frozen at the start of a stage."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fleet.models import Device, Release
from rollouts import cohorts
from rollouts.cohorts import Arm, Candidate, Draw, Population, StageRule
from rollouts.models import CohortMember, Holdback, Rollout, Stage, StageRun
from rollouts.plans import Policy, StagePlan
from rollouts.selectors import populations


def run_seed(rollout_seed: int, stage_order: int, run_number: int) -> int:
    """The seed of the permutations of one stage run; a positive 53-bit number, so that JSON readers keep it exactly."""
    text = f"{rollout_seed}/{stage_order}/{run_number}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 11


def rule_of(stage: Stage | StagePlan) -> StageRule:
    """A stage as the draw takes it."""
    return StageRule(share=stage.share, minimum_devices=stage.minimum_devices, hand_picked=stage.hand_picked)


def holdback_of(
    stages: Sequence[Stage | StagePlan], everyone: Sequence[Candidate], policy: Policy, seed: int, picked: set[int]
) -> list[int]:
    """The devices that stay behind; none where every stage is hand-picked. Hand-picked devices are never among them."""
    if all(stage.hand_picked for stage in stages):
        return []
    eligible = [candidate for candidate in everyone if candidate.device_id not in picked]
    return cohorts.draw_holdback(eligible, seed=seed, share=policy.hold_back_share)


def hand_picked_devices(selector: populations.Selector, stages: Sequence[Stage]) -> set[int]:
    """Devices that hand-picked stages name, within the rollout's own selector."""
    picked: set[int] = set()
    for stage in stages:
        if stage.hand_picked:
            picked |= set(populations.select([selector, stage.selector]).values_list("id", flat=True))
    return picked


@dataclass(frozen=True)
class StagePreview:
    """What a stage would do if it began now; `reason` explains a stage that matches nobody."""

    stage: Stage
    draw: Draw
    match: populations.Match
    reason: str

    @property
    def excluded(self) -> dict[str, int]:
        """Devices that the stage selects and leaves out, by reason."""
        return self.match.excluded

    @property
    def never_reported(self) -> int:
        """Candidates that no telemetry was ever heard of."""
        return self.match.never_reported

    def lanes(self) -> list[dict[str, Any]]:
        """Per hardware target: devices treated, control, held back, and whether that can be decided."""
        rows = []
        for target in sorted({row.hardware_target for row in self.draw.strata}):
            strata = [row for row in self.draw.strata if row.hardware_target == target]
            treated = sum(row.treated for row in strata)
            control = sum(row.control + row.holdback for row in strata)
            rows.append(
                {
                    "hardware_target": target,
                    "eligible": sum(row.eligible for row in strata),
                    "treated": treated,
                    "control": sum(row.control for row in strata),
                    "holdback": sum(row.holdback for row in strata),
                    "decidable": _decidable(treated, control, self.draw.randomised),
                }
            )
        return rows


def _decidable(treated: int, control: int, randomised: bool) -> str:
    """Why a lane of these sizes cannot be decided by statistics, or ""."""
    if not randomised:
        return "hand-picked: hard limits only, no statistical verdict"
    if min(treated, control) < cohorts.MINIMUM_PER_ARM:
        return (
            f"{treated} treated and {control} control devices: a lane needs {cohorts.MINIMUM_PER_ARM} of each to be "
            "decided, otherwise it is held"
        )
    return ""


@dataclass(frozen=True)
class Plan:
    """A rollout as it would be drawn: written down already, or only being thought of."""

    release: Release
    selector: populations.Selector
    stages: Sequence[Stage]
    policy: Policy
    seed: int
    rollout: Rollout | None = None

    @classmethod
    def of(cls, rollout: Rollout) -> "Plan":
        """The plan that a rollout has."""
        return cls(rollout.release, rollout.selector, list(rollout.stages.all()), rollout.rules, rollout.seed, rollout)

    @cached_property
    def everyone(self) -> populations.Match:
        """The candidates of the whole plan; read once, because it is a large question in a large fleet."""
        return populations.match(self.release, [self.selector], rollout=self.rollout)

    def within(self, selector: populations.Selector) -> populations.Match:
        """The candidates of a stage with a selector of its own."""
        return populations.match(self.release, [self.selector, selector], rollout=self.rollout)


def preview(rollout: Rollout) -> list[StagePreview]:
    """Every stage of a rollout drawn as if it began now, each after the ones before; nothing is written."""
    return preview_plan(Plan.of(rollout))


def preview_plan(plan: Plan) -> list[StagePreview]:
    """Every stage of a plan drawn as if it began now, each after the ones before; nothing is written."""
    everyone = plan.everyone
    rollout = plan.rollout
    treated = set(populations.treated_devices(rollout)) if rollout else set()
    held = set(rollout.holdbacks.values_list("device_id", flat=True)) if rollout else set()
    if not held:
        picked = hand_picked_devices(plan.selector, plan.stages)
        held = set(holdback_of(plan.stages, everyone.candidates, plan.policy, plan.seed, picked))
    found = []
    for stage in plan.stages:
        found.append(_preview_stage(plan, stage, everyone, treated, held))
        treated |= set(found[-1].draw.ids(Arm.TREATED))
    return found


def _preview_stage(
    plan: Plan, stage: Stage, everyone: populations.Match, treated: set[int], held: set[int]
) -> StagePreview:
    match = plan.within(stage.selector) if stage.selector else everyone
    draw = cohorts.draw(population_of(stage, match, everyone, treated, held), rule_of(stage), seed=plan.seed)
    reason = ""
    if not match.candidates:
        reason = populations.explain_empty(plan.release, [plan.selector, stage.selector])
    return StagePreview(stage, draw, match, reason)


def population_of(
    stage: Stage, match: populations.Match, everyone: populations.Match, treated: set[int], held: set[int]
) -> Population:
    """Whom a stage is drawn from, given who was treated and who stays behind."""
    selected = {candidate.device_id for candidate in match.candidates}
    outside = tuple(c for c in everyone.candidates if c.device_id not in selected) if stage.hand_picked else ()
    return Population(match.candidates, frozenset(treated), frozenset(held), outside)


def least_hours(stage: Stage | StagePlan, policy: Policy) -> float:
    """Hours before which no lane of the stage can pass: soak, least observation, the first look."""
    soak = stage.minimum_soak_s / 3600
    return soak if stage.hand_picked else max(soak, policy.minimum_hours, policy.look_interval_s / 3600)


def cohorts_of(rollout: Rollout) -> dict[str, Any]:
    """The cohorts of a rollout for the API: drawn and not yet frozen for stages to come, frozen for those begun.

    `treated`, `control` and `holdback` list device ids; `strata` names the stratum of each device; `seed` is the
    rollout's, `assignment` holds what the retrospective endpoint takes.
    """
    frozen: dict[int, list[StageRun]] = {}
    for run in rollout.runs.select_related("stage").prefetch_related("lanes__hardware_target"):
        frozen.setdefault(run.stage_id, []).append(run)
    previews = {found.stage.pk: found for found in preview(rollout)}
    stages = []
    for stage in rollout.stages.all():
        begun = frozen.get(stage.pk, [])
        stages.append(_frozen_row(stage, begun) if begun else _preview_row(previews[stage.pk], rollout))
    first = next((row for row in stages if row["randomised"]), stages[0] if stages else None)
    return {
        "rollout": rollout.pk,
        "seed": rollout.seed,
        "stages": stages,
        # Of the first stage that is drawn at random, in the form that `retrospectives` takes.
        "treated": first["treated"] if first else [],
        "control": first["control"] + first["holdback"] if first else [],
        "assignment": {
            "seed": first["seed"] if first else rollout.seed,
            "strata": first["strata"] if first else {},
            "rollout": rollout.pk,
        },
    }


def _row(stage: Stage, members: Sequence[tuple[int, str, str]], **more: Any) -> dict[str, Any]:
    return {
        "stage": stage.name,
        "order": stage.order,
        **more,
        **{str(arm): sorted(device for device, found, _ in members if found == arm) for arm in Arm},
        "strata": {str(device): stratum for device, _, stratum in sorted(members)},
    }


def _preview_row(found: StagePreview, rollout: Rollout) -> dict[str, Any]:
    return _row(
        found.stage,
        [(member.device_id, str(member.arm), member.stratum) for member in found.draw.members],
        frozen=False,
        randomised=found.draw.randomised,
        seed=run_seed(rollout.seed, found.stage.order, 1),
        started_at=None,
        lanes=[row | {"least_hours": least_hours(found.stage, rollout.rules)} for row in found.lanes()],
        excluded=found.excluded,
        never_reported=found.never_reported,
        reason=found.reason,
    )


def _frozen_row(stage: Stage, runs: Sequence[StageRun]) -> dict[str, Any]:
    members = list(CohortMember.objects.filter(run__in=runs).values_list("device_id", "arm", "stratum"))
    lanes: list[dict[str, Any]] = []
    for run in runs:
        for target in sorted(lane.hardware_target.slug for lane in run.lanes.all()):
            strata = [row for row in run.strata if row["hardware_target"] == target]
            sizes = {key: sum(row[key] for row in strata) for key in ("eligible", "treated", "control", "holdback")}
            control = sizes["control"] + sizes["holdback"]
            lanes.append(
                {
                    "hardware_target": target,
                    **sizes,
                    "decidable": _decidable(sizes["treated"], control, run.randomised),
                }
            )
    return _row(
        stage,
        members,
        frozen=True,
        randomised=runs[0].randomised,
        seed=runs[0].seed,
        started_at=runs[0].started_at,
        lanes=lanes,
        excluded=runs[0].excluded,
        never_reported=0,
        reason="",
    )


def serials(device_ids: Sequence[int]) -> dict[int, str]:
    """Serials by device id."""
    return dict(Device.objects.filter(pk__in=list(device_ids)).values_list("pk", "serial"))


def held_back(rollout: Rollout) -> list[int]:
    """Devices that stay behind now."""
    return list(Holdback.objects.filter(rollout=rollout, released_at=None).values_list("device_id", flat=True))
