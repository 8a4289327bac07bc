"""Whatever moves with time alone: confirmations, time-outs, retries, expiries, the end of watch periods."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Coalesce

from fleet.actors import Actor
from rollouts import machine
from rollouts.machine import Event, State
from rollouts.models import Delivery, Holdback, Lane, Recommendation
from rollouts.plans import Policy
from rollouts.selectors import signatures
from rollouts.selectors.exposure import exposure_of
from rollouts.services import advising, confirming, progressing, transitions, webhooks
from telemetry.models import DeviceLatest

log = structlog.get_logger(__name__)

ACTOR = Actor.system("rollout")
Status = Delivery.Status
# Until a release is confirmed a device is heard of within this many expected intervals, or it is silent.
_ENDED_BADLY = (Status.FAILED, Status.TIMED_OUT)


@dataclass
class Advanced:
    """What one pass did, by step; a step that raised is named with its error and held up no other."""

    done: dict[str, int] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def advance(now: datetime) -> Advanced:
    """One pass over everything that waits for time or telemetry."""
    steps: dict[str, Callable[[datetime], int]] = {
        "confirmed": confirming.confirm,
        "timed_out": time_out,
        "silent": note_silence,
        "cancelled": finish_cancellations,
        "retried": retry,
        "progressed": progress_lanes,
        "expired": expire,
        "released": release_holdbacks,
        "webhooks": lambda moment: webhooks.send_due(moment)["sent"],
    }
    result = Advanced()
    for name, step in steps.items():
        try:
            result.done[name] = step(now)
        except Exception as error:  # the other steps do not wait for this one
            log.exception("advancing failed", step=name)
            result.errors[name] = f"{type(error).__name__}: {error}"
    return result


def _policy_of(delivery: Delivery) -> Policy:
    return delivery.lane.rollout.rules if delivery.lane else Policy()


def time_out(now: datetime) -> int:
    """Fail installations that are stuck.

    A device that began and stopped saying how far it is; or one that was offered the release, goes on sending
    telemetry, and never began. A device that is merely offline since the offer is neither.
    """
    rows = (
        Delivery.objects.filter(
            status__in=[Status.OFFERED, Status.DOWNLOADING, Status.INSTALLING], cancel_requested_at=None
        )
        .select_related("lane__rollout")
        .annotate(since=Coalesce("progress_at", "offered_at"))
    )
    count = 0
    for row in rows.iterator(chunk_size=2_000):
        deadline = row.since + timedelta(seconds=_policy_of(row).install_timeout_s)
        if now < deadline or (row.status == Status.OFFERED and not _heard(row, deadline)):
            continue
        count += Delivery.objects.filter(pk=row.pk, status=row.status, progress_at=row.progress_at).update(
            status=Status.TIMED_OUT, finished_at=now, detail=f"nothing heard of it since {row.since:%Y-%m-%d %H:%M} UTC"
        )
    return count


def _heard(row: Delivery, since: datetime) -> bool:
    return DeviceLatest.objects.filter(device=row.device_id, workload=row.workload_id, last_seen_at__gte=since).exists()


def note_silence(now: datetime) -> int:
    """Silent after the update: installed, and no inference on the release for several expected intervals."""
    rows = (
        Delivery.objects.filter(
            status__in=[Status.INSTALLED, Status.BOOTED], kind=Delivery.Kind.INSTALL, cancel_requested_at=None
        )
        .select_related("lane__rollout", "workload")
        .annotate(since=Coalesce("booted_at", "installed_at"))
    )
    count = 0
    for row in rows.iterator(chunk_size=2_000):
        quiet = timedelta(seconds=_policy_of(row).silent_intervals * row.workload.expected_interval_s)
        seen = (
            DeviceLatest.objects.filter(device=row.device_id, workload=row.workload_id, release=row.release_id)
            .values_list("last_seen_at", flat=True)
            .first()
        )
        if now - max(row.since, seen or row.since) <= quiet:
            continue
        count += Delivery.objects.filter(pk=row.pk, status=row.status).update(
            status=Status.SILENT, finished_at=now, detail="installed, and not heard of with the new release since"
        )
    return count


def finish_cancellations(now: datetime) -> int:
    """An OTA client that never answered the request to let go is taken to have let go."""
    rows = Delivery.objects.filter(status__in=Delivery.OPEN, cancel_requested_at__isnull=False)
    count = 0
    for row in rows.select_related("lane__rollout"):
        if now - row.cancel_requested_at > timedelta(seconds=_policy_of(row).install_timeout_s):
            count += Delivery.objects.filter(pk=row.pk, status=row.status).update(
                status=Status.CANCELLED, finished_at=now, detail="called off; the device never answered"
            )
    return count


def retry(now: datetime) -> int:
    """Queue the next attempt of failed deliveries; after several failures the device rests in the penalty box."""
    newer = Delivery.objects.filter(device=OuterRef("device"), workload=OuterRef("workload"), pk__gt=OuterRef("pk"))
    forward = Q(kind=Delivery.Kind.INSTALL) & Q(lane__state__in=machine.OFFERING)
    back = Q(kind=Delivery.Kind.ROLLBACK) & Q(lane__state__in=[State.ROLLING_BACK, State.ROLLED_BACK])
    rows = Delivery.objects.filter(forward | back, ~Exists(newer), status__in=_ENDED_BADLY)
    count = 0
    for row in rows.select_related("lane__rollout"):
        policy = _policy_of(row)
        resting = policy.penalty_s if row.attempt % policy.max_attempts == 0 else policy.retry_after_s
        try:
            with transaction.atomic():
                Delivery.objects.create(
                    device_id=row.device_id,
                    workload_id=row.workload_id,
                    lane=row.lane,
                    run_id=row.run_id,
                    release_id=row.release_id,
                    previous_release_id=row.previous_release_id,
                    kind=row.kind,
                    attempt=row.attempt + 1,
                    blocked_until=(row.finished_at or now) + timedelta(seconds=resting),
                    created_at=now,
                )
        except IntegrityError:
            # Another worker was quicker.
            continue
        count += 1
    return count


def progress_lanes(now: datetime) -> int:
    """Move lanes whose devices have settled, whose soak is over, or whose rollback is done."""
    states = (State.DEPLOYING, State.SOAKING, State.ROLLING_BACK)
    # A stage that is still being written has fewer devices than it will: nothing about it is settled.
    rows = Lane.objects.filter(state__in=states).exclude(run__isnull=False, run__ready_at=None)
    ids = rows.order_by("pk").values_list("pk", flat=True)
    return sum(_progress_lane(pk, now) for pk in list(ids))


@transaction.atomic
def _progress_lane(lane_id: int, now: datetime) -> int:
    lane = (
        Lane.objects.select_for_update(of=("self",))
        .select_related("hardware_target", "stage", "run__rollout__workload", "rollout__release__workload")
        .get(pk=lane_id)
    )
    before = lane.state
    if lane.state == State.ROLLING_BACK:
        progressing.finish_rollback(lane, now)
    elif lane.run is not None and not lane.run.is_starting:
        progressing.progress(lane, exposure_of(lane.run, lane, now), now)
    return int(lane.state != before)


def expire(now: datetime) -> int:
    """End submissions and recommendations that waited too long, with that outcome on record."""
    waiting = Lane.objects.filter(state=State.AWAITING_APPROVAL, rollout__submitted_at__isnull=False)
    advised = Lane.objects.filter(
        Exists(
            Recommendation.objects.filter(lane=OuterRef("pk"), status=Recommendation.Status.OPEN, expires_at__lte=now)
        ),
        state=State.PROMOTION_RECOMMENDED,
    )
    ids = [*waiting.values_list("pk", flat=True), *advised.values_list("pk", flat=True)]
    return sum(_expire_lane(pk, now) for pk in ids)


@transaction.atomic
def _expire_lane(lane_id: int, now: datetime) -> int:
    lane = (
        Lane.objects.select_for_update(of=("self",))
        .select_related("hardware_target", "stage", "rollout__release__workload")
        .get(pk=lane_id)
    )
    if lane.state == State.AWAITING_APPROVAL:
        submitted, days = lane.rollout.submitted_at, lane.rollout.rules.approval_ttl_s / 86_400
        if submitted is None or now - submitted <= timedelta(days=days):
            return 0
        transitions.move(
            lane, Event.APPROVAL_EXPIRED, actor=ACTOR, now=now, reason=f"not started within {days:g} days of submission"
        )
        return 1
    standing = signatures.open_recommendation(lane)
    if lane.state != State.PROMOTION_RECOMMENDED or standing is None or standing.expires_at is None:
        return 0
    if standing.expires_at > now:
        return 0
    advising.close(lane, Recommendation.Status.EXPIRED, now=now)
    transitions.move(
        lane,
        Event.RECOMMENDATION_EXPIRED,
        actor=ACTOR,
        now=now,
        reason=f"nobody decided on the recommendation of {standing.created_at:%Y-%m-%d %H:%M} UTC in time",
        evidence_hash=standing.evidence.sha256,
    )
    return 1


def release_holdbacks(now: datetime) -> int:
    """Let the devices that stayed behind have the release once the watch over their lane has ended well."""
    lanes = Lane.objects.filter(state=State.COMPLETED, watched_until__lte=now, run__ended_at=None)
    return sum(_release_lane(pk, now) for pk in list(lanes.values_list("pk", flat=True)))


@transaction.atomic
def _release_lane(lane_id: int, now: datetime) -> int:
    lane = Lane.objects.select_for_update(of=("self",)).select_related("rollout__release", "run").get(pk=lane_id)
    if lane.state != State.COMPLETED or lane.run is None:
        return 0
    waiting = Holdback.objects.filter(
        rollout=lane.rollout, released_at=None, device__hardware_target=lane.hardware_target_id
    )
    devices = list(waiting.values_list("device_id", flat=True))
    running = dict(
        DeviceLatest.objects.filter(workload=lane.rollout.workload_id, device__in=devices).values_list(
            "device_id", "release_id"
        )
    )
    Delivery.objects.bulk_create(
        (
            Delivery(
                device_id=device,
                workload_id=lane.rollout.workload_id,
                lane=lane,
                release=lane.rollout.release,
                previous_release_id=running.get(device),
                created_at=now,
            )
            for device in devices
        ),
        ignore_conflicts=True,
    )
    waiting.update(released_at=now)
    # The comparison has lost its control.
    still_watched = Lane.objects.filter(run=lane.run, state__in=machine.WATCHED).exclude(pk=lane.pk)
    if not still_watched.exclude(state=State.COMPLETED, watched_until__lte=now).exists():
        lane.run.ended_at = now
        lane.run.save(update_fields=["ended_at"])
    return len(devices)
