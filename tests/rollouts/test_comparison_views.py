"""What other pages learn of rollouts: stages on time charts, and whether two releases were compared at random."""

from datetime import timedelta

import pytest

from rollouts.models import Stage
from rollouts.models.cohorts import CohortMember, StageRun
from rollouts.selectors.stage_marks import stage_marks
from telemetry.selectors.selection import Selection

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture
def run(draft, make_device, cast, now):
    """A canary of 4.2.0 on orin-nx-16 that began five hours ago and ended an hour ago, with one treated device."""
    device = make_device()
    rollout = draft()
    lane = rollout.lanes.get(hardware_target=cast.orin)
    made = StageRun.objects.create(
        rollout=rollout,
        stage=Stage.objects.get(rollout=rollout, name="canary"),
        started_at=now - 5 * HOUR,
        ended_at=now - HOUR,
        seed=1,
        randomised=True,
        pre_start=now - 30 * HOUR,
        pre_end=now - 5 * HOUR,
        next_look_at=now,
    )
    made.lanes.add(lane)
    CohortMember.objects.create(
        run=made, lane=lane, device=device, arm="treated", stratum="s", previous_release=cast.release
    )
    return made


def test_a_stage_is_marked_where_it_began_and_ended(run, cast, now):
    found = stage_marks(Selection(workload_id=cast.workload.pk), start=now - 6 * HOUR, end=now)
    assert found == [(now - 5 * HOUR, "canary begins"), (now - HOUR, "canary ends")]
    assert stage_marks(Selection(), start=now - 3 * HOUR, end=now) == [(now - HOUR, "canary ends")]


def test_stages_of_other_hardware_and_other_releases_are_not_marked(run, cast, now):
    span = {"start": now - 6 * HOUR, "end": now}
    assert stage_marks(Selection(hardware_target_ids=(cast.hailo.pk,)), **span) == []
    assert stage_marks(Selection(release_ids=(cast.release.pk,)), **span) == []
    assert len(stage_marks(Selection(hardware_target_ids=(cast.orin.pk,)), **span)) == 2


@pytest.mark.parametrize(
    ("release", "against", "randomised", "words"),
    [
        ("4.2.0", "4.1.0", True, "A randomised rollout compared these releases"),
        ("4.1.0", "4.2.0", True, "An observational comparison"),
        ("4.2.0", "4.1.0", False, "An observational comparison"),
        ("4.2.0", "\0", True, "An observational comparison"),
    ],
)
def test_a_comparison_says_whether_devices_were_drawn_at_random(
    run, browser_client, cast, release, against, randomised, words
):
    StageRun.objects.update(randomised=randomised)
    query = {"workload": "lane-assist", "release": release, "against": against}
    text = browser_client(cast.engineer).get("/panels/comparing-rollouts/", query).content.decode()
    assert words in text
    assert (f"/rollouts/{run.rollout.pk}/" in text) == words.startswith("A randomised")
