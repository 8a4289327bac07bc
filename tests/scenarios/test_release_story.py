"""A whole release, over HTTP: device CI, waiver, signatures, three stages, one bad hardware target, rollback, audit."""

import io
import json
from datetime import timedelta

import pytest
from django.core.management import call_command

from fleet.models import AuditEntry, DeviceGroup
from rollouts.models import Evidence
from rollouts.tasks import advance_deliveries, evaluate_rollouts
from telemetry import allowances
from tests.rollouts.conftest import CHANGE_RECORD, POLICY
from tests.rollouts.field import Field

pytestmark = pytest.mark.django_db(transaction=True)

STAGES = [
    {
        "name": "internal",
        "hand_picked": True,
        "selector": {"groups": ["internal"]},
        "minimum_soak_s": 600,
        "minimum_devices": 2,
        "minimum_inferences": 500,
    },
    {
        "name": "canary",
        "share": 0.5,
        "minimum_soak_s": 1800,
        "minimum_inferences": 1000,
        "required_roles": ["ml", "embedded", "qa"],
    },
    {"name": "fleet", "share": 1.0, "minimum_soak_s": 1800, "minimum_inferences": 1000, "required_roles": ["qa"]},
]
RUN = {
    "mode": "nominal",
    "measurements": {"latency_p95_ms": 26.0, "energy_mj": 41.0},
    "checks": {"boot": True, "rollback": True, "telemetry": True},
}


class HttpField(Field):
    """Devices that do everything over HTTP, each with its own token."""

    def connect(self, api_client, device_token) -> None:
        """Give every device its token."""
        self.clients = {serial: api_client(device_token(device)) for serial, device in self.devices.items()}

    def post(self, clock, *, n: int = 450) -> None:
        """Every device sends one window of the minute before."""
        for device in self.devices.values():
            self._seq[device.serial] = self._seq.get(device.serial, 0) + 1
            body = {
                "schema": "ridgeline.telemetry/1",
                "boot_id": f"{device.serial}-{self.running[device.serial]}",
                "batch_seq": self._seq[device.serial],
                "clock": {"synced": True},
                "context": {"workload": self.workload, "release": self.running[device.serial]},
                "windows": [self.window(device, clock.now - timedelta(minutes=1), n)],
            }
            allowances.refill()
            answer = self.clients[device.serial].post("/api/v1/telemetry", body, format="json")
            assert answer.status_code == 200, answer.content

    def poll(self) -> int:
        """Every device asks what to run, installs it and says so; returns how many did."""
        followed = 0
        for serial, client in self.clients.items():
            wanted = client.get("/api/v1/device/desired?workload=lane-assist").json()
            if wanted["release"] is None or wanted["version"] == self.running[serial]:
                continue
            for status in ("downloading", "installing", "installed", "booted"):
                said = {"action_id": wanted["action_id"], "status": status, "progress": 100}
                assert client.post("/api/v1/device/status", said, format="json").status_code == 200
            self.running[serial] = wanted["version"]
            followed += 1
        return followed


class Story:
    """The people and the product, turning the clock together."""

    def __init__(self, clock, field, api_client, cast) -> None:
        self.clock, self.field, self.cast = clock, field, cast
        self.clients = {
            name: api_client(getattr(cast, name))
            for name in ("manager", "administrator", "ml", "embedded", "hardware", "qa", "engineer")
        }
        self.rollout = 0

    def act(self, who: str, action: str, expect: int = 200, **body) -> dict:
        """Somebody acts on the rollout."""
        answer = self.clients[who].post(f"/api/v1/rollouts/{self.rollout}/{action}", body, format="json")
        assert answer.status_code == expect, answer.content
        return answer.json()

    def lanes(self) -> dict[str, dict]:
        """The lanes by hardware target."""
        rows = self.clients["manager"].get(f"/api/v1/rollouts/{self.rollout}/lanes").json()["results"]
        return {row["hardware_target"]: row for row in rows}

    def states(self) -> dict[str, str]:
        """State by hardware target."""
        return {target: lane["state"] for target, lane in self.lanes().items()}

    def live(self, rounds: int, minutes: int = 10) -> None:
        """Time passes: devices poll and send, beat runs its tasks."""
        for _ in range(rounds):
            self.field.poll()
            self.clock.turn(minutes=minutes)
            self.field.post(self.clock)
            self.clock.turn(seconds=61)
            advance_deliveries()
            evaluate_rollouts()


