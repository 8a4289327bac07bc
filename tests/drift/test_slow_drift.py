"""Slow drift over stored days: the CUSUM without a control, the daily looks with a hold-back, and their alarms."""

from datetime import datetime, timedelta

import numpy as np
import pytest

from drift.models import Alarm, HoldBackWatch
from drift.services import runs, slow_drift
from drift.services.cohorts import DrawnComparison
from drift.services.looks import PlanDevice
from telemetry.models import ReleaseSpan
from tests.drift.conftest import daily
from tests.telemetry.records import make_context, store_batch

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


@pytest.fixture
def make_days(cast, now, make_device):
    """`make_days(30, drift=0.01)` stores so many days of devices whose energy grows by 1 % a day from day 16 on."""

    def make(
        days: int, *, drift: float = 0.0, devices: int = 8, weather: float = 0.004, missing: frozenset = frozenset()
    ):
        rng = np.random.default_rng(5)
        context = make_context(cast.release, now)
        midnight = now.replace(hour=0)
        start = midnight - days * DAY
        common = rng.normal(0, weather, days)
        made = []
        for index in range(devices):
            device = make_device(f"orin-{index:02d}", "orin-nx-16", "eu-north")
            records = daily(rng, start, days, 25, own=float(rng.lognormal(0, 0.1)))
            day = np.repeat(np.arange(days), 25)
            records.measures["energy"][:] *= np.exp(common[day] + drift * np.clip(day - 15, 0, None))
            if index in missing:
                records = records.where(day < 3)
            store_batch(device, context, records, seq=1, received_at=now)
            ReleaseSpan.objects.create(
                device=device,
                workload=cast.workload,
                release=cast.release,
                first_time=start - timedelta(hours=2),
                last_time=now,
            )
            made.append(device)
        return made

    return make


def run(now):
    """The whole evaluation, as the workers would compute it; the findings by metric."""
    evaluation = runs.plan("slow_drift", now=now)
    for cell in evaluation.cells.select_related("evaluation", "workload", "hardware_target", "release"):
        runs.compute(cell)
    assert runs.finish(evaluation, now=now)
    return {finding.metric: finding for finding in evaluation.findings.all()}


def test_energy_that_creeps_up_day_by_day_crosses_its_limit_and_raises_one_alarm_that_says_what_it_cannot_tell(
    make_days, cast, now
) -> None:
    make_days(34, drift=0.01)
    energy = run(now)["energy_mean"]
    assert energy.verdict == "fail", energy.reason
    detail = energy.detail
    assert max(detail["path"]) > detail["limit"]
    assert len(detail["days"]) == len(detail["change"]) == 34
    assert len(detail["path"]) == 34 - slow_drift.BASELINE_DAYS
    start = now.replace(hour=0) - 34 * DAY
    begun = (datetime.fromisoformat(detail["started_at"]) - start).days
    assert 14 <= begun <= 20
    (alarm,) = Alarm.objects.all()
    assert (alarm.kind, alarm.metric, alarm.hardware_target) == ("slow_drift", "energy_mean", cast.orin)
    assert alarm.playbook.playbook.title == "Slow drift"
    assert alarm.lower < alarm.effect < alarm.upper
    assert "cannot separate environment from model" in alarm.evidence["caveat"]
    assert alarm.started_at.isoformat() == detail["started_at"]


def test_steady_days_stay_under_the_limit_and_raise_nothing(make_days, now) -> None:
    make_days(34)
    assert {finding.verdict for finding in run(now).values()} <= {"pass", "inconclusive"}
    assert Alarm.objects.count() == 0


def test_days_that_vary_by_more_than_the_margin_are_no_pass_though_no_limit_is_crossed(make_days, cast, now) -> None:
    """Weather moves energy by about 6 % from day to day: a week shows no drift, and no 5 % excluded either."""
    make_days(22, weather=0.06)
    energy = run(now)["energy_mean"]
    assert energy.detail["crossed_at"] is None
    assert energy.upper > 0.05
    assert energy.verdict == "inconclusive"
    assert "margin +5.0 %" in energy.reason


def test_before_the_baseline_is_over_nothing_is_said_but_when(make_days, now) -> None:
    make_days(9)
    energy = run(now)["energy_mean"]
    assert energy.verdict == "inconclusive"
    assert "9 of 14 baseline days" in energy.reason


