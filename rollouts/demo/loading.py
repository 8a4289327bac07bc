"""Building the example, step by step; a second run finds everything and changes nothing."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from drift.services import playbooks
from fleet.actors import Actor
from fleet.models import Device, DeviceGroup, HardwareTarget, Region, Release, User, Workload
from fleet.selectors.saved_views import tour
from fleet.services import artifacts, devices, labels, releases, saved_views
from fleet.services.budgets import write_budget
from fleet.timerange import rfc3339
from rollouts.demo import history, judged, people, story
from rollouts.models import CalibrationResult, Qualification, Rollout
from rollouts.selectors import signatures
from rollouts.services import approvals, deciding, drafting
from telemetry.simulator import demo as fleet_story

ACTOR = Actor.system("example")


@dataclass(frozen=True)
class Loaded:
    """What was built: how many devices and batches, and the rollout to look at (None where it was there before)."""

    devices: int
    batches: int
    rollout: int | None


def load(*, now: datetime, models: Path | None, say: Callable[[str], None]) -> Loaded:
    """Build the example as of `now`; `models` is the folder with the real-model agents' releases, if there is one."""
    playbooks.install_defaults(now=now)
    users = people.create(actor=ACTOR, now=now)
    workload = _labels(now)
    started = now - story.HISTORY
    _releases(workload, users["mara"], started)
    if models:
        _agent_releases(models, users["mara"], started)
    _budgets(workload, users["mara"], started)
    _qualifications(workload, started)
    _calibration(workload, started)
    fleet = fleet_story.fleet()
    known = set(Device.objects.values_list("serial", flat=True))
    new = [
        devices.NewDevice(
            serial=traits.serial,
            hardware_target=HardwareTarget.objects.get(slug=traits.hardware.name),
            region=Region.objects.get(slug=traits.region),
            power_source=traits.power_source,
        )
        for traits in fleet
        if traits.serial not in known
    ]
    batches = 0
    if new:
        devices.register_devices(new, actor=ACTOR, now=started)
        say(f"{len(new)} devices registered")
    if not Rollout.objects.filter(release__workload=workload).exists():
        # Counted from the enrolment, so that a run that was interrupted sends the very same batches again.
        enrolled = Device.objects.get(serial=fleet[0].serial).enrolled_at
        batches = history.load(fleet, until=enrolled + story.HISTORY, now=now, say=say)
    say(f"{judged.label(workload, users['mel'], now=now)} inferences labelled")
    say(f"{judged.evaluate(now=now)} cells of the drift boards computed")
    rollout = _rollout(workload, users, now)
    _tour(workload, users["mara"], now)
    return Loaded(len(fleet), batches, rollout)


def _labels(now: datetime) -> Workload:
    for slug, (name, board, accelerator, revision) in story.TARGETS.items():
        if not HardwareTarget.objects.filter(slug=slug).exists():
            labels.create_label(
                HardwareTarget,
                slug=slug,
                name=name,
                board=board,
                accelerator=accelerator,
                accelerator_revision=revision,
                actor=ACTOR,
                now=now,
            )
    for slug, (name, timezone) in story.REGIONS.items():
        if not Region.objects.filter(slug=slug).exists():
            labels.create_label(Region, slug=slug, name=name, timezone=timezone, actor=ACTOR, now=now)
    labels.ensure_label(DeviceGroup, "internal", actor=ACTOR, now=now)
    workload = Workload.objects.filter(slug=story.WORKLOAD).first()
    return workload or labels.create_label(
        Workload, slug=story.WORKLOAD, name="Lane assist", expected_interval_s=15, actor=ACTOR, now=now
    )


def _releases(workload: Workload, author: User, started: datetime) -> None:
    targets = list(HardwareTarget.objects.filter(slug__in=fleet_story.TARGETS))
    for days, version in enumerate((story.OLDER, fleet_story.RUNNING, fleet_story.CANARY)):
        if Release.objects.filter(workload=workload, version=version).exists():
            continue
        moment = started + timedelta(days=days)
        draft = releases.create_release(
            workload=workload,
            version=version,
            bill_of_materials=history.parts_of(version),
            hardware_targets=targets,
            metadata={"precisions": ["int8"], "anchor": version == story.OLDER},
            created_by=author,
            actor=ACTOR,
            now=moment,
        )
        releases.publish(draft, actor=ACTOR, now=moment)


def _agent_releases(models: Path, author: User, started: datetime) -> None:
    """The two releases of the real model, with the files that the agents download."""
    workload = labels.ensure_label(Workload, "digits", actor=ACTOR, now=started)
    for days, entry in enumerate(json.loads((models / "bom.json").read_text())):
        if Release.objects.filter(workload=workload, version=entry["version"]).exists():
            continue
        moment = started + timedelta(days=days)
        draft = releases.create_release(
            workload=workload,
            version=entry["version"],
            bill_of_materials=entry["bill_of_materials"],
            hardware_targets=list(HardwareTarget.objects.filter(slug__in=entry["hardware_targets"])),
            metadata=entry["metadata"],
            created_by=author,
            actor=ACTOR,
            now=moment,
        )
        file = models / entry["metadata"]["file"]
        with file.open("rb") as stream:
            artifacts.upload_artifact(
                draft,
                artifacts.Description(filename=file.name, part="model"),
                iter(lambda stream=stream: stream.read(1 << 16), b""),
                actor=ACTOR,
                now=moment,
            )
        releases.publish(draft, actor=ACTOR, now=moment)