@pytest.fixture
def story(clock, make_fleet, api_client, device_token, cast) -> Story:
    """48 devices with history on 4.1.0, six of them internal; 4.2.0 draws 15 % more energy on orin-nx-16."""
    devices = make_fleet(24)
    internal = DeviceGroup.objects.create(slug="internal", name="Internal", created_at=clock.now)
    for device in [*devices[:3], *devices[24:27]]:
        device.groups.add(internal)
    field = HttpField(faults={("4.2.0", "orin-nx-16"): {"energy": 1.15}})
    field.add(devices, "4.1.0")
    field.connect(api_client, device_token)
    for _ in range(2):
        field.post(clock)
        clock.turn(minutes=50)
    return Story(clock, field, api_client, cast)


def test_a_release_goes_from_device_ci_to_a_rollback_on_one_target_and_completion_on_the_other(story, cast) -> None:
    manager, release = story.clients["manager"], cast.candidate.pk
    for target in ("orin-nx-16", "hailo-8"):
        budget = {
            "workload": "lane-assist",
            "hardware_target": target,
            "hard_limits": {"latency_p95_ms": 60.0, "energy_mj": 45.0 if target == "orin-nx-16" else 90.0},
            "escalation_path": ["hardware"],
        }
        assert manager.post("/api/v1/budgets", budget, format="json").status_code == 201

    # Device CI fails on orin-nx-16: over the energy budget on the bench.
    bench = [{**RUN, "hardware_target": "hailo-8"}, {**RUN, "hardware_target": "orin-nx-16"}]
    bench[1]["measurements"] = {"latency_p95_ms": 26.0, "energy_mj": 47.5}
    answer = manager.post(f"/api/v1/releases/{release}/qualifications", bench, format="json")
    assert answer.status_code == 201, answer.content
    gate = manager.get(f"/api/v1/releases/{release}/gate").json()
    assert gate["verdict"] == "fail"
    assert gate["reasons"] == ["orin-nx-16: nominal: energy_mj 47.5 mJ is over the budget of 45 mJ"]

    draft = {
        "workload": "lane-assist",
        "release": "4.2.0",
        "stages": STAGES,
        "policy": {**POLICY, "hold_back_share": 0.25, "minimum_hours": 0.4},
        "change_record": CHANGE_RECORD,
        "seed": 7,
    }
    made = manager.post("/api/v1/rollouts", draft, format="json")
    assert made.status_code == 201, made.content
    story.rollout = made.json()["id"]
    story.act("manager", "submit")
    refused = story.act("manager", "start", expect=409)
    assert refused["code"] == "gate_closed"
    assert "energy_mj 47.5" in refused["detail"]

    # A waiver from the escalation path opens it; neither the asker nor the wrong role can grant it.
    waiver = {
        "release": release,
        "hardware_target": "orin-nx-16",
        "limit": "energy_mj",
        "reason": "The bench has the old power stage.",
        "expires_at": (story.clock.now + timedelta(days=7)).isoformat(),
    }
    asked = manager.post("/api/v1/waivers", waiver, format="json")
    assert asked.status_code == 201, asked.content
    path = f"/api/v1/waivers/{asked.json()['id']}/approve"
    assert story.clients["hardware"].post(path, {"remark": "Agreed for a week."}, format="json").status_code == 200
    assert manager.get(f"/api/v1/releases/{release}/gate").json()["verdict"] == "pass"
    # A misspelt name would have started every lane.
    assert story.act("manager", "start", expect=422, hardware_targets="hailo-8")["errors"][0]["code"] == "unknown"
    story.act("manager", "start")

    # The internal stage is hand-picked: it passes by exposure and absolute limits.
    story.live(2)
    assert story.states() == {"hailo-8": "promotion_recommended", "orin-nx-16": "promotion_recommended"}
    lanes = story.lanes()
    assert "no statistical claim" in lanes["hailo-8"]["reason"]

    # The canary needs three signatures per lane, on exactly the evidence that was shown.
    hashes = {target: lane["evidence_hash"] for target, lane in lanes.items()}
    both = list(hashes.values())
    assert story.act("manager", "promote", 409, reason="go", evidence_hash=both)["code"] == "approvals_missing"
    for role in ("ml", "embedded", "qa"):
        for evidence_hash in both:
            story.act(role, "approve", role=role, remark="Read the report.", evidence_hash=evidence_hash)
    assert story.act("ml", "approve", 409, role="ml", remark="again", evidence_hash=both[0])["code"] == "already_signed"
    story.act("manager", "approve", 403, role="qa", remark="mine", evidence_hash=both[0])
    story.act("manager", "promote", reason="Signed by all three.", evidence_hash=both)

    # The canary shows the energy in the field: that lane halts by itself, the other goes on.
    story.live(5)
    states = story.states()
    assert states["orin-nx-16"] == "rollback_recommended", story.lanes()["orin-nx-16"]["verdict_reason"]
    assert states["hailo-8"] == "promotion_recommended", story.lanes()["hailo-8"]["verdict_reason"]
    bad = story.lanes()["orin-nx-16"]
    assert "Energy per inference" in bad["reason"]
    assert bad["recommendation"]["reverse_plan"]["devices"] > 0
    offered = bad["deliveries"]["offered"]
    parts = f"/api/v1/rollouts/{story.rollout}/deliveries"
    assert manager.get(f"{parts}?status=installed").status_code == 200
    assert "confirmed" in manager.get(f"{parts}?status=nope").json()["detail"]
    story.act("engineer", "rollback", 403, reason="I see it too", hardware_target="orin-nx-16")
    story.act(
        "manager",
        "rollback",
        reason="Energy beyond the waiver.",
        hardware_target="orin-nx-16",
        evidence_hash=bad["evidence_hash"],
    )
    good = story.lanes()["hailo-8"]["evidence_hash"]
    story.act("qa", "approve", role="qa", remark="Clean.", evidence_hash=good)
    story.act("manager", "promote", reason="Clean canary.", evidence_hash=good)

    # One lane goes back, the other into the whole fleet and to its end.
    story.live(5)
    states = story.states()
    assert states["orin-nx-16"] == "rolled_back"
    assert story.lanes()["orin-nx-16"]["deliveries"]["offered"] == offered
    assert {story.field.running[serial] for serial in story.field.running if serial.startswith("orin")} == {"4.1.0"}
    assert states["hailo-8"] == "promotion_recommended", story.lanes()["hailo-8"]["verdict_reason"]
    story.act("manager", "promote", reason="Done.", evidence_hash=story.lanes()["hailo-8"]["evidence_hash"])
    assert story.states()["hailo-8"] == "completed"
    assert manager.get(f"/api/v1/rollouts/{story.rollout}").json()["status"] == "completed"

    # The audit trail names everyone, and every verdict comes out the same from what was frozen.
    actions = list(AuditEntry.objects.order_by("id").values_list("action", flat=True))
    for action in ("qualification.recorded", "waiver.approved", "rollout.signed", "lane.harmed", "lane.rollback"):
        assert action in actions
    told = io.StringIO()
    call_command("replay_evidence", "--all", stdout=told)
    replayed = told.getvalue().splitlines()
    assert len(replayed) == Evidence.objects.filter(kind="recommendation").count() >= 5
    assert all(row.endswith(": same") for row in replayed), replayed
    for row in Evidence.objects.filter(kind="recommendation"):
        whole = manager.get(f"/api/v1/rollouts/{story.rollout}/evidence?hash={row.sha256}").json()
        assert whole["replay"] == {"agrees": True, "differences": [], "same_code": True}
        assert json.loads(whole["canonical"]) == whole["body"]
