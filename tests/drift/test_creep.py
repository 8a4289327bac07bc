"""Creep over stored releases: each step within its margin, the sum beyond it, and what is not known left unknown."""

from datetime import timedelta

import numpy as np
import pytest

from drift.models import Alarm, CreepAnchor
from drift.services import creep, runs
from fleet.exceptions import InvalidInput
from fleet.models import AuditEntry, Release
from telemetry.models import ReleaseSpan
from tests.drift.conftest import daily
from tests.telemetry.records import make_context, store_batch

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
WEEK = 7 * DAY


@pytest.fixture
def make_chain(cast, now, make_device):
    """`make_chain([1.03, 1.03, 1.03])` runs a release a week; each multiplies energy by its number, on `devices`."""

    def make(steps: list[float], *, devices: int = 8, silent: int = 0) -> list[Release]:
        rng = np.random.default_rng(11)
        start = now.replace(hour=0) - (len(steps) + 1) * WEEK
        releases = [cast.release]
        for number in range(len(steps)):
            releases.append(
                Release.objects.create(
                    workload=cast.workload, version=f"5.{number}", status="published", created_at=now
                )
            )
        contexts = [make_context(release, now) for release in releases]
        level = np.cumprod([1.0, *steps])
        for index in range(devices):
            device = make_device(f"orin-{index:02d}", "orin-nx-16", "eu-north")
            own = float(rng.lognormal(0, 0.1))
            for number, context in enumerate(contexts):
                begin = start + number * WEEK
                # a silent device runs the second release and hardly records anything of it
                quiet = index < silent and number == 1
                records = daily(rng, begin, 1 if quiet else 7, 5 if quiet else 40, own=own)
                records.measures["energy"][:] *= level[number]
                store_batch(device, context, records, seq=number + 1, received_at=now)
                ReleaseSpan.objects.create(
                    device=device,
                    workload=cast.workload,
                    release=releases[number],
                    first_time=begin + timedelta(minutes=1),
                    last_time=now if number == len(steps) else begin + WEEK,
                )
        return releases

    return make


def run(now):
    """The whole evaluation; the newest release's findings by metric."""
    evaluation = runs.plan("creep", now=now)
    for cell in evaluation.cells.select_related("evaluation", "workload", "hardware_target", "release"):
        runs.compute(cell)
    assert runs.finish(evaluation, now=now)
    newest = evaluation.findings.order_by("-release_id").first().release_id
    return {finding.metric: finding for finding in evaluation.findings.filter(release=newest)}


def test_three_small_steps_are_beyond_the_margin_together_and_raise_an_alarm_that_names_them(
    make_chain, cast, now
) -> None:
    make_chain([1.03, 1.03, 1.03])
    energy = run(now)["energy_mean"]
    assert energy.verdict == "fail"
    assert energy.lower < 1.03**3 - 1 < energy.upper
    assert energy.baseline_release == cast.release
    assert "though no step alone was" in energy.reason
    assert [(step["against"], step["release"]) for step in energy.detail["steps"]] == [
        ("4.1.0", "5.0"),
        ("5.0", "5.1"),
        ("5.1", "5.2"),
    ]
    assert all(step["effect"] == pytest.approx(0.03, abs=0.02) for step in energy.detail["steps"])
    alarm = Alarm.objects.get(kind="release_creep", metric="energy_mean")
    assert alarm.playbook.playbook.title == "Creep across releases"
    assert sum(reading["share"] for reading in alarm.attribution["readings"]) == pytest.approx(1.0)


def test_steps_without_any_change_are_within_the_margin(make_chain, now) -> None:
    make_chain([1.0, 1.0])
    assert run(now)["energy_mean"].verdict == "pass"
    assert Alarm.objects.count() == 0


def test_a_step_that_too_few_devices_recorded_is_not_bridged_by_zero(make_chain, now) -> None:
    make_chain([1.03, 1.03], silent=3)
    energy = run(now)["energy_mean"]
    assert energy.verdict == "inconclusive"
    assert "A gap is not bridged by zero" in energy.reason


def test_the_anchor_begins_the_sum_anew_and_needs_a_reason(make_chain, cast, now) -> None:
    releases = make_chain([1.03, 1.03, 1.03])
    with pytest.raises(InvalidInput) as refusal:
        creep.set_anchor(cast.workload, releases[2], reason=" ", user=cast.manager, now=now)
    assert set(refusal.value.errors) == {"reason"}
    creep.set_anchor(cast.workload, releases[2], reason="Accepted for the new camera", user=cast.manager, now=now)
    assert CreepAnchor.objects.get().release == releases[2]
    assert AuditEntry.objects.filter(action="anchor.set").exists()
    energy = run(now)["energy_mean"]
    assert (energy.baseline_release, len(energy.detail["steps"])) == (releases[2], 1)
    assert energy.verdict != "fail"


def test_an_anchor_alone_has_nothing_to_sum_up(make_chain, now) -> None:
    make_chain([])
    energy = run(now)["energy_mean"]
    assert (energy.verdict, energy.baseline_release) == ("inconclusive", None)
    assert "anchor" in energy.reason


def test_too_few_devices_that_ran_both_leave_the_sum_open(make_chain, now) -> None:
    make_chain([1.2], devices=4)
    energy = run(now)["energy_mean"]
    assert energy.verdict == "inconclusive"
