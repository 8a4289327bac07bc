"""Device summaries against brute force on raw records: exact over ragged edges, whatever has been folded."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telemetry import columns
from telemetry.histograms import index_of
from telemetry.selectors import summaries
from telemetry.selectors.summaries import device_counts, device_summaries, device_summary_windows
from telemetry.services import folding
from tests.telemetry.records import Records, draw_records, make_context, store_batch

HOUR = timedelta(hours=1)
SPAN = timedelta(days=4)


@pytest.fixture
def history(cast, make_device, now):
    """Four days of two devices on two releases, half of them folded: (devices, {(device id, release id): Records})."""
    rng = np.random.default_rng(11)
    contexts = [make_context(cast.release, now), make_context(cast.candidate, now)]
    devices = [make_device("cam-1"), make_device("cam-2", "hailo-8", "us-west")]
    records = {}
    for part in range(4):
        for device in devices:
            for context in contexts:
                times = [now - SPAN + SPAN * share for share in rng.random(60)]
                drawn = draw_records(rng, times)
                store_batch(device, context, drawn, seq=part * 2 + contexts.index(context), received_at=now)
                key = (device.pk, context.release_id)
                records[key] = Records.joined([drawn, *([records[key]] if key in records else [])])
        if part == 1:
            folding.fold(now)
        if part == 2:
            # folded into cohorts, hours noted as stale and not written
            folding.fold_marks()
    return devices, records


def check(summary, position, records):
    """One device's entries are the sums over exactly these records."""
    assert summary.count[position] == len(records)
    assert {name: n[position] for name, n in summary.outcomes.items()} == {
        name: (records.outcome == code).sum() for code, name in enumerate(columns.OUTCOMES) if code
    }
    assert {name: n[position] for name, n in summary.fallbacks.items()} == {
        name: (records.fallback == code).sum() for code, name in enumerate(columns.FALLBACKS) if code
    }
    assert summary.throttled[position] == records.throttled.sum()
    assert summary.retries[position] == records.retries.sum()
    for measure, values in records.measures.items():
        known = values[~np.isnan(values)].astype(np.float64)
        assert summary.measure_n[measure][position] == known.size
        assert summary.measure_sum[measure][position] == pytest.approx(known.sum(), rel=1e-9)
    latency = records.measures["latency"].astype(np.float64)
    expected = (
        np.bincount(index_of(latency) - summary.latency_offset, minlength=summary.latency_hist.shape[1])
        if len(records)
        else np.zeros(summary.latency_hist.shape[1])
    )
    assert (summary.latency_hist[position] == expected).all()
    confidence = records.measures["confidence"]
    assert summary.confidence_hist[position].sum() == (~np.isnan(confidence)).sum()
    classes = dict(zip(summary.class_ids.tolist(), summary.class_counts[position].tolist(), strict=True))
    assert {k: n for k, n in classes.items() if n} == {
        int(k): int(n) for k, n in zip(*np.unique(records.predicted_class, return_counts=True), strict=True)
    }
    temperature = records.measures["temperature"]
    if (~np.isnan(temperature)).any():
        assert summary.temperature_max[position] == np.nanmax(temperature)
    else:
        assert np.isnan(summary.temperature_max[position])
    assert np.isnat(summary.first_time[position]) == (len(records) == 0)


minutes = st.integers(-30, int(SPAN / timedelta(minutes=1)) + 30)


@pytest.mark.django_db
def test_summaries_over_ragged_spans_are_the_sums_of_the_raw_records(cast, history, now):
    devices, records = history

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(minutes, minutes, st.integers(0, 59), st.booleans())
    def every_span(a, b, seconds, candidate):
        start, end = (now - SPAN + timedelta(minutes=m, seconds=seconds) for m in sorted((a, b)))
        release = cast.candidate if candidate else cast.release
        summary = device_summaries(
            [devices[1].pk, devices[0].pk],
            workload_id=cast.workload.pk,
            release_ids=[release.pk],
            start=start,
            end=end,
        )
        assert summary.device_ids.tolist() == [devices[1].pk, devices[0].pk]
        check(summary, 0, records[(devices[1].pk, release.pk)].between(start, end))
        check(summary, 1, records[(devices[0].pk, release.pk)].between(start, end))

    every_span()


