"""Batches taken together leave what each would leave alone, and what befalls one does not touch the others."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import psycopg
import pytest
from django.db import OperationalError, connection
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fleet.actors import Actor
from fleet.models import Device, Token
from fleet.services import tokens
from telemetry import allowances, columns, protocol, store
from telemetry.exceptions import BatchConflict, TooMany
from telemetry.models import Batch, DeviceLatest, QuarantinedRecord, ReleaseSpan
from telemetry.services.ingest import batches, known_sender, receive_together, senders, spans, together
from telemetry.services.ingest.batches import Received, Together, answer, prepare
from tests.telemetry.envelopes import encode, envelope, inferences
from tests.telemetry.services.ingest.sending import rows

TABLES = ("inference", "device_minute", "device_cell", "event", "device_state", "counter_rate", "dirty_bucket")


def stored() -> dict[str, list]:
    """All that batches leave behind, without the numbers that the database gives."""
    found = {}
    for table in TABLES:
        # an event without an id of its own has one made of its batch's number
        names = [c.name for c in columns.TABLES[table] if c.name not in ("batch_id", "event_id")]
        found[table] = sorted(rows(table, ", ".join(f"{name}::text" for name in names)), key=repr)
    for model in (Batch, DeviceLatest, ReleaseSpan, QuarantinedRecord):
        names = [f.attname for f in model._meta.fields if f.attname not in ("id", "batch_id")]
        found[model.__name__] = sorted(model.objects.values_list(*names), key=repr)
    return found


def empty() -> None:
    """Forget everything that devices sent."""
    for model in (QuarantinedRecord, Batch, DeviceLatest, ReleaseSpan):
        model.objects.all().delete()
    with connection.cursor() as cursor:
        for table in (*TABLES, "telemetry_counter"):
            cursor.execute(f"DELETE FROM {table}")
    allowances.refill()
    spans.forget()


def window(now, minute: int, count: int) -> dict:
    """A minute that a device summed up itself."""
    start = store.microseconds(now) - (minute + 1) * 60_000_000
    return {
        "start": start,
        "end": start + 60_000_000,
        "count": count,
        "latency_ms": {"scale": 5, "offset": 100 + minute, "counts": [count], "zero_count": 0, "sum": 9.0 * count},
        "classes": {"car": count},
    }


@st.composite
def bodies(draw):
    """What a device sends, as changes of an envelope that depend on the time."""
    n, seed = draw(st.integers(0, 12)), draw(st.integers(0, 99))
    n_windows, role = draw(st.integers(0, 3)), draw(st.sampled_from(["complete", "sample"]))
    n_events, n_states = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    bad, classes = draw(st.booleans()), draw(st.sampled_from([(), ("car",), ("car", "lorry")]))
    release, counters = draw(st.sampled_from(["4.1.0", "4.2.0", "9.9.9"])), draw(st.booleans())

    def changes(now) -> dict:
        rng = np.random.default_rng(seed)
        records = inferences(now, n, step_s=37.0)
        for record in records:
            record["latency_ms"] = float(rng.lognormal(3, 0.3))
            if classes:
                record["predicted_class"] = str(rng.choice(classes))
        if bad:
            records.append({"time": now.isoformat(), "latency_ms": -1})
        at = now.isoformat()
        return {
            "context": {"workload": "lane-assist", "release": release},
            "inferences": records,
            "inferences_role": role if n_windows else "complete",
            "windows": [window(now, k, 5 + k) for k in range(n_windows)],
            "events": [{"time": at, "type": "reboot", "detail": {"n": k}} for k in range(n_events)],
            "states": [{"time": at, "battery_pct": 50 + k} for k in range(n_states)],
            "counters": {"time": at, "values": {"frames": 7}} if counters else ...,
        }

    return changes


def works(devices: list[Device], sent: list[dict], now) -> list[batches.Work]:
    """Batches of these devices, ready to be written."""
    made = []
    for device, body in zip(devices, sent, strict=True):
        raw = encode(body)
        made.append(prepare(device.pk, Received(protocol.read_batch(raw, 5000), raw, len(raw), now)))
    return made


def take(chosen: list[batches.Work]) -> None:
    """Write batches in one transaction."""
    group = Together(chosen)
    with store.batch_transaction():
        group.write()


@pytest.mark.django_db
def test_batches_taken_together_leave_what_each_leaves_alone(make_device, now):
    devices = [make_device(f"cam-{k}") for k in range(5)]

    @hypothesis_settings(max_examples=30)
    @given(made=st.lists(bodies(), min_size=1, max_size=5), data=st.data())
    def in_one_transaction(made, data):
        chosen = data.draw(st.permutations(devices))[: len(made)]
        sent = [envelope(now, **changes(now)) for changes in made]
        before = data.draw(st.sets(st.integers(0, len(made) - 1)))
        empty()
        alone = {}
        for device, work in sorted(zip(chosen, works(chosen, sent, now), strict=True), key=lambda pair: pair[0].pk):
            take([work])
            alone[device.pk] = answer(work)
        expected = stored()
        empty()
        for place in sorted(before, key=lambda place: chosen[place].pk):
            # these will be duplicates
            take(works([chosen[place]], [sent[place]], now))
        group = works(chosen, sent, now)
        take(group)
        for place, work in enumerate(group):
            assert answer(work) == alone[work.device_id] | {"duplicate": place in before}
        found = stored()
        for row_set in (expected, found):
            # a duplicate is counted in the ledger
            row_set["Batch"] = [row[:-2] for row in row_set["Batch"]]
        assert found == expected

    in_one_transaction()


class Sender:
    """A device with a token that this process has seen."""

    def __init__(self, device: Device, now) -> None:
        self.device = device
        self.token = tokens.issue_device_token(device, actor=Actor.system("tests"), now=now)
        Token.objects.filter(device=device).update(last_used_at=now)
        assert known_sender(self.token, now).pk == device.pk

    def entry(self, now, **changes) -> together._Entry:
        """A batch of it, ready to be taken; its labels have been seen."""
        body = envelope(now, **changes)
        works([self.device], [body], now)
        return together._Entry(senders.seen_token(self.token), encode(body), "", now, None)

    def send(self, now, **changes):
        """The answer to a batch."""
        return receive_together(self.token, encode(envelope(now, **changes)), "", now, None)


@pytest.fixture
def fleet(make_device, now) -> list[Sender]:
    """Three devices."""
    return [Sender(make_device(f"cam-{k}"), now) for k in range(3)]


@pytest.mark.django_db
def test_a_revoked_token_stores_nothing_and_is_left_to_a_closer_look(fleet, now):
    entries = [sender.entry(now) for sender in fleet]
    Token.objects.filter(device=fleet[1].device).update(revoked_at=now)
    first, second, third = together._take(entries)
    assert second is None
    assert first["accepted"] == third["accepted"] == {**first["accepted"], "inferences": 3}
    assert set(Batch.objects.values_list("device_id", flat=True)) == {fleet[0].device.pk, fleet[2].device.pk}


@pytest.mark.django_db
@pytest.mark.parametrize("change", ["suspended", "expired", "wrong secret", "not noted", "never seen"])
def test_what_needs_a_closer_look_is_not_taken_together(fleet, now, change):
    sender = fleet[0]
    assert sender.send(now) is None, "its labels have not been seen yet"
    take(works([fleet[1].device], [envelope(now)], now))
    match change:
        case "suspended":
            Device.objects.filter(pk=sender.device.pk).update(status=Device.Status.SUSPENDED)
        case "expired":
            Token.objects.filter(device=sender.device).update(expires_at=now)
        case "wrong secret":
            sender.token = sender.token[:-1] + ("a" if sender.token[-1] != "a" else "b")
        case "not noted":
            Token.objects.filter(device=sender.device).update(last_used_at=now - timedelta(days=2))
        case "never seen":
            senders.forget()
            assert known_sender(fleet[2].token, now)
    assert sender.send(now) is None
    assert fleet[2].send(now)["duplicate"] is False
    assert set(Batch.objects.values_list("device_id", flat=True)) == {fleet[1].device.pk, fleet[2].device.pk}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "changes",
    [{"device": "cam-1"}, {"context": {"workload": "lane-assist", "release": "7.7.7"}}, {"boot_id": 5}],
    ids=["for another device", "new labels", "cannot be read"],
)
def test_what_asks_for_more_than_storing_is_not_taken_together(fleet, now, changes):
    take(works([fleet[1].device], [envelope(now)], now))
    assert fleet[0].send(now, **changes) is None
    assert fleet[0].send(now, device="cam-0")["duplicate"] is False


@pytest.mark.django_db
def test_a_conflict_and_a_throttled_device_are_refused_alone(fleet, now, settings):
    take(works([fleet[0].device], [envelope(now, uptime_ms=5)], now))
    settings.INGEST_RATE, settings.INGEST_BURST = 0.001, 1
    assert fleet[1].send(now, seq=7)["duplicate"] is False
    conflict, throttled, fine = together._take([sender.entry(now) for sender in fleet])
    assert isinstance(conflict, BatchConflict)
    assert isinstance(throttled, TooMany)
    assert fine["duplicate"] is False
    assert set(Batch.objects.values_list("device_id", "batch_seq")) == {
        (fleet[0].device.pk, 1),
        (fleet[1].device.pk, 7),
        (fleet[2].device.pk, 1),
    }


@pytest.mark.django_db(transaction=True)
def test_a_batch_that_cannot_be_stored_leaves_the_others_to_themselves(fleet, now):
    entries = [sender.entry(now, inferences=inferences(now, 2 + k)) for k, sender in enumerate(fleet)]
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE telemetry_batch ADD CONSTRAINT refuse CHECK (inferences <> 3) NOT VALID")
    try:
        assert together._take(entries) == [None, None, None]
        assert not Batch.objects.exists()
        assert rows("inference", "time") == []
        assert together._take(entries[:1])[0]["duplicate"] is False
        [refusal] = together._take(entries[1:2])
        assert "refuse" in str(refusal)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE telemetry_batch DROP CONSTRAINT refuse")
    assert list(Batch.objects.values_list("inferences")) == [(2,)]


@pytest.mark.django_db(transaction=True)
def test_many_devices_at_once_that_send_everything_twice_count_once(fleet, now):
    take(works([fleet[0].device], [envelope(now, seq=100)], now))
    barrier = Barrier(6)

    def deliver(place: int) -> list[bool]:
        try:
            barrier.wait(timeout=30)
            sender = fleet[place % 3]
            return [sender.send(now, seq=seq, inferences=inferences(now, 1 + seq))["duplicate"] for seq in range(12)]
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(deliver, range(6)))
    for first, second in zip(answers[:3], answers[3:], strict=True):
        assert [sorted(pair) for pair in zip(first, second, strict=True)] == 12 * [[False, True]]
    assert rows("inference", "count(*)") == [(3 + 3 * sum(range(1, 13)),)]
    assert rows("device_minute", "sum(count)::int") == rows("inference", "count(*)")
    assert rows("device_cell", "sum(count)::int") == rows("inference", "count(*)")


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_slow_is_said_to_all_and_nothing_is_stored(fleet, now, settings):
    settings.INGEST_DB_TIMEOUT = 0.1
    entries = [sender.entry(now) for sender in fleet]
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        [name] = cursor.fetchone()
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}")
    with psycopg.connect(urlunsplit(url)) as other:
        other.execute("LOCK TABLE fleet_token IN ACCESS EXCLUSIVE MODE")
        refusals = together._take(entries)
    assert [type(refusal) for refusal in refusals] == 3 * [OperationalError]
    assert not Batch.objects.exists()
    assert all(answer["duplicate"] is False for answer in together._take(entries))
