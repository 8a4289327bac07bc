"""Series, distributions, heatmaps and class mixes against brute force on the raw records."""

import itertools
from datetime import timedelta

import numpy as np
import pytest

from telemetry import columns, store
from telemetry.histograms import RELATIVE_ERROR
from telemetry.metrics import METRICS, find_metric
from telemetry.models import Batch, BatchGap, ClassLabel
from telemetry.selectors.distributions import class_mix, covered_range, metric_distributions, metric_heatmap
from telemetry.selectors.selection import DIMENSIONS, Selection
from telemetry.selectors.series import metric_series, series_step
from telemetry.services import folding
from tests.telemetry.records import Records, draw_records, make_context, store_batch

HOUR = timedelta(hours=1)
SPAN = timedelta(hours=40)


@pytest.fixture
def fleet(cast, make_device, now):
    """Forty hours of three devices on two releases and two power modes: [(device, context, Records)]."""
    rng = np.random.default_rng(21)
    contexts = [
        make_context(cast.release, now, power_mode="15W"),
        make_context(cast.release, now, power_mode="30W"),
        make_context(cast.candidate, now, power_mode="15W"),
    ]
    devices = [
        make_device("cam-1", "orin-nx-16", "eu-north"),
        make_device("cam-2", "orin-nx-16", "us-west"),
        make_device("cam-3", "hailo-8", "us-west"),
    ]
    stored = []
    for device in devices:
        for seq, context in enumerate(contexts):
            records = draw_records(rng, [now - SPAN + SPAN * share for share in rng.random(150)])
            store_batch(device, context, records, seq=seq, received_at=now)
            stored.append((device, context, records))
    folding.fold(now)
    return stored


def labels(device, context):
    return {
        "release": context.release.version,
        "hardware_target": device.hardware_target.slug,
        "region": device.region.slug,
        "power_mode": context.power_mode,
        "device": device.serial,
    }


def joined(stored, wanted):
    """All records whose labels are those of a group."""
    parts = [r for device, context, r in stored if wanted.items() <= labels(device, context).items()]
    return Records.joined(parts) if parts else None


