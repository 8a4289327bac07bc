"""What spoils a body, what makes one record bad, and what is passed over."""

import json

import pytest

from telemetry.protocol import BadBody, TooLarge, read_batch, records_as_sent

TIME = 1_772_452_800_000_000


def envelope(**changes) -> dict:
    """A sound envelope of one inference."""
    body = {
        "schema": "ridgeline.telemetry/1",
        "boot_id": "boot-1",
        "batch_seq": 1,
        "context": {"workload": "lane-assist", "release": "4.2.0"},
        "inferences": [{"time": TIME, "latency_ms": 17.4}],
    }
    return {name: value for name, value in (body | changes).items() if value is not ...}


def read(body, limit: int = 5000):
    """Read an envelope given as an object or as bytes."""
    return read_batch(body if isinstance(body, bytes) else json.dumps(body).encode(), limit)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"", "syntax", ""),
        (b"{", "syntax", ""),
        (b"[]", "syntax", ""),
        (b'"text"', "syntax", ""),
        (json.dumps(envelope()).encode() + b"x", "syntax", ""),
        (json.dumps(envelope(sent_at=float("nan"))).encode(), "syntax", ""),
        (json.dumps(envelope(inferences=[{"time": TIME, "latency_ms": float("nan")}])).encode(), "syntax", ""),
        (json.dumps(envelope(inferences=[{"time": TIME, "latency_ms": float("inf")}])).encode(), "syntax", ""),
        (json.dumps(envelope(note=float("nan"))).encode(), "syntax", ""),
        (b'{"schema": "\xff"}', "syntax", ""),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "syntax", ""),
        (envelope(schema="ridgeline.telemetry/2"), "schema", "schema"),
        (envelope(schema=...), "missing", "schema"),
        (envelope(boot_id=...), "missing", "boot_id"),
        (envelope(boot_id=""), "length", "boot_id"),
        (envelope(boot_id="b" * 65), "length", "boot_id"),
        (envelope(boot_id="a\0b"), "character", "boot_id"),
        (envelope(batch_seq=...), "missing", "batch_seq"),
        (envelope(batch_seq="1"), "type", "batch_seq"),
        (envelope(batch_seq=-1), "range", "batch_seq"),
        (envelope(batch_seq=2**63), "range", "batch_seq"),
        (envelope(inferences_role="half"), "enum", "inferences_role"),
        (envelope(context=...), "missing", "context.workload"),
        (envelope(context={"workload": "lane-assist"}), "missing", "context.release"),
        (envelope(context={"workload": 7, "release": "1"}), "type", "context.workload"),
        (envelope(context="lane-assist"), "type", "context"),
        (envelope(inferences="many"), "type", "inferences"),
        (envelope(windows={"start": 1}), "type", "windows"),
        (envelope(inferences={"time": [TIME], "latency_ms": [1.0, 2.0]}), "unequal_columns", "inferences"),
        (envelope(inferences={"time": [TIME], "latency_ms": [1.0], "new": []}), "unequal_columns", "inferences"),
        (envelope(inferences={"time": TIME, "latency_ms": [1.0]}), "type", "inferences.time"),
    ],
)
def test_a_body_that_cannot_be_understood_is_refused_naming_the_place(body, code, field):
    with pytest.raises(BadBody) as refusal:
        read(body)
    assert (refusal.value.code, refusal.value.field) == (code, field)
    assert refusal.value.message


@pytest.mark.parametrize("section", ["inferences", "windows", "events", "states"])
def test_a_section_beyond_the_limit_is_too_large_whether_its_records_are_good_or_bad(section):
    for record in ({"time": TIME, "latency_ms": 1.0}, {"time": "never"}):
        with pytest.raises(TooLarge):
            read(envelope(**{section: [record] * 4}), limit=3)


def test_the_sound_body_gives_every_field():
    batch = read(
        envelope(
            inferences=[
                {
                    "time": "2026-03-02T11:59:58.120Z",
                    "latency_ms": 17,
                    "temperature_c": -12.5,
                    "confidence": 1,
                    "predicted_class": "stop-sign",
                    "fallback": "cloud",
                    "retries": 2,
                    "throttled": True,
                    "outcome": "out_of_memory",
                    "sample_ref": "s-1",
                },
                {"time": TIME, "latency_ms": 1.5},
            ]
        )
    )
    inferences = batch.inferences
    assert inferences.time_us.tolist() == [1_772_452_798_120_000, TIME]
    assert inferences.measures[0].tolist() == [17.0, 1.5]
    assert inferences.measures[7, 0] == -12.5
    assert inferences.class_names == ("stop-sign",)
    assert inferences.class_code.tolist() == [0, -1]
    assert inferences.fallback.tolist() == [3, 0]
    assert inferences.outcome.tolist() == [3, 0]
    assert inferences.retries.tolist() == [2, 0]
    assert inferences.throttled.tolist() == [True, False]
    assert inferences.sample_refs.tolist() == ["s-1", None]
    assert (batch.rejections, batch.unknown_fields) == ([], 0)


