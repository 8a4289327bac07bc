"""Rolling back: installations under way are called off, and every device that may run the release goes back."""

from datetime import datetime

from django.db import transaction

from rollouts.models import Delivery, Lane
from rollouts.selectors.exposure import possibly_on_release
from rollouts.selectors.reversal import destination, last_good_release
from rollouts.services.starting import BATCH


@transaction.atomic
def call_off(lane: Lane, *, now: datetime) -> int:
    """Call off installations that have not ended; returns how many.

    An OTA client that may have begun is asked first (it answers whether it still can); every other device learns of it
    by what it finds desired next.
    """
    open_rows = Delivery.objects.filter(lane=lane, status__in=Delivery.OPEN, cancel_requested_at=None)
    asked = open_rows.exclude(status=Delivery.Status.QUEUED).filter(device__controller__last_poll_at__isnull=False)
    count = asked.update(cancel_requested_at=now)
    return count + open_rows.filter(cancel_requested_at=None).update(
        status=Delivery.Status.CANCELLED, finished_at=now, detail="called off"
    )


@transaction.atomic
def send_back(lane: Lane, *, now: datetime) -> None:
    """Queue a rollback for every device that may run the new release and has an earlier one to go back to.

    The caller has moved the lane, so nothing is offered in between. Who is left is told by `selectors.reversal`.
    """
    call_off(lane, now=now)
    fallback = last_good_release(lane)
    rows = []
    for delivery in possibly_on_release(lane):
        release = destination(delivery, fallback)
        if release is None:
            continue
        rows.append(
            Delivery(
                device_id=delivery.device_id,
                workload_id=delivery.workload_id,
                lane=lane,
                run=delivery.run,
                release=release,
                previous_release_id=delivery.release_id,
                kind=Delivery.Kind.ROLLBACK,
                created_at=now,
            )
        )
    Delivery.objects.bulk_create(rows, batch_size=BATCH)
