"""A small fleet with two days of history on one release and a canary on the next."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from config.celery import app
from fleet.models import Device
from telemetry.models import Context
from tests.telemetry.records import Records, draw_records, make_context, store_batch

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Story:
    """Devices of two hardware targets, half of each treated since `started_at`."""

    treated: list[Device]
    control: list[Device]
    old: Context
    new: Context
    started_at: datetime
    until: datetime
    hours: int


def hourly(
    rng: np.random.Generator, start: datetime, hours: int, per_hour: int, *, own: float, step: timedelta = HOUR
) -> Records:
    """`per_hour` records in the first minute of every hour, or of every other `step`.

    `own` is what this device's latency and energy multiply by.

    Faults, retries and missing readings of `draw_records` are left out: this fleet is healthy.
    """
    times = [start + hour * step + timedelta(milliseconds=5 * k) for hour in range(hours) for k in range(per_hour)]
    drawn = draw_records(rng, times)
    n = len(times)
    drawn.measures["latency"][:] = rng.lognormal(np.log(20 * own), 0.15, n)
    drawn.measures["energy"][:] = rng.lognormal(np.log(40 * own), 0.10, n)
    drawn.measures["confidence"][:] = rng.beta(18, 2, n)
    for measure in drawn.measures.values():
        measure[np.isnan(measure)] = 1.0
    quiet = np.zeros(n, dtype=np.int64)
    return replace(drawn, fallback=quiet, outcome=quiet, retries=quiet, throttled=quiet.astype(bool))


def daily(rng: np.random.Generator, start: datetime, days: int, per_day: int, *, own: float) -> Records:
    """`per_day` records at noon of every day, healthy like those of `hourly`."""
    return hourly(rng, start + 12 * HOUR, days, per_day, own=own, step=24 * HOUR)


@pytest.fixture
def run_tasks_here():
    """Tasks run where they are ordered, in this process, instead of going to the broker."""
    before = app.conf.task_always_eager
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = before


@pytest.fixture
def make_story(cast, now, make_device):
    """Make the story: `make_story(energy={"orin-nx-16": 1.08})` lets the canary draw 8 % more on one target."""

    def make(
        *,
        energy: dict[str, float] | None = None,
        per_arm: int = 8,
        hours: int = 10,
        before: int = 48,
        seed: int = 7,
    ) -> Story:
        rng = np.random.default_rng(seed)
        old, new = make_context(cast.release, now), make_context(cast.candidate, now)
        start = now - timedelta(days=1)
        treated, control = [], []
        for target in ("orin-nx-16", "hailo-8"):
            for index in range(2 * per_arm):
                device = make_device(f"{target}-{index:02d}", target, "eu-north")
                own = float(rng.lognormal(0, 0.1))
                is_treated = index % 2 == 0
                earlier = hourly(rng, start - before * HOUR, before, 30, own=own)
                after = hourly(rng, start, hours, 120, own=own)
                if is_treated:
                    after.measures["energy"][:] *= (energy or {}).get(target, 1.0)
                store_batch(device, old, earlier, seq=1, received_at=start)
                store_batch(device, new if is_treated else old, after, seq=2, received_at=start + hours * HOUR)
                (treated if is_treated else control).append(device)
        return Story(treated, control, old, new, start, start + hours * HOUR, hours)

    return make
