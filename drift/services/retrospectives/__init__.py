"""The rollout engine run over stored history: what would this policy have said, look by look?"""

from drift.services.retrospectives.asking import (
    MAXIMUM_LOOKS,
    Schedule,
    budget_of,
    describe,
    plan_of,
)
from drift.services.retrospectives.history import SEEDS_AT_MOST, HistoryPlan, history_plan_of, run_history
from drift.services.retrospectives.keeping import (
    SYNCHRONOUS_SECONDS,
    cancel,
    compute,
    estimated_seconds,
    execute,
    order,
    resume,
)
from drift.services.retrospectives.running import merge, run

__all__ = [
    "MAXIMUM_LOOKS",
    "SEEDS_AT_MOST",
    "SYNCHRONOUS_SECONDS",
    "HistoryPlan",
    "Schedule",
    "budget_of",
    "cancel",
    "compute",
    "describe",
    "estimated_seconds",
    "execute",
    "history_plan_of",
    "merge",
    "order",
    "plan_of",
    "resume",
    "run",
    "run_history",
]
