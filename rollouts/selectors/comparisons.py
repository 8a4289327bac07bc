"""Who was drawn into which arm and who is held back, as the drift app asks for it (the setting DRIFT_COHORTS)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Min

from drift.services.cohorts import Assignment, DrawnComparison
from drift.services.looks import PlanDevice
from rollouts.cohorts import Arm
from rollouts.machine import State
from rollouts.models import CohortMember, Holdback, Lane, Rollout, StageRun
from rollouts.selectors.cohorts import cohorts_of


def assignments(reference: int) -> list[Assignment]:
    """The stages of a rollout as they were drawn, or would be drawn now; empty where there is no such rollout."""
    rollout = Rollout.objects.filter(pk=reference).first()
    if rollout is None:
        return []
    return [
        Assignment(
            stage=stage["stage"],
            seed=stage["seed"],
            strata={int(device): stratum for device, stratum in stage["strata"].items()},
            treated=frozenset(stage["treated"]),
            randomised=stage["randomised"],
        )
        for stage in cohorts_of(rollout)["stages"]
    ]


def held_back(now: datetime) -> list[DrawnComparison]:
    """Every completed lane whose hold-backs still wait: its updated devices against them, since it was completed."""
    lanes = Lane.objects.filter(state=State.COMPLETED, watched_until__gt=now).select_related(
        "rollout", "hardware_target"
    )
    found = (_held_back(lane) for lane in lanes.order_by("pk"))
    return [comparison for comparison in found if comparison is not None]


def _held_back(lane: Lane) -> DrawnComparison | None:
    """Updated devices of a lane against those that stay behind; None where either is missing."""
    rollout = lane.rollout
    runs = StageRun.objects.filter(rollout=rollout, members__lane=lane).distinct()
    behind = set(
        Holdback.objects.filter(
            rollout=rollout, released_at=None, device__hardware_target=lane.hardware_target
        ).values_list("device_id", flat=True)
    )
    members = CohortMember.objects.filter(lane=lane)
    treated = _devices(members.filter(arm=Arm.TREATED, analysed=True).exclude(device__in=behind))
    control = _devices(members.filter(device__in=behind), treated=False)
    first = runs.aggregate(start=Min("pre_start"), end=Min("pre_end"))
    if not treated or not control or first["start"] is None:
        return None
    return DrawnComparison(
        reference=rollout.pk,
        workload_id=rollout.workload_id,
        release_id=rollout.release_id,
        devices=tuple(sorted((*treated, *control), key=lambda device: device.device_id)),
        seed=rollout.seed,
        # Devices that somebody picked were not drawn apart from those that stay behind.
        randomised=not runs.filter(randomised=False).exists(),
        pre_start=first["start"],
        pre_end=first["end"],
        started_at=lane.watched_until - timedelta(seconds=rollout.rules.watch_s),
        ends_at=lane.watched_until,
    )


def _devices(members: Iterable[CohortMember], *, treated: bool | None = None) -> tuple[PlanDevice, ...]:
    """Members as the statistics take them, each device once (its newest membership), sorted by device id."""
    rows = members.order_by("device_id", "-run_id").values_list(
        "device_id", "device__serial", "arm", "lane__hardware_target__slug", "stratum"
    )
    found: dict[int, PlanDevice] = {}
    for pk, serial, arm, target, stratum in rows:
        arm_treated = arm == Arm.TREATED if treated is None else treated
        found.setdefault(pk, PlanDevice(pk, serial, arm_treated, target, stratum))
    return tuple(found.values())
