"""Gaps follow from the ledger alone, in whatever order batches come."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.models import Device
from telemetry.models import Batch, BatchGap
from telemetry.services.gaps import find_gaps

pytestmark = pytest.mark.django_db


def book(device, *seqs, at, boot_id="boot-1"):
    """Rows of the ledger, as ingest leaves them."""
    Batch.objects.bulk_create(
        Batch(
            device=device,
            boot_id=boot_id,
            batch_seq=seq,
            sha256=b"",
            received_at=at,
            min_time=at + timedelta(seconds=seq),
            max_time=at + timedelta(seconds=seq, milliseconds=900),
        )
        for seq in seqs
    )


def open_gaps(device):
    """First and last missing number of each open gap."""
    rows = BatchGap.objects.filter(device=device, filled_at=None).order_by("boot_id", "missing_from")
    return [(gap.missing_from, gap.missing_to) for gap in rows]


def test_a_gap_lies_between_its_neighbours_in_number_and_in_time(make_device, now):
    device = make_device()
    book(device, 1, 2, 5, 9, at=now)
    assert find_gaps(now, since=now).opened == 2
    assert open_gaps(device) == [(3, 4), (6, 8)]
    gap = BatchGap.objects.get(missing_from=3)
    assert (gap.after_time, gap.before_time) == (now + timedelta(seconds=2.9), now + timedelta(seconds=5))
    assert (gap.missing, gap.found_at) == (2, now)


def test_looking_again_changes_nothing(make_device, now):
    device = make_device()
    book(device, 1, 4, at=now)
    find_gaps(now, since=now)
    again = find_gaps(now + timedelta(minutes=1), since=now)
    assert (again.opened, again.closed) == (0, 0)
    assert BatchGap.objects.get().found_at == now


def test_a_late_batch_fills_its_gap_or_leaves_the_rest_of_it(make_device, now):
    device = make_device()
    later = now + timedelta(hours=1)
    book(device, 1, 3, 10, at=now)
    find_gaps(now, since=now)
    book(device, 2, 6, at=later)
    find_gaps(later, since=later)
    assert open_gaps(device) == [(4, 5), (7, 9)]
    assert set(BatchGap.objects.exclude(filled_at=None).values_list("missing_from", "filled_at")) == {
        (2, later),
        (4, later),
    }


def test_each_boot_counts_for_itself_and_the_first_number_seen_is_no_loss(make_device, now):
    device = make_device()
    book(device, 7, 8, at=now, boot_id="a")
    book(device, 1, 2, at=now, boot_id="b")
    find_gaps(now, since=now)
    assert open_gaps(device) == []


def test_a_gap_between_an_old_batch_and_a_new_one_is_found(make_device, now):
    device = make_device()
    book(device, 1, at=now - timedelta(days=3))
    book(device, 3, at=now)
    find_gaps(now, since=now)
    assert open_gaps(device) == [(2, 2)]


def test_without_a_time_a_pass_goes_on_from_the_last_one(make_device, now):
    device = make_device()
    find_gaps(now)
    book(device, 1, 3, at=now - timedelta(minutes=1))
    book(device, 1, 3, at=now - timedelta(minutes=30), boot_id="before-the-last-pass")
    find_gaps(now + timedelta(minutes=1))
    assert list(BatchGap.objects.values_list("boot_id", flat=True)) == ["boot-1"]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(1, 13)), missing=st.sets(st.integers(2, 11)), cuts=st.sets(st.integers(1, 11)))
def test_the_gaps_are_the_same_in_any_order_of_arrival_and_any_rhythm_of_passes(make_device, now, order, missing, cuts):
    device = Device.objects.first() or make_device()
    Batch.objects.all().delete()
    BatchGap.objects.all().delete()
    arrivals = [seq for seq in order if seq not in missing]
    time = now
    for place, seq in enumerate(arrivals):
        time += timedelta(seconds=1)
        book(device, seq, at=time)
        if place in cuts:
            find_gaps(time, since=time - timedelta(seconds=place + 1))
    find_gaps(time, since=now)
    lost = [seq for first, last in open_gaps(device) for seq in range(first, last + 1)]
    assert lost == sorted(missing)
