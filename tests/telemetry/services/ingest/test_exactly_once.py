"""Whatever comes twice, out of order or at the same moment counts once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry import columns
from telemetry.exceptions import BatchConflict
from telemetry.models import Batch, DeviceLatest
from tests.telemetry.envelopes import envelope, inferences
from tests.telemetry.services.ingest.sending import rows, send

ADDITIVE = [column.name for column in columns.PARTIAL_VALUES if column.merge == "sum"]


def totals() -> dict[str, object]:
    """What all tables add up to."""
    sums = ", ".join(f"sum({name})::float8" for name in ADDITIVE)
    cells = "sum(count)::int, sum(latency_sum), sum(energy_n)::int"
    return {
        "ledger": list(Batch.objects.order_by("batch_seq").values_list("batch_seq", "inferences", "rejected")),
        "raw": rows("inference", "time, latency_ms, batch_id IS NOT NULL", "time, latency_ms"),
        "minutes": rows("device_minute", sums),
        "buckets": rows("device_minute GROUP BY bucket", "bucket, sum(count)"),
        "cells": rows("device_cell", cells),
        "events": rows("event", "event_id, time", "event_id"),
        "states": rows("device_state", "time, battery_pct", "time"),
        "marks": rows("dirty_bucket", "batch_id IN (SELECT id FROM telemetry_batch), bucket", "bucket"),
    }


def plan(now, n: int) -> list[dict]:
    """Batches of different sizes and kinds, over an hour."""
    batches = []
    for seq in range(n):
        at = now - timedelta(minutes=7 * seq)
        event = {"id": f"00000000-0000-4000-8000-{seq:012d}", "time": at.isoformat(), "type": "reboot"}
        records = inferences(at, seq + 1, step_s=45.0)
        if seq % 3 == 0:
            records.append({"time": at.isoformat(), "latency_ms": -1})
        batches.append(
            envelope(
                now,
                seq=seq,
                inferences=records,
                events=[event],
                states=[{"time": at.isoformat(), "battery_pct": seq}],
            )
        )
    return batches


def empty(device) -> None:
    """Forget everything that the device sent."""
    Batch.objects.all().delete()
    DeviceLatest.objects.all().delete()
    with connection.cursor() as cursor:
        for table in ("inference", "device_minute", "device_cell", "event", "device_state", "dirty_bucket"):
            cursor.execute(f"DELETE FROM {table}")


@pytest.mark.django_db
def test_any_order_and_any_repetition_give_the_same_totals(make_device, now):
    device = make_device()
    batches = plan(now, 6)
    for body in batches:
        send(device, body, now)
    expected = totals()

    @settings(max_examples=25)
    @given(order=st.lists(st.integers(0, 5), max_size=10), last=st.permutations(range(6)))
    def in_any_order(order, last):
        empty(device)
        for seq in [*order, *last]:
            send(device, batches[seq], now)
        assert totals() == expected

    in_any_order()


@pytest.mark.django_db(transaction=True)
def test_one_batch_on_many_connections_at_once_counts_once(make_device, now):
    device = make_device()
    threads, batches = 4, plan(now, 8)
    barrier = Barrier(threads)

    def deliver(_) -> list[bool]:
        try:
            answers = []
            for body in batches:
                barrier.wait(timeout=30)
                answers.append(send(device, body, now)["duplicate"])
            return answers
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(deliver, range(threads)))
    for together in zip(*answers, strict=True):
        assert sorted(together) == [False, True, True, True]
    at_once = totals()
    empty(device)
    for body in batches:
        send(device, body, now)
    assert at_once == totals()


@pytest.mark.django_db(transaction=True)
def test_two_bodies_under_one_number_at_once_keep_one_and_refuse_the_other(make_device, now):
    device = make_device()
    barrier = Barrier(2)

    def deliver(n: int) -> str:
        try:
            barrier.wait(timeout=30)
            send(device, envelope(now, inferences=inferences(now, n)), now)
            return "stored"
        except BatchConflict:
            return "conflict"
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(deliver, (3, 4))) == ["conflict", "stored"]
    assert len(rows("inference", "time")) == Batch.objects.get().inferences


@pytest.mark.django_db(transaction=True)
def test_a_failure_in_the_middle_leaves_nothing_behind(make_device, now):
    device = make_device()
    body = plan(now, 3)[2]
    with connection.cursor() as cursor:
        # written last of all
        cursor.execute("ALTER TABLE telemetry_releasespan ADD CONSTRAINT refuse CHECK (device_id < 0) NOT VALID")
    try:
        with pytest.raises(Exception, match="refuse"):
            send(device, body, now)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE telemetry_releasespan DROP CONSTRAINT refuse")
    assert all(not value or value == [(None,) * len(value[0])] for value in totals().values())
    assert send(device, body, now)["duplicate"] is False
    assert len(rows("inference", "time")) == 3


@pytest.mark.django_db(transaction=True)
def test_a_copy_that_the_server_refuses_is_an_error_and_the_connection_goes_on(make_device, now):
    device = make_device()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE device_cell ADD CONSTRAINT refuse CHECK (count < 0) NOT VALID")
    try:
        with pytest.raises(Exception, match="refuse"):
            send(device, envelope(now), now)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE device_cell DROP CONSTRAINT refuse")
    assert (Batch.objects.count(), rows("inference", "time")) == (0, [])
    assert send(device, envelope(now), now)["duplicate"] is False