@pytest.mark.django_db
def test_a_release_can_be_left_out_and_all_releases_taken(cast, history, now):
    devices, records = history
    device = devices[0]
    span = {"workload_id": cast.workload.pk, "start": now - SPAN, "end": now}
    without = device_summaries([device.pk], exclude_release_ids=[cast.candidate.pk], **span)
    check(without, 0, records[(device.pk, cast.release.pk)].between(now - SPAN, now))
    both = device_summaries([device.pk], **span)
    joined = Records.joined([records[(device.pk, r.pk)] for r in (cast.release, cast.candidate)])
    check(both, 0, joined.between(now - SPAN, now))


@pytest.mark.django_db
@pytest.mark.parametrize("ragged", [timedelta(0), timedelta(minutes=7, seconds=13)])
@pytest.mark.parametrize("window", [HOUR, 6 * HOUR, timedelta(days=1), timedelta(minutes=50)])
def test_windows_are_the_summaries_of_each_window_and_add_up_to_the_whole(cast, history, now, window, ragged):
    devices, records = history
    start, end = now - SPAN + ragged, now - SPAN + ragged + timedelta(hours=50)
    which = {"workload_id": cast.workload.pk, "release_ids": [cast.release.pk]}
    ids = [device.pk for device in devices]
    windows = device_summary_windows(ids, **which, start=start, end=end, window=window)
    assert len(windows) == -(-(end - start) // window)
    for k, summary in enumerate(windows):
        for position, device_id in enumerate(ids):
            part = records[(device_id, cast.release.pk)]
            check(summary, position, part.between(start + k * window, min(start + (k + 1) * window, end)))
    total = windows[0]
    for summary in windows[1:]:
        total += summary
    for position, device_id in enumerate(ids):
        check(total, position, records[(device_id, cast.release.pk)].between(start, end))


@pytest.mark.django_db
def test_devices_that_are_read_some_at_a_time_have_the_same_summaries(cast, history, now, monkeypatch):
    devices, records = history
    monkeypatch.setattr(summaries, "MOST_ROWS_READ", 1)
    # a device that is asked for twice is read once
    ids = [device.pk for device in devices] + [devices[0].pk]
    span = {"workload_id": cast.workload.pk, "release_ids": [cast.release.pk], "start": now - SPAN, "end": now}
    summary = device_summaries(ids, **span)
    for position, device_id in enumerate(ids[:-1]):
        check(summary, position, records[(device_id, cast.release.pk)].between(now - SPAN, now))
    daily = device_summary_windows(ids[:-1], **span, window=timedelta(days=1))
    assert sum(int(one.count.sum()) for one in daily) == int(summary.count[:-1].sum())
    assert len({one.latency_offset for one in daily}) == 1


@pytest.mark.django_db
def test_summaries_of_disjoint_periods_with_other_bins_and_classes_add_up(cast, history, now):
    devices, records = history
    ids, which = [device.pk for device in devices], {"workload_id": cast.workload.pk}
    middle = now - timedelta(hours=30)
    early = device_summaries(ids, **which, start=now - SPAN, end=middle)
    late = device_summaries(ids, **which, start=middle, end=now)
    total = early + late
    joined = Records.joined([records[(ids[0], r.pk)] for r in (cast.release, cast.candidate)])
    check(total, 0, joined.between(now - SPAN, now))


@pytest.mark.django_db
def test_summaries_of_different_devices_cannot_be_added(cast, history, now):
    devices, _ = history
    span = {"workload_id": cast.workload.pk, "start": now - SPAN, "end": now}
    with pytest.raises(ValueError, match="different devices"):
        device_summaries([devices[0].pk], **span) + device_summaries([devices[1].pk], **span)


@pytest.mark.django_db
def test_devices_without_data_have_zeros_and_no_times(cast, make_device, now):
    silent = make_device("silent")
    span = {"workload_id": cast.workload.pk, "start": now - SPAN, "end": now}
    summary = device_summaries([silent.pk], **span)
    assert summary.count.tolist() == [0]
    assert summary.latency_hist.shape == (1, 0)
    assert summary.confidence_hist.shape == (1, 100)
    assert np.isnat(summary.first_time).all()
    assert device_counts([silent.pk], **span).count.tolist() == [0]
    assert device_summaries([], **span).count.size == 0


@pytest.mark.django_db
def test_counts_are_those_of_the_summaries(cast, history, now):
    devices, records = history
    ids = [device.pk for device in devices]
    counts = device_counts(
        ids, workload_id=cast.workload.pk, release_ids=[cast.candidate.pk], start=now - SPAN, end=now - 3 * HOUR
    )
    for position, device_id in enumerate(ids):
        part = records[(device_id, cast.candidate.pk)].between(now - SPAN, now - 3 * HOUR)
        assert counts.count[position] == len(part)
        assert counts.ok[position] == (part.outcome == 0).sum()
