"""Keeping retrospectives: computed at once or by a worker, one process at a time, restartable, to be cancelled."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.db.models import Q

from drift.models import Retrospective
from drift.models.evaluations import UNDER_WAY, Progress
from drift.services.retrospectives.asking import describe, plan_of
from drift.services.retrospectives.history import history_plan_of, run_history
from drift.services.retrospectives.running import run
from drift.version import code_version
from fleet.exceptions import StateConflict
from fleet.models import User
from telemetry.services.folding import fold

# A request that would take longer by estimate is left to a worker: the web server gives up on it after a minute.
SYNCHRONOUS_SECONDS = 45.0
# Seconds per look with 10,000 assignments and the default metrics, and what each device adds to one: measured on a busy
# two-core machine (0.26 s of processor time with 100 devices, 0.32 s with 300), where waiting costs most.
SECONDS_PER_LOOK, SECONDS_PER_DEVICE_LOOK = 0.22, 0.0004
# A process that was not heard of for so long is taken to be dead.
SILENT_AFTER = timedelta(minutes=3)


class Superseded(Exception):
    """Somebody cancelled the run, or another process has taken it over: whoever computes it stops."""


def estimated_seconds(devices: int, looks: int, permutations: int = 10_000) -> float:
    """How long so many looks at so many devices take one core, roughly."""
    return looks * (SECONDS_PER_LOOK + SECONDS_PER_DEVICE_LOOK * devices) * permutations / 10_000


def execute(
    request: Mapping[str, Any],
    *,
    user: User | None,
    now: datetime,
    clock: Callable[[], datetime],
    kind: str = Retrospective.Kind.RELEASE,
) -> Retrospective:
    """Run a retrospective at once and keep it with its result; raises what the run raises."""
    kept = order(request, user=user, now=now, kind=kind)
    compute(kept.pk, clock=clock, asked=request)
    kept.refresh_from_db()
    return kept


def order(
    request: Mapping[str, Any], *, user: User | None, now: datetime, kind: str = Retrospective.Kind.RELEASE
) -> Retrospective:
    """Check a request and keep it for whoever computes it; raises InvalidInput by field."""
    history = kind == Retrospective.Kind.HISTORY
    looks = history_plan_of(request).looks if history else len(plan_of(request)[1].times)
    return Retrospective.objects.create(
        kind=kind,
        request=describe(request),
        looks_total=looks,
        code_version=code_version(),
        created_by=user,
        created_at=now,
    )


def compute(pk: int, *, clock: Callable[[], datetime], asked: Mapping[str, Any] | None = None) -> bool:
    """Compute a kept run from its first look on; False where it is done, cancelled, or another process is at it.

    A run is claimed by compare-and-swap, and every look renews the claim: two processes never compute one run at once,
    and one that was cancelled stops at its next look. `asked` spares reading the request back from its JSON.
    """
    claim, now = str(uuid4()), clock()
    free = Q(status=Progress.QUEUED) | Q(status=Progress.RUNNING, heard_at__lt=now - SILENT_AFTER)
    if not Retrospective.objects.filter(free, pk=pk).update(
        status=Progress.RUNNING, claim=claim, heard_at=now, looks_done=0
    ):
        return False
    kept = Retrospective.objects.get(pk=pk)
    mine = Retrospective.objects.filter(pk=pk, claim=claim, status=Progress.RUNNING)
    heard = now

    def progress(done: int) -> None:
        nonlocal heard
        moment = clock()
        # a row a second is enough to be seen moving and heard of
        if moment - heard < timedelta(seconds=1):
            return
        heard = moment
        if not mine.update(looks_done=done, heard_at=moment):
            raise Superseded

    try:
        fold(now)
        request = asked if asked is not None else restore(kept.request)
        if kept.kind == Retrospective.Kind.HISTORY:
            result = run_history(history_plan_of(request), progress=progress)
        else:
            result = run(*plan_of(request), progress=progress)
    except Superseded:
        return False
    except Exception as failure:
        mine.update(status=Progress.FAILED, error=f"{type(failure).__name__}: {failure}", finished_at=clock())
        raise
    return bool(mine.update(status=Progress.DONE, result=result, looks_done=kept.looks_total, finished_at=clock()))


def restore(request: Mapping[str, Any]) -> dict[str, Any]:
    """A kept request as it was given: the inverse of `describe`."""
    asked = dict(request)
    asked["started_at"] = datetime.fromisoformat(asked["started_at"])
    looks = asked["looks"]
    asked["looks"] = {
        "every": timedelta(seconds=looks["every"]),
        "until": datetime.fromisoformat(looks["until"]),
    }
    if asked.get("pre"):
        asked["pre"] = {name: datetime.fromisoformat(moment) for name, moment in asked["pre"].items()}
    return asked


def cancel(kept: Retrospective, *, now: datetime) -> Retrospective:
    """Stop a run that waits or is being computed; 409 once it is over."""
    if not Retrospective.objects.filter(pk=kept.pk, status__in=UNDER_WAY).update(
        status=Progress.STOPPED, finished_at=now
    ):
        kept.refresh_from_db()
        raise StateConflict(kept.status, [])
    kept.refresh_from_db()
    return kept


def resume(*, now: datetime) -> list[int]:
    """Runs that nobody computes any more, because a worker died or an order was lost: their ids, oldest first."""
    lost = Q(status=Progress.RUNNING, heard_at__lt=now - SILENT_AFTER)
    waiting = Q(status=Progress.QUEUED, created_at__lt=now - SILENT_AFTER)
    return list(Retrospective.objects.filter(lost | waiting).order_by("pk").values_list("pk", flat=True))
