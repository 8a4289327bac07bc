"""The drift board: cells over real roll-ups, false discoveries held, alarms only for effects that matter."""

from datetime import timedelta

import numpy as np
import pytest

from drift.models import Alarm, Evaluation, Finding
from drift.services import board, playbooks, runs
from drift.services.findings import METRIC_NAMES
from fleet.models import Budget
from telemetry.models import ReleaseSpan
from tests.drift.conftest import HOUR, hourly
from tests.telemetry.records import make_context, store_batch

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


@pytest.fixture
def make_fleet(cast, now, make_device):
    """Ten devices per hardware target on one release; `energy` multiplies a measure of the newest day on a target."""

    def make(*, energy: dict[str, float] | None = None, devices: int = 10, measure: str = "energy") -> None:
        rng = np.random.default_rng(3)
        context = make_context(cast.release, now)
        for target in ("orin-nx-16", "hailo-8"):
            for index in range(devices):
                device = make_device(f"{target}-{index:02d}", target)
                own = float(rng.lognormal(0, 0.1))
                before = hourly(rng, now - DAY - 48 * HOUR, 48, 20, own=own)
                after = hourly(rng, now - DAY, 24, 20, own=own)
                after.measures[measure][:] *= (energy or {}).get(target, 1.0)
                store_batch(device, context, before, seq=1, received_at=now)
                store_batch(device, context, after, seq=2, received_at=now)
                ReleaseSpan.objects.create(
                    device=device,
                    workload=cast.workload,
                    release=cast.release,
                    first_time=now - 3 * DAY,
                    last_time=now,
                )

    return make


def run(now) -> Evaluation:
    """The whole board, as the workers would compute it."""
    evaluation = board.plan_board(now=now)
    for cell in evaluation.cells.select_related("evaluation"):
        board.compute_cell(cell)
    assert runs.finish(evaluation, now=now)
    evaluation.refresh_from_db()
    return evaluation


def test_more_energy_on_one_target_raises_one_alarm_with_effect_interval_and_attribution(make_fleet, cast, now) -> None:
    make_fleet(energy={"orin-nx-16": 1.08})
    evaluation = run(now)
    assert evaluation.status == "done"
    (alarm,) = Alarm.objects.all()
    assert (alarm.kind, alarm.hardware_target, alarm.metric) == (Alarm.Kind.ENERGY_DRIFT, cast.orin, "energy_mean")
    assert alarm.lower < 0.08 < alarm.upper
    assert alarm.started_at == now - DAY


@pytest.mark.parametrize(
    ("measure", "factor", "kind", "metric"),
    [
        ("confidence", 0.95, Alarm.Kind.CONFIDENCE_DROP, "confidence_mean"),
        ("accelerator_utilization", 0.5, Alarm.Kind.OCCUPANCY_DROP, "accelerator_utilization"),
    ],
)
def test_a_drop_raises_the_alarm_of_its_kind_with_interval_and_playbook(
    measure, factor, kind, metric, make_fleet, cast, now
) -> None:
    playbooks.install_defaults(now=now)
    make_fleet(energy={"orin-nx-16": factor}, measure=measure)
    run(now)
    (alarm,) = Alarm.objects.all()
    assert (alarm.kind, alarm.metric, alarm.hardware_target) == (kind, metric, cast.orin)
    assert alarm.lower < alarm.effect < alarm.upper < 0.0
    assert alarm.playbook.playbook.alarm_kind == kind
    assert alarm.attribution is not None


def test_a_quiet_fleet_raises_none_and_says_no_change_shown(make_fleet, now) -> None:
    make_fleet()
    evaluation = run(now)
    assert Alarm.objects.count() == 0
    energy = evaluation.findings.filter(metric="energy_mean")
    assert {finding.verdict for finding in energy} == {"pass"}
    assert all(finding.n_treated == 10 for finding in energy)


def test_a_real_change_within_the_margin_is_reported_and_raises_no_alarm(make_fleet, now) -> None:
    make_fleet(energy={"orin-nx-16": 1.03, "hailo-8": 1.03})
    evaluation = run(now)
    assert Alarm.objects.count() == 0
    reasons = evaluation.findings.filter(metric="energy_mean").values_list("reason", flat=True)
    assert all("within the margin" in reason for reason in reasons)