def test_devices_without_a_baseline_do_not_count_and_too_few_are_inconclusive(make_days, now) -> None:
    make_days(20, devices=8, missing=frozenset({0, 1, 2}))
    energy = run(now)["energy_mean"]
    assert (energy.verdict, energy.n_treated) == ("inconclusive", 5)
    assert "6 are needed" in energy.reason


def test_one_device_is_inconclusive(make_days, now) -> None:
    make_days(20, devices=1)
    assert {finding.verdict for finding in run(now).values()} == {"inconclusive"}


class TestAgainstAHoldBack:
    """The same days, with devices that stayed on the release before."""

    @pytest.fixture
    def held_back(self, cast, now, make_device, monkeypatch):
        """Sixteen devices, half of them updated ten days ago; `effect` multiplies their energy since."""

        def make(effect: float) -> list[DrawnComparison]:
            rng = np.random.default_rng(9)
            old, new = make_context(cast.release, now), make_context(cast.candidate, now)
            started = now.replace(hour=0) - 10 * DAY
            devices = []
            for index in range(16):
                device = make_device(f"orin-{index:02d}", "orin-nx-16", "eu-north")
                own, treated = float(rng.lognormal(0, 0.1)), index % 2 == 0
                before = daily(rng, started - 7 * DAY, 7, 40, own=own)
                after = daily(rng, started, 10, 40, own=own)
                after.measures["energy"][:] *= effect if treated else 1.0
                store_batch(device, old, before, seq=1, received_at=now)
                store_batch(device, new if treated else old, after, seq=2, received_at=now)
                for release, first, last in [(cast.release, started - 7 * DAY, started if treated else now)] + (
                    [(cast.candidate, started, now)] if treated else []
                ):
                    ReleaseSpan.objects.create(
                        device=device, workload=cast.workload, release=release, first_time=first, last_time=last
                    )
                devices.append(PlanDevice(device.pk, device.serial, treated, "orin-nx-16", "orin-nx-16"))
            drawn = DrawnComparison(
                reference=7,
                workload_id=cast.workload.pk,
                release_id=cast.candidate.pk,
                devices=tuple(devices),
                seed=3,
                randomised=True,
                pre_start=started - 7 * DAY,
                pre_end=started,
                started_at=started,
                ends_at=started + 14 * DAY,
            )

            class Source:
                """Stands where the setting DRIFT_COHORTS names the app that draws."""

                @staticmethod
                def held_back(now):
                    return [drawn]

            monkeypatch.setattr(slow_drift, "cohorts", lambda: Source)
            return [drawn]

        return make

    def candidate(self, now, cast):
        evaluation = runs.plan("slow_drift", now=now)
        for cell in evaluation.cells.select_related("evaluation", "workload", "hardware_target", "release"):
            runs.compute(cell)
        runs.finish(evaluation, now=now)
        return {finding.metric: finding for finding in evaluation.findings.filter(release=cast.candidate)}

    def test_harm_of_the_release_fails_with_interval_and_an_alarm_against_held_back_devices(
        self, held_back, cast, now
    ) -> None:
        held_back(1.09)
        energy = self.candidate(now, cast)["energy_mean"]
        assert (energy.verdict, energy.n_treated, energy.n_control) == ("fail", 8, 8)
        assert energy.lower < 0.09 < energy.upper
        alarm = Alarm.objects.get(kind="slow_drift", release=cast.candidate)
        assert "against held-back devices" in alarm.summary
        assert "caveat" not in alarm.evidence

    def test_a_day_is_looked_at_once_and_the_next_day_goes_on_from_it(self, held_back, cast, now) -> None:
        held_back(1.0)
        self.candidate(now - DAY, cast)
        self.candidate(now - DAY, cast)
        assert HoldBackWatch.objects.get().looks == 1
        energy = self.candidate(now, cast)["energy_mean"]
        watch = HoldBackWatch.objects.get()
        assert (watch.looks, len(watch.history), watch.planned_looks) == (2, 2, 14)
        assert energy.verdict in ("pass", "inconclusive")
        assert [look["as_of"] for look in energy.detail["looks"]] == [look["as_of"] for look in watch.history]
