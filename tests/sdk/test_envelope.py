"""Bytes of an envelope: rows and columns say the same, halves hold everything once."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ridgeline_sdk import envelope as wire

rows = st.lists(
    st.fixed_dictionaries(
        {"time": st.integers(0, 10**15), "latency_ms": st.floats(0, 1e4)},
        optional={
            "confidence": st.floats(0, 1),
            "predicted_class": st.sampled_from(["stop-sign", "é", ""]),
            "throttled": st.booleans(),
        },
    ),
    max_size=30,
)


@given(rows)
def test_columns_and_rows_are_the_same_records(records):
    assert wire.as_rows(wire.as_columns(records)) == records


@given(rows)
def test_the_shorter_of_the_two_forms_is_sent(records):
    texts = [wire.dumps(record) for record in records]
    sent = wire.inferences_json(texts)
    decoded = json.loads(sent)
    assert len(sent) <= len("[" + ",".join(texts) + "]")
    assert (wire.as_rows(decoded) if isinstance(decoded, dict) else decoded) == records


def test_500_like_records_travel_as_columns_in_less_than_half_the_bytes():
    record = {"time": 1_772_452_800_000_000, "latency_ms": 17.4, "energy_mj": 42.5, "confidence": 0.97, "retries": 0}
    texts = [wire.dumps(record)] * 500
    sent = wire.inferences_json(texts)
    assert isinstance(json.loads(sent), dict)
    assert len(sent) < 0.5 * len("[" + ",".join(texts) + "]")


def test_unequal_columns_are_refused():
    with pytest.raises(ValueError, match="unequal"):
        wire.as_rows({"time": [1, 2], "latency_ms": [1.0]})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_json_does_not_know_never_gets_into_a_body(value):
    with pytest.raises(ValueError, match="JSON compliant|Out of range"):
        wire.dumps({"latency_ms": value})


@given(rows, st.integers(0, 5), st.integers(0, 5), st.booleans())
def test_halves_hold_every_record_once_and_tell_losses_once(records, windows, events, counters):
    envelope = {
        "schema": wire.SCHEMA,
        "dropped": {"inferences": 3, "windows": 0, "events": 1},
        "inferences": wire.as_columns(records),
        "windows": [{"start": n} for n in range(windows)],
        "events": [{"id": n} for n in range(events)],
    }
    if counters:
        envelope["counters"] = {"time": 1, "values": {"n": 1}}
    parts = wire.halves(wire.dumps(envelope).encode())
    if len(records) + windows + events < 2:
        assert parts is None
        return
    first, second = parts
    assert first.get("inferences", []) + second.get("inferences", []) == records
    for section in ("windows", "events"):
        assert first.get(section, []) + second.get(section, []) == envelope[section]
    assert first["dropped"] == envelope["dropped"]
    assert set(second["dropped"].values()) == {0}
    assert ("counters" in first, "counters" in second) == (counters, False)
    sizes = [sum(wire.counts_of(part)[section] for section in wire.LIST_SECTIONS) for part in parts]
    assert abs(sizes[0] - sizes[1]) <= 1


def test_events_and_windows_can_be_taken_out_of_a_bulk_batch():
    envelope = {"dropped": {"events": 2}, "inferences": [{"time": 1}], "events": [{"id": 1}], "states": [{"time": 1}]}
    urgent, bulk = wire.by_urgency(wire.dumps(envelope).encode())
    assert urgent == {"dropped": {"events": 2}, "events": [{"id": 1}]}
    assert bulk == {"dropped": {"events": 0}, "inferences": [{"time": 1}], "states": [{"time": 1}]}


@pytest.mark.parametrize("sections", [{"inferences": [{"time": 1}]}, {"events": [{"id": 1}]}])
def test_a_batch_of_one_urgency_is_not_taken_apart(sections):
    assert wire.by_urgency(wire.dumps(sections).encode()) is None


def test_equal_content_compresses_to_equal_bytes():
    assert wire.compress(b"x" * 1000, wire.GZIP) == wire.compress(b"x" * 1000, wire.GZIP)
    assert wire.decompress(wire.compress(b"x" * 1000, wire.GZIP), wire.GZIP) == b"x" * 1000
