"""A completed rollout with devices that stayed behind: harm that comes later is found against them, day by day."""

from datetime import timedelta

import pytest

from drift.models import Alarm, HoldBackWatch
from drift.models.evaluations import Progress
from drift.services import runs
from drift.services.cohorts import cohorts
from rollouts.models import Holdback
from telemetry.services.folding import fold

pytestmark = pytest.mark.django_db(transaction=True)

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
EVERYONE = [{"name": "fleet", "share": 1.0, "minimum_soak_s": 0, "minimum_devices": 1, "minimum_inferences": 100}]
WATCHED = 4 * DAY


@pytest.fixture
def completed(play, cast):
    """A rollout to everyone but a third, drawn, delivered and completed by the product's own services."""
    game = play(
        per_target=21,
        stages=EVERYONE,
        policy={"hold_back_share": 0.33, "watch_s": WATCHED.total_seconds()},
    )
    game.pass_time()
    game.pass_time()
    game.complete(cast.administrator, "The watch against the hold-backs goes on.")
    return game


def watch(now) -> None:
    """The nightly look for slow drift, as the workers take it."""
    fold(now)
    evaluation = runs.plan("slow_drift", now=now)
    for cell in evaluation.cells.select_related("evaluation", "workload", "hardware_target", "release"):
        runs.compute(cell)
    assert runs.finish(evaluation, now=now)
    evaluation.refresh_from_db()
    assert evaluation.status == Progress.DONE


def test_harm_that_begins_after_completion_is_found_against_the_devices_that_stayed_behind(completed, cast) -> None:
    game = completed
    finished = game.now
    drawn = {next(iter({d.hardware_target for d in found.devices})): found for found in cohorts().held_back(finished)}
    held = set(Holdback.objects.values_list("device_id", flat=True))
    assert set(drawn) == {"orin-nx-16", "hailo-8"}
    for target, found in drawn.items():
        arms = {arm: {d.device_id for d in found.devices if d.treated is arm} for arm in (True, False)}
        assert (len(arms[True]), len(arms[False])) == (14, 7)
        assert arms[False] <= held and not arms[True] & held
        assert {device.stratum for device in found.devices} == {
            f"{target} / {region} / any power" for region in ("eu-north", "us-west")
        }
        assert (found.reference, found.release_id, found.randomised) == (game.rollout.pk, cast.candidate.pk, True)
        assert (found.started_at, found.ends_at) == (finished, finished + WATCHED)
        assert found.pre_end <= game.rollout.runs.get().started_at

    game.field.faults["4.2.0", "orin-nx-16"] = {"energy": 1.12}
    midnight = finished.replace(hour=0, minute=0) + DAY
    for day in range(2):
        game.field.send([midnight + day * DAY + 6 * HOUR])
    for day in (1, 2):
        watch(midnight + day * DAY + HOUR)

    watches = HoldBackWatch.objects.filter(release=cast.candidate)
    assert {row.hardware_target.slug: (row.looks, row.planned_looks) for row in watches} == {
        "orin-nx-16": (2, 4),
        "hailo-8": (2, 4),
    }
    (alarm,) = Alarm.objects.filter(kind=Alarm.Kind.SLOW_DRIFT)
    assert (alarm.hardware_target, alarm.release, alarm.metric) == (cast.orin, cast.candidate, "energy_mean")
    assert "against held-back devices" in alarm.summary
    assert alarm.lower < 0.12 < alarm.upper
    assert alarm.devices_affected == 14

    over = finished + WATCHED
    assert cohorts().held_back(over) == []
