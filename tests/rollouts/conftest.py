"""A fleet with history, a rollout ready to start, and the few lines that take it from stage to stage."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from fleet.actors import Actor
from fleet.models import Device, Release, User
from fleet.services.budgets import write_budget
from rollouts.models import Lane, Qualification, Rollout
from rollouts.selectors import signatures
from rollouts.services import advancing, approvals, deciding, drafting, evaluating
from tests.rollouts.field import Field

CHANGE_RECORD = {
    "what_changed": "INT8 quantization per channel instead of per tensor",
    "why": "Two points of accuracy at night",
    "budgets_touched": "Energy on orin-nx-16",
    "tests_run": ["device CI nominal", "thermal soak"],
    "rollback_path": "4.1.0 stays in slot B",
    "telemetry_to_watch": ["energy_mj", "latency_ms"],
    "hardware_caveats": "None known",
}

# Hours become minutes: every rule stays, tests need no week of history.
POLICY = {
    "look_interval_s": 600,
    "window_s": 600,
    "pre_s": 7200,
    "minimum_hours": 0.5,
    "permutations": 2000,
    "hold_back_share": 0.0,
    "confirmed_inferences": 100,
    "install_timeout_s": 1800,
    "silent_intervals": 60,
}
STAGES = [
    {"name": "canary", "share": 0.5, "minimum_soak_s": 1800, "minimum_devices": 6, "minimum_inferences": 1000},
]
MINUTE = timedelta(minutes=1)
DAY_LATER = timedelta(days=1)


def actor_of(user: User) -> Actor:
    """The person as the audit trail names them."""
    return Actor.of_user(user)


@pytest.fixture
def qualify(now) -> Callable[..., Qualification]:
    """Record a passing device-CI run of a release on a hardware target."""

    def make(release: Release, target, mode: str = "nominal", **fields) -> Qualification:
        values = {
            "measurements": {"latency_p95_ms": 26.0, "energy_mj": 41.0},
            "checks": {"boot": True, "rollback": True, "telemetry": True},
        }
        return Qualification.objects.create(
            release=release, hardware_target=target, mode=mode, created_at=now, **(values | fields)
        )

    return make


@pytest.fixture
def make_fleet(make_device) -> Callable[..., list[Device]]:
    """Make devices on both hardware targets in both regions: `make_fleet(24)` makes 24 per target."""

    def make(per_target: int = 24, targets=("orin-nx-16", "hailo-8"), regions=("eu-north", "us-west")) -> list[Device]:
        return [
            make_device(f"{target}-{index:03d}", target, regions[index % len(regions)])
            for target in targets
            for index in range(per_target)
        ]

    return make


@pytest.fixture
def draft(cast, now, qualify) -> Callable[..., Rollout]:
    """Draft a rollout of 4.2.0 by the manager; device CI has passed on both targets."""

    def make(**changes) -> Rollout:
        qualify(cast.candidate, cast.orin)
        qualify(cast.candidate, cast.hailo)
        policy = {**POLICY, **changes.pop("policy", {})}
        fields = {"stages": STAGES, "change_record": CHANGE_RECORD, "seed": 20260302, **changes}
        return drafting.create_rollout(
            release=cast.candidate, by=cast.manager, actor=actor_of(cast.manager), now=now, policy=policy, **fields
        )

    return make


@pytest.fixture
def start(cast) -> Callable[..., Rollout]:
    """Submit, sign with every role that is asked, and start."""

    def go(rollout: Rollout, at: datetime) -> Rollout:
        drafting.submit(rollout, by=cast.manager, actor=actor_of(cast.manager), now=at)
        sign_all(rollout, cast, at)
        deciding.start(rollout, by=cast.manager, actor=actor_of(cast.manager), now=at)
        return rollout

    return go


def sign_all(rollout: Rollout, cast, at: datetime) -> None:
    """Everyone who is asked signs every document that is up for signing."""
    for sheet in signatures.sheets(rollout):
        for role in sheet.missing(at):
            person = getattr(cast, role)
            approvals.sign(
                rollout,
                by=person,
                actor=actor_of(person),
                now=at,
                remark="Looked at the numbers.",
                evidence_hash=sheet.evidence.sha256,
                role=role,
            )


@pytest.fixture
def budget(cast, now) -> None:
    """Energy and p95 limits on both targets, far from what the devices do."""
    for target in (cast.orin, cast.hailo):
        write_budget(
            workload=cast.workload,
            hardware_target=target,
            actor=Actor.system("tests"),
            now=now,
            hard_limits={"latency_p95_ms": 60.0, "energy_mj": 90.0},
        )


class Play:
    """A rollout in the field: time passes, devices send, the product looks."""

    def __init__(self, field: Field, rollout: Rollout, started: datetime) -> None:
        self.field, self.rollout, self.now = field, rollout, started

    def history(self) -> None:
        """Two windows of everybody before the start."""
        self.field.send([self.now - 100 * MINUTE, self.now - 40 * MINUTE])

    def pass_time(self, minutes: int = 10, *, sending=None, lose=()) -> None:
        """Devices update, send what they did in the meantime, and the product takes its next look."""
        self.field.update(self.now, lose=lose)
        if sending is None or sending:
            self.field.send([self.now + 2 * MINUTE], devices=sending)
        self.now += minutes * MINUTE
        result = advancing.advance(self.now)
        assert not result.errors, result.errors
        evaluating.evaluate_due(self.now)

    def lane(self, target: str) -> Lane:
        """A lane as it is now."""
        return Lane.objects.select_related("run", "stage", "hardware_target").get(
            rollout=self.rollout, hardware_target__slug=target
        )

    def complete(self, by: User, reason: str) -> None:
        """Promote every lane past its last stage, over whatever the statistics say."""
        for lane in self.rollout.lanes.all():
            deciding.promote(
                self.rollout,
                by=by,
                actor=actor_of(by),
                now=self.now,
                reason=reason,
                evidence_hash=hash_of(lane),
                override=True,
            )
        assert set(self.states().values()) == {"completed"}

    def states(self) -> dict[str, str]:
        """State by hardware target."""
        return {lane.hardware_target.slug: lane.state for lane in self.rollout.lanes.select_related("hardware_target")}


@pytest.fixture
def play(make_fleet, draft, start, cast, now) -> Callable[..., Play]:
    """A started rollout over a fleet with history: `play(faults={("4.2.0", "orin-nx-16"): {"energy": 1.15}})`."""

    def make(*, faults=None, per_target: int = 24, begin: bool = True, **changes) -> Play:
        fleet = make_fleet(per_target)
        field = Field(faults=faults or {})
        field.add(fleet, "4.1.0")
        rollout = draft(**changes)
        made = Play(field, rollout, now)
        made.history()
        if begin:
            start(rollout, now)
        return made

    return make


QUICK_STAGES = [
    {
        "name": "internal",
        "hand_picked": True,
        "selector": {"regions": ["eu-north"]},
        "minimum_soak_s": 0,
        "minimum_devices": 1,
        "minimum_inferences": 100,
    },
    {"name": "fleet", "share": 1.0, "minimum_soak_s": 0, "minimum_devices": 1, "required_roles": ["ml", "qa"]},
]


@pytest.fixture
def quick(play) -> Callable[..., Play]:
    """A rollout on few devices whose first stage is hand-picked; `advised` takes it to a promotion recommendation."""

    def make(*, advised: bool = True, per_target: int = 4, **changes) -> Play:
        game = play(per_target=per_target, stages=changes.pop("stages", QUICK_STAGES), **changes)
        if advised:
            game.pass_time()
            assert set(game.states().values()) == {"promotion_recommended"}, game.states()
        return game

    return make


def hash_of(lane: Lane) -> str:
    """The hash of the evidence that stands for a lane."""
    return signatures.open_recommendation(lane).evidence.sha256
