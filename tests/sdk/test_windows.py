"""Device-built windows: where an inference falls, what is summed up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ridgeline_sdk.windows import Window, WindowBuilder

MINUTE_US = 60_000_000


@given(st.lists(st.integers(0, 10 * MINUTE_US), min_size=1, max_size=50))
def test_every_inference_is_counted_once_in_the_window_that_holds_its_time(times):
    builder = WindowBuilder(60)
    for time_us in times:
        builder.add("label", time_us, {"latency_ms": 1.0})
    windows = [window for _, window in builder.close()]
    assert sum(window.count for window in windows) == len(times)
    for window in windows:
        inside = [time_us for time_us in times if window.start_us <= time_us < window.end_us]
        assert window.count == len(inside)
        assert window.start_us % MINUTE_US == 0
        assert window.end_us - window.start_us == MINUTE_US


def test_only_windows_that_have_ended_are_closed():
    builder = WindowBuilder(60)
    builder.add("label", 30_000_000, {"latency_ms": 1.0})
    builder.add("label", 90_000_000, {"latency_ms": 1.0})
    assert builder.close(59_999_999) == []
    assert [window.start_us for _, window in builder.close(60_000_000)] == [0]
    assert [window.start_us for _, window in builder.open_windows()] == [60_000_000]


def test_labels_have_windows_of_their_own():
    builder = WindowBuilder(60)
    builder.add("4.1.0", 0, {"latency_ms": 1.0})
    builder.add("4.2.0", 1, {"latency_ms": 1.0})
    assert [label for label, _ in builder.close()] == ["4.1.0", "4.2.0"]


def test_a_window_sums_up_what_its_rows_say():
    window = Window(0, MINUTE_US)
    window.idle_energy_mj = 900.0
    window.add({"latency_ms": 10.0, "energy_mj": 40.0, "confidence": 0.955, "predicted_class": "a"})
    window.add({"latency_ms": 30.0, "outcome": "error", "fallback": "cpu", "throttled": True})
    window.add({"latency_ms": 20.0, "input_quality": 1.0, "predicted_class": "a", "outcome": "ok", "fallback": "none"})
    wire = window.to_wire()
    assert (wire["start"], wire["end"], wire["count"]) == (0, MINUTE_US, 3)
    assert (wire["outcomes"], wire["fallbacks"], wire["classes"]) == ({"error": 1}, {"cpu": 1}, {"a": 2})
    assert wire["throttled_ms"] == 20_000
    assert wire["idle_energy_mj"] == 900.0
    assert (sum(wire["latency_ms"]["counts"]), wire["latency_ms"]["sum"]) == (3, 60.0)
    assert (wire["latency_ms"]["min"], wire["latency_ms"]["max"]) == (10.0, 30.0)
    assert wire["energy_mj"]["sum"] == 40.0
    assert wire["confidence"]["counts"].index(1) == 95
    assert wire["input_quality"]["counts"].index(1) == 99


def test_what_was_not_measured_is_left_out():
    window = Window(0, MINUTE_US)
    window.add({"latency_ms": 10.0})
    assert set(window.to_wire()) == {"start", "end", "count", "latency_ms"}


@pytest.mark.parametrize("length", [0, -1])
def test_a_window_has_a_length(length):
    with pytest.raises(ValueError, match="window_s"):
        WindowBuilder(length)