def test_too_few_devices_are_inconclusive_and_never_a_pass(make_fleet, now) -> None:
    make_fleet(energy={"orin-nx-16": 1.5}, devices=3)
    evaluation = run(now)
    assert {finding.verdict for finding in evaluation.findings.all()} == {"inconclusive"}
    assert "at least 6" in evaluation.findings.first().reason


def test_a_cell_computed_twice_counts_once(make_fleet, now) -> None:
    make_fleet()
    evaluation = board.plan_board(now=now)
    cell = evaluation.cells.select_related("evaluation").first()
    board.compute_cell(cell)
    board.compute_cell(cell)
    assert Finding.objects.count() == len(METRIC_NAMES)


def test_the_board_waits_for_its_last_cell_and_closes_once(make_fleet, now) -> None:
    make_fleet()
    evaluation = board.plan_board(now=now)
    first, second = evaluation.cells.select_related("evaluation")
    board.compute_cell(first)
    assert not runs.finish(evaluation, now=now)
    runs.fail_cell(second, "OperationalError: away")
    assert runs.finish(evaluation, now=now)
    assert not runs.finish(evaluation, now=now)


def test_the_margin_of_a_budget_decides_where_it_names_the_metric_and_the_finding_says_so(
    make_fleet, cast, now
) -> None:
    """3 % more energy is drift where the budget tolerates 1 %, and within the default margin elsewhere."""
    Budget.objects.create(
        workload=cast.workload, hardware_target=cast.orin, version=3, margins={"energy_mean": 0.01}, created_at=now
    )
    make_fleet(energy={"orin-nx-16": 1.03, "hailo-8": 1.03})
    evaluation = run(now)
    energy = {row.hardware_target.slug: row for row in evaluation.findings.filter(metric="energy_mean")}
    assert {slug: row.verdict for slug, row in energy.items()} == {"orin-nx-16": "fail", "hailo-8": "pass"}
    assert energy["orin-nx-16"].detail == {"margin": 0.01, "margin_budget": 3}
    assert energy["hailo-8"].detail == {"margin": 0.05, "margin_budget": None}
    (alarm,) = Alarm.objects.all()
    assert (alarm.hardware_target, alarm.metric) == (cast.orin, "energy_mean")


def finding_of(**values) -> Finding:
    """A finding of energy with a margin of 5 %, as the board adjusts it."""
    known = {"metric": "energy_mean", "n_treated": 8, "detail": {"margin": 0.05, "margin_budget": None}}
    return Finding(**known | values)


@pytest.mark.parametrize(
    ("effect", "upper", "q", "verdict"),
    [
        (0.01, 0.03, 0.4, "pass"),
        (0.01, 0.09, 0.4, "inconclusive"),
        (0.04, 0.045, 0.01, "pass"),
        (0.04, 0.06, 0.01, "inconclusive"),
        (0.06, 0.09, 0.01, "fail"),
        (0.10, 0.25, 0.06, "inconclusive"),
    ],
)
def test_a_cell_passes_only_where_its_interval_stays_within_the_margin(effect, upper, q, verdict) -> None:
    found, reason = board.settle(finding_of(effect=effect, lower=2 * effect - upper, upper=upper, q_value=q))
    assert found == verdict
    assert "+5.0 %" in reason


def test_cells_that_a_dead_worker_took_along_are_handed_out_again_and_given_up_after_an_hour(make_fleet, now) -> None:
    make_fleet()
    evaluation = board.plan_board(now=now)
    first, second = evaluation.cells.select_related("evaluation").order_by("pk")
    board.compute_cell(first)
    assert runs.resume(now=now + timedelta(minutes=5)) == []
    assert runs.resume(now=now + timedelta(minutes=15)) == [second.pk]
    assert runs.resume(now=now + timedelta(minutes=61)) == []
    second.refresh_from_db()
    evaluation.refresh_from_db()
    assert (second.status, second.error) == ("failed", "No worker finished it within an hour.")
    assert evaluation.status == "done"
    assert {row.verdict for row in evaluation.findings.filter(hardware_target=first.hardware_target)} <= {
        "pass",
        "inconclusive",
    }