def _budgets(workload: Workload, author: User, now: datetime) -> None:
    for slug, limits in story.BUDGETS.items():
        target = HardwareTarget.objects.get(slug=slug)
        if not workload.budgets.filter(hardware_target=target).exists():
            write_budget(
                workload=workload,
                hardware_target=target,
                hard_limits=limits,
                margins=story.MARGINS,
                rollback_criteria="Energy or latency above the margin in the canary.",
                escalation_path=story.ESCALATION,
                created_by=author,
                actor=ACTOR,
                now=now,
            )


def _qualifications(workload: Workload, started: datetime) -> None:
    """Device CI of every release on its boards, the newest one in harder modes and on a candidate board too."""
    if Qualification.objects.filter(release__workload=workload).exists():
        return
    for slug, by_release in story.QUALIFICATIONS.items():
        for days, (version, measured) in enumerate(by_release.items()):
            moment = started + timedelta(days=days)
            _qualify(workload, slug, version, measured, moment)
            if version == fleet_story.CANARY:
                for mode, (slower, dearer) in story.HARDER_MODES.items():
                    harder = {
                        name: round(value * (slower if name.startswith("latency") else dearer), 1)
                        for name, value in measured.items()
                        if name.startswith(("latency", "energy"))
                    }
                    _qualify(workload, slug, version, harder, moment, mode=mode)
    _qualify(
        workload,
        story.CANDIDATE_BOARD,
        fleet_story.CANARY,
        story.CANDIDATE_MEASURED,
        started + timedelta(days=2),
        unsupported_operators=list(story.CANDIDATE_UNSUPPORTED),
    )


def _qualify(
    workload: Workload, slug: str, version: str, measured: Mapping[str, float], moment: datetime, **fields: Any
) -> None:
    target = HardwareTarget.objects.get(slug=slug)
    values = {
        "mode": Qualification.Mode.NOMINAL,
        "measurements": {**measured, "fallback_rate": 0.0, "error_rate": 0.0},
        "checks": {"boot": True, "rollback": True, "telemetry": True},
    }
    Qualification.objects.create(
        release=Release.objects.get(workload=workload, version=version),
        hardware_target=target,
        board=target.board,
        accelerator_revision=target.accelerator_revision,
        precision="int8",
        source={"job": f"hil-{slug}-{version}"},
        created_at=moment,
        **(values | fields),
    )


def _calibration(workload: Workload, started: datetime) -> None:
    """How the canary's release does on each calibration set in each precision."""
    release = Release.objects.get(workload=workload, version=fleet_story.CANARY)
    if release.calibration_results.exists():
        return
    CalibrationResult.objects.bulk_create(
        CalibrationResult(
            release=release,
            calibration_set=name,
            kind=kind,
            precision=precision,
            samples=samples,
            accuracy=accuracy,
            measurements={"mean_confidence": confidence},
            created_at=started + timedelta(days=2),
        )
        for (name, kind), by_precision in story.CALIBRATION.items()
        for precision, (samples, accuracy, confidence) in by_precision.items()
    )


def _rollout(workload: Workload, users: dict[str, User], now: datetime) -> int | None:
    """Draft, submit, sign and start the canary; None where there is one already."""
    release = Release.objects.get(workload=workload, version=fleet_story.CANARY)
    if Rollout.objects.filter(release=release).exists():
        return None
    manager = users["mara"]
    rollout = drafting.create_rollout(
        release=release,
        by=manager,
        actor=Actor.of_user(manager),
        now=now,
        change_record=story.CHANGE_RECORD,
        stages=story.STAGES,
        policy=story.POLICY,
        seed=fleet_story.SEED,
    )
    evidence = drafting.submit(rollout, by=manager, actor=Actor.of_user(manager), now=now, reason="Ready for the board")
    for username, remark in story.SIGNERS.items():
        signer = users[username]
        approvals.sign(
            rollout,
            by=signer,
            actor=Actor.of_user(signer),
            now=now,
            remark=remark,
            evidence_hash=evidence.sha256,
        )
    assert signatures.start_sheet(rollout) is not None
    deciding.start(rollout, by=manager, actor=Actor.of_user(manager), now=now, reason="All signed")
    return rollout.pk


def _tour(workload: Workload, owner: User, now: datetime) -> None:
    """The three links of the tour on the fleet home, shared with everyone."""
    if tour():
        return
    began = Device.objects.get(serial=story.FALLING_BACK).enrolled_at
    filled = {
        "release": Release.objects.get(workload=workload, version=fleet_story.RUNNING).pk,
        "older": story.OLDER,
        "device": story.FALLING_BACK,
        "fallback_start": rfc3339(began),
        "fallback_end": rfc3339(began + story.FALLBACK_SHOWN),
        "rollout": Rollout.objects.get(release__workload=workload, release__version=fleet_story.CANARY).pk,
    }
    for step, (name, path, query, note) in enumerate(story.TOUR, start=1):
        saved_views.save_view(
            owner=owner,
            name=name,
            path=path.format(**filled),
            query=query.format(**filled),
            note=note,
            shared=True,
            tour_step=step,
            actor=ACTOR,
            now=now,
        )
