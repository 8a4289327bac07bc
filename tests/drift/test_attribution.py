"""Attribution over stored cells: what only the canary does is the release's, what all do is the environment's."""

from datetime import timedelta

import numpy as np
import pytest

from drift.services.attribution import Comparison, explain
from telemetry import protocol
from telemetry.services.ingest import Received, take_batch
from telemetry.store import microseconds
from tests.telemetry.envelopes import encode, envelope

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


@pytest.fixture
def make_comparison(cast, now, make_device):
    """Twelve devices with six hours before and two after; `canary` and `control` shape the records after the start.

    Each is (share of inferences that fall back, factor on all latencies, temperature in °C).
    """

    def make(*, canary=(0.0, 1.0, 55.0), control=(0.0, 1.0, 55.0)) -> Comparison:
        rng = np.random.default_rng(4)
        start = now - 2 * HOUR
        devices = [make_device(f"cam-{index:03d}") for index in range(12)]
        treated = devices[::2]
        for device in devices:
            own = float(rng.lognormal(0, 0.1))
            after = canary if device in treated else control
            release = "4.2.0" if device in treated else "4.1.0"
            _send(device, rng, now - 8 * HOUR, 6, own, (0.0, 1.0, 55.0), "4.1.0", 1, now)
            _send(device, rng, start, 2, own, after, release, 2, now)
        return Comparison(
            workload_id=cast.workload.pk,
            release_id=cast.candidate.pk,
            treated=[device.pk for device in treated],
            control=[device.pk for device in devices[1::2]],
            pre_start=now - 8 * HOUR,
            started_at=start,
            as_of=now,
            seed=1,
        )

    return make


def _send(device, rng, start, hours, own, behaviour, release, seq, now) -> None:
    share, factor, temperature = behaviour
    n = 60 * hours
    falls = rng.random(n) < share
    latency = rng.lognormal(np.log(20 * own), 0.1, n) * factor * np.where(falls, 3.0, 1.0)
    first = microseconds(start)
    records = {
        "time": [first + index * 60_000_000 for index in range(n)],
        "latency_ms": latency.round(4).tolist(),
        "temperature_c": [temperature] * n,
        "fallback": ["cpu" if fell else "none" for fell in falls],
    }
    context = {"workload": "lane-assist", "release": release, "power_mode": "15W"}
    body = encode(envelope(now, seq=seq, inferences=records, context=context))
    take_batch(device, Received(protocol.read_batch(body, 5000), body, len(body), now))


def component(found: dict, name: str) -> dict:
    return next(row for row in found["components"] if row["name"] == name)


def test_a_canary_that_falls_back_is_told_so_with_its_share(make_comparison) -> None:
    found = explain(make_comparison(canary=(0.4, 1.0, 55.0)), "latency_p50")
    assert found["readings"][0]["cause"] == "fallback"
    assert component(found, "fallback")["share"] > 0.8
    assert found["unexplained_share"] < 0.2


def test_a_slower_model_under_like_conditions_is_the_models(make_comparison) -> None:
    found = explain(make_comparison(canary=(0.0, 1.3, 55.0)), "latency_p95")
    assert found["readings"][0]["cause"] == "model_or_runtime"
    assert component(found, "within")["share"] == pytest.approx(1.0, abs=0.1)


def test_a_fallback_that_everybody_has_is_not_held_against_the_release(make_comparison) -> None:
    found = explain(make_comparison(canary=(0.4, 1.0, 55.0), control=(0.4, 1.0, 55.0)), "latency_p50")
    assert "fallback" not in {reading["cause"] for reading in found["readings"]}
    assert "environment" in {reading["cause"] for reading in found["readings"]}


def test_the_parts_add_up_to_the_whole(make_comparison) -> None:
    found = explain(make_comparison(canary=(0.2, 1.1, 75.0)), "latency_p50")
    parts = sum(row["difference"]["value"] for row in found["components"])
    assert parts == pytest.approx(found["total"]["difference"]["value"], rel=1e-9)


def test_a_metric_that_is_no_mean_of_cells_is_left_alone(make_comparison) -> None:
    assert explain(make_comparison(), "fallback_rate") is None


def test_without_any_record_there_is_nothing_to_explain(cast, now, make_device) -> None:
    device = make_device("cam-900")
    empty = Comparison(cast.workload.pk, cast.candidate.pk, [device.pk], [], now - 8 * HOUR, now - HOUR, now)
    assert explain(empty, "latency_p50") is None
