"""What counters rose by is the same in whatever order their readings arrive."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count

import pytest
from django.db import connection, transaction
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleet.models import Device
from telemetry import store
from telemetry.models import Counter
from tests.telemetry.services.ingest.sending import rows

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)

# (second, boot, value): boots and times may repeat, values may fall
READING = st.tuples(st.integers(0, 6), st.sampled_from(["a", "b"]), st.integers(0, 9).map(float))
NAMES = count()


@pytest.fixture
def device(make_device) -> Device:
    """The device that counts."""
    return make_device()


def increases(readings):
    """(second, boot, value, delta, seconds) of readings in the order of time, worked out from the definition."""
    ordered = sorted(set(readings))
    found = []
    for k, (second, boot, value) in enumerate(ordered):
        if not k:
            found.append((second, boot, value, 0.0, 0.0))
            continue
        before = ordered[k - 1]
        again = boot != before[1] or value < before[2]
        found.append((second, boot, value, value if again else value - before[2], float(second - before[0])))
    return found


def stored(device, name, now):
    columns = "time, boot_id, value, delta, seconds"
    found = rows(f"counter_rate WHERE name = '{name}'", columns, "time, boot_id, value")
    return [((time - now) // SECOND, *rest) for time, *rest in found]


@settings(max_examples=40)
@given(st.lists(READING, max_size=8).flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
@example(([(0, "a", 1.0), (2, "a", 5.0), (4, "b", 3.0)], [(4, "b", 3.0), (2, "a", 5.0), (0, "a", 1.0)]))
@example(([(1, "a", 1.0), (1, "a", 2.0), (2, "a", 3.0)], [(1, "a", 2.0), (1, "a", 1.0), (2, "a", 3.0)]))
def test_increases_do_not_depend_on_the_order_of_arrival(device, now, orders):
    for readings in orders:
        name = f"n{next(NAMES)}"
        for second, boot, value in readings:
            store.count_up(device.pk, boot, now + second * SECOND, {name: value})
        assert stored(device, name, now) == increases(readings)
        newest = Counter.objects.filter(name=name).values_list("boot_id", "value").first()
        assert newest == (increases(readings)[-1][1:3] if readings else None)


def test_the_counters_of_one_reading_are_placed_each_by_itself(device, now):
    store.count_up(device.pk, "a", now + 2 * SECOND, {"x": 20, "y": 5})
    store.count_up(device.pk, "a", now, {"x": 10, "z": 1})
    assert stored(device, "x", now) == [(0, "a", 10.0, 0.0, 0.0), (2, "a", 20.0, 10.0, 2.0)]
    assert stored(device, "y", now) == [(2, "a", 5.0, 0.0, 0.0)]
    assert stored(device, "z", now) == [(0, "a", 1.0, 0.0, 0.0)]


@pytest.mark.django_db(transaction=True)
def test_connections_that_bring_the_first_readings_at_once_leave_the_same_increases(device, now):
    start = threading.Barrier(4)

    def count_up(second):
        start.wait()
        try:
            with transaction.atomic():
                store.count_up(device.pk, "a", now + second * SECOND, {"x": float(second), "y": 9.0 - second})
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count_up, (3, 1, 4, 2)))
    assert stored(device, "x", now) == increases([(second, "a", float(second)) for second in (1, 2, 3, 4)])
    assert stored(device, "y", now) == increases([(second, "a", 9.0 - second) for second in (1, 2, 3, 4)])