BAD_RECORDS = [
    ({"time": TIME}, "latency_ms", "missing"),
    ({"latency_ms": 1.0}, "time", "missing"),
    ({"time": TIME, "latency_ms": None}, "latency_ms", None),
    ({"time": TIME, "latency_ms": "1"}, "latency_ms", "type"),
    ({"time": TIME, "latency_ms": True}, "latency_ms", "type"),
    ({"time": TIME, "latency_ms": -0.1}, "latency_ms", "range"),
    ({"time": TIME, "latency_ms": 1e39}, "latency_ms", "range"),
    ({"time": "yesterday", "latency_ms": 1.0}, "time", "type"),
    ({"time": "2026-03-02T12:00:00", "latency_ms": 1.0}, "time", "type"),
    ({"time": -5, "latency_ms": 1.0}, "time", "range"),
    ({"time": 1.5, "latency_ms": 1.0}, "time", "type"),
    ({"time": TIME, "latency_ms": 1.0, "confidence": 1.01}, "confidence", "range"),
    ({"time": TIME, "latency_ms": 1.0, "input_quality": -0.01}, "input_quality", "range"),
    ({"time": TIME, "latency_ms": 1.0, "accelerator_utilization": 2}, "accelerator_utilization", "range"),
    ({"time": TIME, "latency_ms": 1.0, "temperature_c": -300}, "temperature_c", "range"),
    ({"time": TIME, "latency_ms": 1.0, "fallback": "gpu"}, "fallback", "enum"),
    ({"time": TIME, "latency_ms": 1.0, "outcome": "meh"}, "outcome", "enum"),
    ({"time": TIME, "latency_ms": 1.0, "retries": -1}, "retries", "range"),
    ({"time": TIME, "latency_ms": 1.0, "retries": 40_000}, "retries", "range"),
    ({"time": TIME, "latency_ms": 1.0, "predicted_class": "x" * 129}, "predicted_class", "length"),
    ({"time": TIME, "latency_ms": 1.0, "predicted_class": 7}, "predicted_class", "type"),
    ({"time": TIME, "latency_ms": 1.0, "sample_ref": "a\0b"}, "", "character"),
]


