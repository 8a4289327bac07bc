"""Folding: whatever the order, lateness, crashes and rivals, the tiers are the sums of what was stored."""

import threading
from datetime import timedelta

import numpy as np
import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telemetry import columns, store
from telemetry.histograms import HistogramRows, unpack_classes
from telemetry.services import folding
from tests.telemetry.records import Records, aggregate, cells_of, draw_records, make_context, store_batch

HOUR = timedelta(hours=1)


@pytest.fixture
def context(cast, now):
    return make_context(cast.release, now)


def times_between(rng, start, end, n):
    return [start + (end - start) * share for share in np.sort(rng.random(n))]


def rows_of(tier):
    """All rows of a tier as dictionaries."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {tier} ORDER BY 1, 2, 3")
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def assert_row_is(row, expected):
    """A stored row holds the expected values: counts and histograms exactly, sums to rounding."""
    for column in columns.ROLLUP_VALUES:
        got, want = row[column.name], expected[column.name]
        if column.merge == "histogram":
            got, want = (HistogramRows.from_packed([value]) for value in (got, want))
            assert (got.index.tolist(), got.count.tolist()) == (want.index.tolist(), want.count.tolist()), column.name
        elif column.merge == "classes":
            got, want = (unpack_classes([value]) for value in (got, want))
            assert (got.index.tolist(), got.count.tolist()) == (want.index.tolist(), want.count.tolist()), column.name
        elif column.type == "float8":
            assert got == pytest.approx(want, rel=1e-9), column.name
        elif column.type == "float4" and got is not None:
            assert np.float32(got) == np.float32(want), column.name
        else:
            assert got == want, column.name


def assert_tier_is(tier, width, records, keys):
    """A tier holds one row per bucket and key: the aggregate of exactly those records.

    Args:
        records: {(key values): Records} with the key values in the order of `keys`.
    """
    expected = {}
    for key, part in records.items():
        bucket = part.time - part.time % (width // timedelta(microseconds=1))
        for start in np.unique(bucket):
            expected[(store.moment(start), *key)] = aggregate(part.where(bucket == start))
    rows = {(row["bucket"], *(row[name] for name in keys)): row for row in rows_of(tier)}
    assert rows.keys() == expected.keys()
    for key, row in rows.items():
        assert_row_is(row, expected[key])


COHORT = ("context_id", "hardware_target_id", "region_id")


def assert_cohorts_are(records_by_cohort):
    assert_tier_is("cohort_5min", timedelta(minutes=5), records_by_cohort, COHORT)
    assert_tier_is("cohort_hour", HOUR, records_by_cohort, COHORT)
    assert_tier_is("cohort_day", timedelta(days=1), records_by_cohort, COHORT)


@pytest.mark.django_db
def test_tables_have_the_columns_that_the_code_names():
    with connection.cursor() as cursor:
        for table, layout in columns.TABLES.items():
            cursor.execute(
                "SELECT column_name, udt_name, is_nullable = 'YES' FROM information_schema.columns "
                "WHERE table_name = %s AND column_name <> 'marked_at' ORDER BY ordinal_position",
                [table],
            )
            assert cursor.fetchall() == [(c.name, c.type, c.nullable) for c in layout], table


@pytest.mark.django_db
def test_tiers_are_the_sums_of_all_records_by_cohort_and_by_device(cast, context, make_device, now):
    rng = np.random.default_rng(1)
    other = make_context(cast.candidate, now)
    devices = [
        make_device("cam-1", "orin-nx-16", "eu-north"),
        make_device("cam-2", "orin-nx-16", "eu-north"),
        make_device("cam-3", "hailo-8", "us-west"),
    ]
    by_device, by_cohort = {}, {}
    for seq, device in enumerate(devices):
        for label_set in (context, other):
            records = draw_records(rng, times_between(rng, now - 30 * HOUR, now - timedelta(minutes=1), 200))
            store_batch(device, label_set, records, seq=seq * 2 + (label_set is other), received_at=now)
            by_device[(device.pk, label_set.pk)] = records
            cohort = (label_set.pk, device.hardware_target_id, device.region_id)
            by_cohort[cohort] = Records.joined([records, *([by_cohort[cohort]] if cohort in by_cohort else [])])

    result = folding.fold(now)

    assert result.marks > 0
    assert_cohorts_are(by_cohort)
    over = {key: r.where(r.time < store.microseconds(now)) for key, r in by_device.items()}
    assert_tier_is("device_hour", HOUR, over, ("device_id", "context_id"))
    # the running day is not written: its hours are read
    midnight = store.microseconds(now.replace(hour=0))
    assert_tier_is(
        "device_day",
        timedelta(days=1),
        {key: r.where(r.time < midnight) for key, r in by_device.items()},
        ("device_id", "context_id"),
    )


@pytest.mark.django_db
def test_conditions_of_a_batch_are_added_once_however_many_marks_it_has(cast, context, make_device, now):
    rng = np.random.default_rng(12)
    devices = [make_device("cam-1"), make_device("cam-2"), make_device("cam-3", "hailo-8", "us-west")]
    expected: dict = {}
    for device in devices:
        for seq in range(2):
            records = draw_records(rng, times_between(rng, now - 3 * HOUR, now, 80))
            store_batch(device, context, records, seq=seq, received_at=now)
            folding.fold_marks()
            for (hour, throttled, temperature, _, fallback), cell in cells_of(records).items():
                place = (device.hardware_target_id, device.region_id)
                key = (store.moment(hour), context.pk, *place, throttled, temperature, fallback)
                total = expected.setdefault(key, dict.fromkeys(cell, 0))
                for name, value in cell.items():
                    total[name] += value
    names = columns.names(columns.COHORT_CELL)
    stored = {tuple(row[name] for name in names[:7]): row for row in rows_of("cohort_cell")}
    assert stored.keys() == expected.keys()
    for key, row in stored.items():
        assert {name: row[name] for name in names[7:]} == pytest.approx({n: expected[key][n] for n in names[7:]})


@pytest.mark.django_db
def test_folding_again_changes_nothing(context, make_device, now):
    rng = np.random.default_rng(2)
    records = draw_records(rng, times_between(rng, now - 3 * HOUR, now, 100))
    store_batch(make_device(), context, records, seq=1, received_at=now)
    folding.fold(now)
    before = {tier: rows_of(tier) for tier in ("cohort_5min", "cohort_hour", "cohort_day", "device_hour")}
    assert folding.fold(now) == folding.FoldResult()
    assert before == {tier: rows_of(tier) for tier in before}


@pytest.mark.django_db
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)), fold_after=st.sets(st.integers(0, 5)), seed=st.integers(0, 2**32 - 1))
def test_any_order_of_batches_and_folds_gives_the_same_tiers(context, make_device, now, order, fold_after, seed):
    """Late data: batches of six hours arrive in any order, with folds in between."""
    rng = np.random.default_rng(seed)
    with transaction.atomic():
        device = make_device(f"cam-{seed}-{''.join(map(str, order))}")
        parts = [draw_records(rng, times_between(rng, now - (k + 2) * HOUR, now - k * HOUR, 25)) for k in range(6)]
        for arrival, k in enumerate(order):
            store_batch(device, context, parts[k], seq=k, received_at=now)
            if arrival in fold_after:
                folding.fold(now)
        folding.fold(now)
        everything = Records.joined(parts)
        assert_cohorts_are({(context.pk, device.hardware_target_id, device.region_id): everything})
        past = everything.where(everything.time < store.microseconds(now))
        assert_tier_is("device_hour", HOUR, {(device.pk, context.pk): past}, ("device_id", "context_id"))
        transaction.set_rollback(True)


@pytest.mark.django_db
def test_a_device_that_moves_region_is_not_counted_twice(cast, context, make_device, now):
    rng = np.random.default_rng(3)
    device = make_device("cam-1", "orin-nx-16", "eu-north")
    first = draw_records(rng, [now - HOUR] * 10)
    store_batch(device, context, first, seq=1, received_at=now)
    folding.fold(now)
    device.region = cast.west
    device.save()
    second = draw_records(rng, [now - HOUR] * 7)
    store_batch(device, context, second, seq=2, received_at=now)
    folding.fold(now)
    assert_cohorts_are(
        {
            (context.pk, cast.orin.pk, cast.north.pk): first,
            (context.pk, cast.orin.pk, cast.west.pk): second,
        }
    )


@pytest.mark.django_db
def test_the_running_hour_of_a_device_is_left_to_its_minutes_until_it_is_over(context, make_device, now):
    rng = np.random.default_rng(4)
    store_batch(make_device(), context, draw_records(rng, [now + timedelta(minutes=3)] * 5), seq=1, received_at=now)
    assert folding.fold(now + timedelta(minutes=5)).device_hours == 0
    assert folding.fold(now + HOUR - timedelta(seconds=1)).device_hours == 0
    assert folding.fold(now + HOUR).device_hours == 1
    assert rows_of("device_hour")[0]["count"] == 5


@pytest.mark.django_db
def test_more_marks_than_one_transaction_takes_are_all_folded(context, make_device, now, monkeypatch):
    monkeypatch.setattr(folding, "MARKS_PER_TRANSACTION", 3)
    monkeypatch.setattr(folding, "STALE_PER_TRANSACTION", 2)
    rng = np.random.default_rng(5)
    device = make_device()
    parts = []
    for seq in range(6):
        parts.append(draw_records(rng, times_between(rng, now - (seq + 1) * HOUR, now - seq * HOUR, 60)))
        store_batch(device, context, parts[-1], seq=seq, received_at=now)
    records = Records.joined(parts)
    # a batch is never cut: more marks than the limit may be taken, in six passes or fewer
    assert folding.fold_marks().marks >= 3
    result = folding.fold(now)
    assert result.marks > 3
    assert result.device_hours > 2
    assert_cohorts_are({(context.pk, device.hardware_target_id, device.region_id): records})


@pytest.mark.django_db(transaction=True)
def test_a_fold_that_dies_gives_its_marks_back(context, make_device, now):
    rng = np.random.default_rng(6)
    device = make_device()
    records = draw_records(rng, times_between(rng, now - HOUR, now, 50))
    store_batch(device, context, records, seq=1, received_at=now)
    with connection.cursor() as cursor:
        # the last that a fold writes
        cursor.execute("ALTER TABLE stale_bucket ADD CONSTRAINT refuse CHECK (device_id < 0) NOT VALID")
    try:
        with pytest.raises(IntegrityError, match="refuse"):
            folding.fold(now)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE stale_bucket DROP CONSTRAINT refuse")
    assert rows_of("cohort_5min") == []
    folding.fold(now)
    assert_cohorts_are({(context.pk, device.hardware_target_id, device.region_id): records})


@pytest.mark.django_db(transaction=True)
def test_rival_folds_beside_running_ingest_count_everything_once(context, make_device, now):
    devices = [make_device(f"cam-{k}") for k in range(4)]
    start = threading.Barrier(6)
    stored: list[Records] = []
    failures: list[BaseException] = []

    def ingest(number):
        rng = np.random.default_rng(100 + number)
        start.wait()
        for seq in range(8):
            records = draw_records(rng, times_between(rng, now - HOUR, now, 30))
            store_batch(devices[number], context, records, seq=seq, received_at=now)
            stored.append(records)

    def fold(_):
        start.wait()
        for _ in range(6):
            folding.fold(now)

    def guarded(work, number):
        try:
            work(number)
        except BaseException as failure:
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=guarded, args=(ingest, k)) for k in range(4)]
    threads += [threading.Thread(target=guarded, args=(fold, k)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    folding.fold(now)
    device = devices[0]
    assert_cohorts_are({(context.pk, device.hardware_target_id, device.region_id): Records.joined(stored)})


@pytest.mark.django_db(transaction=True)
def test_a_reader_sees_what_was_just_stored(context, make_device, now):
    rng = np.random.default_rng(8)
    assert folding.catch_up(now) == now
    store_batch(make_device(), context, draw_records(rng, [now] * 5), seq=1, received_at=now)
    assert folding.catch_up(now) == now
    assert [row["count"] for row in rows_of("cohort_5min")] == [5]


@pytest.mark.django_db(transaction=True)
def test_a_reader_leaves_a_large_backlog_to_the_task_and_says_since_when(context, make_device, now, monkeypatch):
    monkeypatch.setattr(folding, "MARKS_PER_READ", 2)
    rng = np.random.default_rng(9)
    device = make_device()
    for seq in range(4):
        store_batch(device, context, draw_records(rng, [now] * 5), seq=seq, received_at=now)
    _, since = store.marks_state(10)
    assert folding.catch_up(since + timedelta(seconds=5)) == since
    assert rows_of("cohort_5min") == []
    late = since + timedelta(seconds=31)
    assert folding.catch_up(late) == late
    assert rows_of("cohort_5min")[0]["count"] == 20


@pytest.mark.django_db(transaction=True)
def test_a_reader_does_not_wait_long_for_another_fold(context, make_device, now, monkeypatch):
    monkeypatch.setattr(folding, "LOCK_WAIT", timedelta(milliseconds=50))
    rng = np.random.default_rng(10)
    store_batch(make_device(), context, draw_records(rng, [now] * 5), seq=1, received_at=now)
    held, release = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            store.lock_tiers()
            held.set()
            release.wait(10)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    try:
        _, since = store.marks_state(1)
        assert folding.catch_up(now) == since
    finally:
        release.set()
        holder.join()