def in_step(records, start, step):
    first = store.microseconds(start)
    return records.where((records.time >= first) & (records.time < first + step // timedelta(microseconds=1)))


def known(records, measure):
    values = records.measures[measure].astype(np.float64)
    return values[~np.isnan(values)]


def check_point(series, group, k, records):
    """One point of a group is computed from exactly these records."""
    metric = series.metric
    n = len(known(records, metric.measure)) if metric.measure else len(records)
    assert group.count[k] == n
    if n == 0:
        assert all(np.isnan(values[k]) for values in group.values.values())
        return
    if metric.measure:
        values = known(records, metric.measure)
        assert group.values["mean"][k] == pytest.approx(values.mean(), rel=1e-9)
        for name, p in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            if metric.histogram:
                bound = {"abs": 0.005 + 1e-9} if metric.bounded else {"rel": RELATIVE_ERROR + 1e-9}
                assert group.values[name][k] == pytest.approx(np.quantile(values, p), **bound)
        return
    shares = {
        "fallback_rate": (records.fallback > 0).mean(),
        "error_rate": (records.outcome > 0).mean(),
        "retry_rate": records.retries.sum() / len(records),
        "throttled_share": records.throttled.mean(),
        # records do not tell it
        "idle_share": np.nan,
    }
    assert group.values["mean"][k] == pytest.approx(shares[metric.name], nan_ok=True)
    if metric.name == "fallback_rate":
        for code, kind in enumerate(columns.FALLBACKS):
            if code:
                assert group.values[kind][k] == pytest.approx((records.fallback == code).mean())
    if metric.name == "error_rate":
        assert group.values["out_of_memory"][k] == pytest.approx((records.outcome == 3).mean())


@pytest.mark.django_db
def test_each_metric_over_time_is_that_of_the_raw_records(cast, fleet, now):
    for metric in METRICS.values():
        series = metric_series(
            Selection(workload_id=cast.workload.pk),
            metric,
            start=now - SPAN,
            end=now,
            step=HOUR,
            group_by=("release",),
        )
        assert [group.group for group in series.groups] == [{"release": "4.1.0"}, {"release": "4.2.0"}]
        assert len(series.times) == 40
        for group in series.groups:
            records = joined(fleet, group.group)
            for k, start in enumerate(series.times):
                check_point(series, group, k, in_step(records, start, HOUR))


@pytest.mark.django_db
@pytest.mark.parametrize("devices", [False, True])
def test_any_grouping_and_step_from_cohorts_or_devices_is_that_of_the_raw_records(cast, fleet, now, devices):
    ids = tuple(sorted({device.pk for device, _, _ in fleet})) if devices else None
    groupings = [(), ("hardware_target",), ("region", "power_mode"), DIMENSIONS, *([("device",)] if devices else [])]
    steps = [timedelta(minutes=5), timedelta(minutes=30), 2 * HOUR, timedelta(days=1)]
    for group_by, step in itertools.product(groupings, steps):
        series = metric_series(
            Selection(workload_id=cast.workload.pk, device_ids=ids),
            METRICS["latency"],
            start=now - SPAN,
            end=now,
            step=step,
            group_by=group_by,
        )
        expected = {tuple(labels(d, c)[name] for name in group_by) for d, c, _ in fleet}
        assert {tuple(group.group.values()) for group in series.groups} == expected
        for group in series.groups:
            records = joined(fleet, group.group)
            for k in range(0, len(series.times), 7):
                check_point(series, group, k, in_step(records, series.times[k], step))
        assert series.count == sum(len(records) for _, _, records in fleet)


@pytest.mark.django_db
@pytest.mark.parametrize("devices", [False, True])
def test_each_filter_leaves_the_records_that_pass_it(cast, fleet, now, devices):
    ids = tuple(sorted({device.pk for device, _, _ in fleet})) if devices else None
    chosen = ids_of(fleet, region="us-west") if devices else None
    cases = {
        "release": (Selection(release_ids=(cast.candidate.pk,), device_ids=ids), {"release": "4.2.0"}),
        "power_mode": (Selection(power_modes=("30W",), device_ids=ids), {"power_mode": "30W"}),
        "region": (
            Selection(device_ids=chosen) if devices else Selection(region_ids=(cast.west.pk,)),
            {"region": "us-west"},
        ),
        "nothing": (Selection(release_ids=(), device_ids=ids), {"release": "none"}),
    }
    for selection, wanted in cases.values():
        series = metric_series(selection, METRICS["energy"], start=now - SPAN, end=now, step=HOUR)
        records = joined(fleet, wanted)
        assert series.count == (len(known(records, "energy")) if records else 0)


def ids_of(fleet, **wanted):
    return tuple(sorted({d.pk for d, c, _ in fleet if wanted.items() <= labels(d, c).items()}))


@pytest.mark.django_db
def test_one_device_can_be_read_by_the_minute(cast, fleet, now):
    device, context, records = fleet[0]
    selection = Selection(device_ids=(device.pk,), release_ids=(context.release_id,), power_modes=("15W",))
    step = series_step(selection, now - 2 * HOUR, now, now=now, wanted=timedelta(minutes=1))
    assert step == timedelta(minutes=1)
    series = metric_series(selection, METRICS["latency"], start=now - 2 * HOUR, end=now, step=step)
    for k, start in enumerate(series.times):
        part = in_step(records, start, step)
        assert series.groups[0].count[k] == len(part)


@pytest.mark.django_db
def test_many_devices_over_days_are_answered_by_the_hour(cast, now):
    many = Selection(device_ids=tuple(range(1000)))
    assert series_step(many, now - timedelta(days=1), now, now=now) == HOUR
    assert series_step(Selection(), now - timedelta(days=1), now, now=now) == timedelta(minutes=5)
    assert series_step(many, now - timedelta(hours=2), now, now=now) == timedelta(minutes=5)


@pytest.mark.django_db
@pytest.mark.parametrize("devices", [False, True])
def test_distributions_hold_exactly_the_values_of_the_raw_records(cast, fleet, now, devices):
    ids = tuple(sorted({device.pk for device, _, _ in fleet})) if devices else None
    selection = Selection(workload_id=cast.workload.pk, device_ids=ids)
    start, end = covered_range(selection, now - timedelta(hours=30, minutes=7), now - HOUR, now=now)
    for metric in [metric for metric in METRICS.values() if metric.histogram]:
        found = metric_distributions(selection, metric, start=start, end=end, group_by=("release",))
        assert [d.group["release"] for d in found] == ["4.1.0", "4.2.0"]
        for distribution in found:
            values = known(joined(fleet, distribution.group).between(start, end), metric.measure)
            assert distribution.count == values.size == distribution.zero + distribution.counts.sum()
            assert distribution.mean == pytest.approx(values.mean(), rel=1e-9)
            side = "left" if metric.bounded else "right"
            below = np.searchsorted(np.sort(values), distribution.edges[1:-1], side=side) / values.size
            assert np.allclose(distribution.ecdf[:-1], below)
            assert distribution.ecdf[-1] == pytest.approx(1)
            bound = {"abs": 0.0051} if metric.bounded else {"rel": 0.011}
            assert distribution.quantiles["p95"] == pytest.approx(np.quantile(values, 0.95), **bound)


@pytest.mark.django_db
def test_a_range_is_widened_to_whole_rows_and_never_cut(now):
    start, end = now - timedelta(minutes=7, seconds=5), now - timedelta(minutes=1, seconds=30)
    assert covered_range(Selection(), start, end, now=now) == (now - timedelta(minutes=10), now)
    minutes = (now - timedelta(minutes=8), now - timedelta(minutes=1))
    assert covered_range(Selection(device_ids=(1,)), start, end, now=now) == minutes
    old = now - timedelta(days=200)
    assert covered_range(Selection(), old, old + HOUR, now=now)[0] == old.replace(minute=0)


@pytest.mark.django_db
@pytest.mark.parametrize("most", [120, 10])
def test_a_heatmap_counts_every_value_once_in_the_bin_and_step_where_it_lies(cast, fleet, now, most):
    heatmap = metric_heatmap(Selection(), METRICS["latency"], start=now - SPAN, end=now, step=2 * HOUR, most_bins=most)
    assert heatmap.counts.shape == (heatmap.edges.size - 1, len(heatmap.times))
    assert heatmap.counts.shape[0] <= most
    records = joined(fleet, {})
    for k, start in enumerate(heatmap.times):
        values = np.sort(known(in_step(records, start, 2 * HOUR), "latency"))
        expected = np.diff(np.searchsorted(values, heatmap.edges, side="right"))
        assert (heatmap.counts[:, k] == expected).all()


@pytest.mark.django_db
def test_a_class_mix_counts_predictions_by_name(cast, fleet, now):
    for pk in range(1, 6):
        ClassLabel.objects.create(pk=pk, workload=cast.workload, name=f"sign-{pk}")
    mixes = class_mix(Selection(), start=now - SPAN, end=now, group_by=("hardware_target",))
    for mix in mixes:
        predicted = joined(fleet, mix.group).predicted_class
        assert mix.counts == {f"sign-{k}": int((predicted == k).sum()) for k in range(1, 6)}


@pytest.mark.django_db
def test_completeness_counts_admitted_drops_and_missing_batches_where_they_happened(cast, fleet, now):
    device, context, _ = fleet[0]
    BatchGap.objects.create(
        device=device,
        boot_id="boot",
        missing_from=3,
        missing_to=4,
        after_time=now - 2 * HOUR,
        before_time=now,
        found_at=now,
    )
    before = Batch.objects.get(device=device, batch_seq=2)
    series = metric_series(
        Selection(workload_id=cast.workload.pk),
        METRICS["latency"],
        start=now - SPAN,
        end=now,
        step=HOUR,
        group_by=("release", "region"),
    )
    lossy = {"release": before.context.release.version, "region": "eu-north"}
    for group in series.groups:
        received = in_steps(joined(fleet, group.group), series)
        lost = np.zeros(len(series.times))
        if group.group == lossy:
            # two batches as large as the one before them, over the last two hours
            lost[-2:] = 150
        expected = np.divide(received, received + lost, out=np.full(40, np.nan), where=received + lost > 0)
        assert np.allclose(group.completeness, expected, equal_nan=True)

    BatchGap.objects.update(filled_at=now)
    Batch.objects.filter(pk=before.pk).update(dropped_inferences=30, min_time=now - timedelta(minutes=90))
    filled = metric_series(
        Selection(region_ids=(cast.north.pk,)), METRICS["latency"], start=now - SPAN, end=now, step=HOUR
    )
    received = in_steps(joined(fleet, {"region": "eu-north"}), filled)
    assert filled.groups[0].completeness[-2] == pytest.approx(received[-2] / (received[-2] + 30))
    assert filled.groups[0].completeness[-1] == 1


def in_steps(records, series):
    return np.array([len(in_step(records, start, series.step)) for start in series.times])


def test_metrics_are_found_by_the_names_of_wire_and_budget():
    assert find_metric("latency_ms") is METRICS["latency"]
    assert find_metric("energy_mj") is METRICS["energy"]
    assert find_metric("throttled") is METRICS["throttled_share"]
    assert find_metric("happiness") is None
