"""Periodic work: evaluate what is due, start what is large, move what waits for time."""

from celery import Task, shared_task
from django.utils import timezone

from rollouts.services import advancing, evaluating, pruning, starting

# A look that waits longer than this for a worker is asked for again by the next round.
LOOK_EXPIRES_S = 30


@shared_task(name="rollouts.tasks.evaluate_rollouts", bind=True)
def evaluate_rollouts(self: Task) -> list[int]:
    """Ask for one look at each stage run that is due: a slow one keeps one worker busy and no other run waiting.

    Called as a plain function it takes the looks itself, one after the other.
    """
    runs = evaluating.due(timezone.now())
    for run in runs:
        if self.request.called_directly:
            evaluate_run(run)
        else:
            evaluate_run.apply_async([run], expires=LOOK_EXPIRES_S)
    return runs


@shared_task(name="rollouts.tasks.evaluate_run")
def evaluate_run(run: int) -> dict[str, str] | None:
    """One look at one stage run; None where it is not due any more or somebody else is at it."""
    found = evaluating.evaluate_or_note(run, timezone.now())
    return found.recommendations if found else None


@shared_task(name="rollouts.tasks.start_stages")
def start_stages() -> int:
    """Write down what is left of large stages that were started."""
    return starting.go_on(timezone.now)


@shared_task(name="rollouts.tasks.advance_deliveries")
def advance_deliveries() -> dict[str, int]:
    """Confirmations, time-outs, retries, expiries, watch periods, webhooks."""
    return advancing.advance(timezone.now()).done


@shared_task(name="rollouts.tasks.prune_artifacts")
def prune_artifacts() -> int:
    """Remove files that no release refers to (interrupted uploads, drafts that lost a file)."""
    return len(pruning.prune(timezone.now()))