@pytest.mark.parametrize("as_columns", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize(("record", "field", "code"), BAD_RECORDS)
def test_a_bad_record_is_rejected_with_its_index_and_field_and_the_others_stay(record, field, code, as_columns):
    good = {"time": TIME, "latency_ms": 2.0}
    rows = [good, good, record, good]
    inferences = rows
    if as_columns:
        names = dict.fromkeys(name for row in rows for name in row)
        inferences = {name: [row.get(name) for row in rows] for name in names}
    body = json.dumps(envelope(inferences=inferences)).encode()
    batch = read(body)
    assert batch.inferences.index.tolist() == [0, 1, 3]
    assert batch.inferences.measures[0].tolist() == [2.0, 2.0, 2.0]
    [rejection] = batch.rejections
    assert (rejection.section, rejection.index, rejection.field) == ("inferences", 2, field)
    assert rejection.code == (code or ("missing" if as_columns else "type"))
    assert rejection.message.endswith(".")
    [sent] = records_as_sent(body, batch.rejections)
    assert {name: value for name, value in sent.items() if value is not None} == {
        name: value for name, value in record.items() if value is not None
    }


def test_a_record_that_is_no_object_is_a_bad_record():
    batch = read(envelope(inferences=[{"time": TIME, "latency_ms": 1.0}, 7, [1], None]))
    assert [(r.index, r.code) for r in batch.rejections] == [(1, "type"), (2, "type"), (3, "type")]
    assert len(batch.inferences) == 1


def test_a_number_that_overflows_is_a_bad_record_and_is_shown_as_text():
    body = json.dumps(envelope()).replace("17.4", "1e999").encode()
    batch = read(body)
    assert [(r.field, r.code) for r in batch.rejections] == [("latency_ms", "range")]
    assert "1e999" in str(records_as_sent(body, batch.rejections)[0])


def test_unknown_fields_are_counted_wherever_they_stand_and_change_nothing_else():
    batch = read(
        envelope(
            novelty=1,
            clock={"synced": True, "stratum": 2},
            inferences=[{"time": TIME, "latency_ms": 1.0, "a": 1, "b": 2}, {"time": TIME, "latency_ms": 2.0}],
            windows=[{"start": TIME, "end": TIME + 1, "count": 0, "latency_ms": {"kurtosis": 3}}],
        )
    )
    assert batch.unknown_fields == 5
    assert batch.rejections == []
    assert batch.inferences.measures[0].tolist() == [1.0, 2.0]
    assert len(batch.windows) == 1


def test_unknown_columns_are_counted_per_value():
    batch = read(envelope(inferences={"time": [TIME, TIME], "latency_ms": [1.0, 2.0], "new": [1, 2]}))
    assert (batch.unknown_fields, batch.rejections, len(batch.inferences)) == (2, [], 2)


def test_columns_without_a_required_column_hold_bad_records_only():
    batch = read(envelope(inferences={"time": [TIME, TIME], "confidence": [0.5, 0.6]}))
    assert [(r.index, r.field, r.code) for r in batch.rejections] == [
        (0, "latency_ms", "missing"),
        (1, "latency_ms", "missing"),
    ]


def test_rows_and_columns_of_the_same_data_are_the_same():
    rows = [
        {"time": TIME + i, "latency_ms": 1.5 * i, "confidence": i / 10, "fallback": "cpu" if i % 2 else "none"}
        for i in range(10)
    ]
    rows[3]["energy_mj"] = 4.5
    names = dict.fromkeys(name for row in rows for name in row)
    by_rows = read(envelope(inferences=rows)).inferences
    by_columns = read(envelope(inferences={name: [row.get(name) for row in rows] for name in names})).inferences
    for name in ("time_us", "measures", "fallback", "outcome", "retries", "throttled", "class_code"):
        a, b = getattr(by_rows, name), getattr(by_columns, name)
        assert a.tobytes() == b.tobytes(), name


def test_a_bad_optional_part_of_the_envelope_is_rejected_alone():
    batch = read(
        envelope(
            sent_at="noon",
            clock={"synced": False, "error_ms": -1},
            dropped={"inferences": "many", "events": 2},
            context={"workload": "lane-assist", "release": "4.2.0", "power_mode": 15},
        )
    )
    assert {(r.section, r.field) for r in batch.rejections} == {
        ("sent_at", ""),
        ("clock", "error_ms"),
        ("dropped", "inferences"),
        ("context", "power_mode"),
    }
    assert batch.envelope.clock.synced is False
    assert batch.envelope.dropped.events == 2
    assert batch.envelope.context.release == "4.2.0"
    assert len(batch.inferences) == 1


def test_the_empty_batch_is_sound_without_a_context():
    batch = read(envelope(context=..., inferences=...))
    assert (len(batch.inferences), batch.windows, batch.rejections) == (0, [], [])


def test_each_counter_stands_for_itself():
    batch = read(envelope(counters={"time": TIME, "values": {"a": 1, "b": -1, "c": "x", "d": 2.5}}))
    assert batch.counters.values == {"a": 1.0, "d": 2.5}
    assert [(r.section, r.index, r.field, r.code) for r in batch.rejections] == [
        ("counters", 1, "b", "range"),
        ("counters", 2, "c", "type"),
    ]


def test_events_need_a_time_and_a_type_and_a_uuid_where_they_have_an_id():
    good = {"time": TIME, "type": "reboot", "severity": "warning", "detail": {"reason": "watchdog"}}
    batch = read(
        envelope(
            events=[
                good,
                {"time": TIME},
                {**good, "severity": "dire"},
                {**good, "id": "not-a-uuid"},
                {**good, "detail": "text"},
                {**good, "detail": {"text": "x" * 20_000}},
                {**good, "detail": {"a": "\0"}},
                {**good, "id": "7d444840-9dc0-11d1-b245-5ffdce74fad2"},
            ]
        )
    )
    assert batch.events.index == [0, 7]
    assert {(r.index, r.field, r.code) for r in batch.rejections} == {
        (1, "type", "missing"),
        (2, "severity", "enum"),
        (3, "id", "type"),
        (4, "detail", "type"),
        (5, "detail", "length"),
        (6, "", "character"),
    }


def test_a_state_that_says_nothing_is_rejected():
    states = [{"time": TIME, "battery_pct": 88}, {"time": TIME}, {"time": TIME, "battery_pct": 101}]
    batch = read(envelope(states=states))
    assert batch.states.index == [0]
    assert {(r.index, r.field, r.code) for r in batch.rejections} == {(1, "", "missing"), (2, "battery_pct", "range")}


def test_an_escaped_backslash_before_u0000_is_no_nul_character():
    body = json.dumps(envelope()).replace("lane-assist", "lane\\\\\\\\u0000").encode()
    assert read(body).envelope.context.workload == "lane\\\\u0000"
