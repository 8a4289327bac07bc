"""The spool keeps its promise whenever the process dies: nothing lost, nothing doubled, order kept, bounds held."""

import gzip
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ridgeline_sdk.envelope import as_rows
from ridgeline_sdk.records import COUNTERS, EVENT, INFERENCE, SECTION, STATE, WINDOW, Label, Record
from ridgeline_sdk.spool import Spool, SpoolBusy

KINDS = (INFERENCE, WINDOW, EVENT, STATE)
LABELS = (Label("boot", '{"release":"4.1.0"}'), Label("boot", '{"release":"4.2.0"}'))


def head(label):
    return {"context": json.loads(label.context)}


def record(number, kind=INFERENCE, label=LABELS[0], padding=""):
    return Record(kind, label, number, json.dumps({"n": number, **({"padding": padding} if padding else {})}))


def decoded(batch):
    envelope = json.loads(gzip.decompress(batch.body))
    if isinstance(envelope.get("inferences"), dict):
        envelope["inferences"] = as_rows(envelope["inferences"])
    return envelope


def numbers(envelope, kind):
    return [row["n"] for row in envelope.get(SECTION[kind], [])]


class SpoolAgainstALedger(RuleBasedStateMachine):
    """Any order of storing, forming, sending, losing answers, refusing, splitting and restarting."""

    @initialize()
    def begin(self):
        self.directory = tempfile.mkdtemp()
        self.path = os.path.join(self.directory, "spool.db")
        self.spool = Spool(self.path)
        self.given = {kind: [] for kind in KINDS}
        self.label_of = {}
        self.ledger = {}
        self.stored = {kind: [] for kind in KINDS}
        self.refused = {kind: [] for kind in KINDS}
        self.admitted = {"inferences": 0, "windows": 0, "events": 0}
        self.count = 0

    def teardown(self):
        if hasattr(self, "spool"):
            self.everything_is_somewhere_once()
            self.spool.close()
            shutil.rmtree(self.directory)

    @rule(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=6), label=st.sampled_from(LABELS))
    def put(self, kinds, label):
        batch = []
        for kind in kinds:
            self.count += 1
            self.given[kind].append(self.count)
            self.label_of[self.count] = label
            batch.append(record(self.count, kind, label))
        self.spool.put(batch)

    @rule(limit=st.integers(1, 5), urgent=st.booleans())
    def form(self, limit, urgent):
        self.spool.form(head, "boot", max_records=limit, urgent_only=urgent)

    @rule(answered=st.booleans())
    def send(self, answered):
        batch = self.spool.outstanding()
        if batch is None:
            return
        key = (batch.boot_id, batch.seq)
        self.spool.mark_unknown(batch, True)
        if key in self.ledger:
            assert self.ledger[key] == batch.body, "a resend must be byte-identical"
        else:
            self.ledger[key] = batch.body
            envelope = decoded(batch)
            for kind in KINDS:
                self.stored[kind] += numbers(envelope, kind)
            for section, count in envelope["dropped"].items():
                self.admitted[section] += count
        if answered:
            self.spool.acknowledge(batch)

    @rule()
    def refuse(self):
        batch = self.spool.outstanding()
        if batch is not None and (batch.boot_id, batch.seq) not in self.ledger:
            for kind in KINDS:
                self.refused[kind] += numbers(decoded(batch), kind)
            self.spool.refuse(batch)

    @rule(by_urgency=st.booleans())
    def split(self, by_urgency):
        batch = self.spool.outstanding()
        if batch is not None and (batch.boot_id, batch.seq) in self.ledger:
            assert not self.spool.split(batch, by_urgency=by_urgency), "what may be stored must not be taken apart"
        elif batch is not None:
            self.spool.split(batch, by_urgency=by_urgency)

    @precondition(lambda self: hasattr(self, "spool"))
    @rule()
    def restart(self):
        self.spool.close()
        self.spool = Spool(self.path)

    @invariant()
    def size_is_what_the_file_holds(self):
        if hasattr(self, "spool"):
            told = self.spool.size_bytes()
            self.spool._recount()
            assert told == self.spool.size_bytes()

    def everything_is_somewhere_once(self):
        unanswered = {kind: [] for kind in KINDS}
        while True:
            # Drain for good: every batch is sent, and answered this time.
            batch = self.spool.outstanding() or self.spool.form(head, "boot")
            if batch is None:
                break
            if (batch.boot_id, batch.seq) not in self.ledger:
                for kind in KINDS:
                    unanswered[kind] += numbers(decoded(batch), kind)
                for section, count in decoded(batch)["dropped"].items():
                    self.admitted[section] += count
            self.spool.acknowledge(batch)
        for kind in KINDS:
            arrived = self.stored[kind] + unanswered[kind]
            assert sorted(arrived + self.refused[kind]) == self.given[kind]
        pending = dict(self.spool._db.execute("SELECT section, pending FROM loss"))
        for kind in (INFERENCE, WINDOW, EVENT):
            section = SECTION[kind]
            assert self.admitted[section] + pending.get(section, 0) == len(self.refused[kind])


TestSpoolAgainstALedger = SpoolAgainstALedger.TestCase
TestSpoolAgainstALedger.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_records_of_a_kind_and_label_leave_in_the_order_in_which_they_came():
    spool = Spool()
    spool.put(record(n, KINDS[n % 4], LABELS[n % 3 % 2]) for n in range(200))
    left = {}
    while batch := spool.form(head, "boot", max_records=7):
        envelope = decoded(batch)
        for kind in KINDS:
            left.setdefault((kind, envelope["context"]["release"]), []).extend(numbers(envelope, kind))
        spool.acknowledge(batch)
    assert sum(map(len, left.values())) == 200
    assert all(row == sorted(row) for row in left.values())


def test_batches_of_a_boot_are_numbered_from_one_without_a_hole():
    spool = Spool()
    spool.put(record(n) for n in range(10))
    seqs = [decoded(spool.form(head, "boot", max_records=3))["batch_seq"] for _ in range(4)]
    assert seqs == [1, 2, 3, 4]
    spool.put([record(11)])
    assert decoded(spool.form(head, "another boot"))["batch_seq"] == 1


def test_a_batch_is_the_same_bytes_after_a_restart(tmp_path):
    path = str(tmp_path / "spool.db")
    spool = Spool(path)
    spool.put(record(n) for n in range(5))
    formed = spool.form(head, "boot")
    spool.close()
    assert Spool(path).outstanding() == formed


def test_when_full_the_oldest_inferences_go_first_and_the_next_batch_says_so():
    spool = Spool(max_rows=10)
    spool.put([record(0, EVENT), record(1, WINDOW)])
    spool.put(record(n) for n in range(2, 22))
    envelope = decoded(spool.form(head, "boot"))
    assert numbers(envelope, INFERENCE) == list(range(14, 22))
    assert numbers(envelope, EVENT) == [0]
    assert numbers(envelope, WINDOW) == [1]
    assert envelope["dropped"] == {"inferences": 12, "windows": 0, "events": 0}
    spool.put([record(30)])
    assert decoded(spool.form(head, "boot"))["dropped"]["inferences"] == 0


def test_events_outlive_windows_and_windows_outlive_states_and_inferences():
    spool = Spool(max_rows=4)
    spool.put([record(1, EVENT), record(2, WINDOW), record(3, STATE), record(4)])
    survivors = []
    for n in range(5, 9):
        spool.put([record(n, EVENT)])
        survivors.append({kind for kind, count in spool.pending().items() if count})
    assert survivors == [{EVENT, WINDOW, STATE}, {EVENT, WINDOW}, {EVENT}, {EVENT}]
    assert spool.dropped_total() == {"inferences": 1, "windows": 1, "events": 1}


def test_payload_never_exceeds_its_bound_in_bytes():
    spool = Spool(max_bytes=20_000)
    for n in range(300):
        spool.put([record(n, padding="x" * (n % 97) * 5)])
        assert spool.size_bytes() <= 20_000
    assert spool.pending()[INFERENCE] + spool.dropped_total()["inferences"] == 300


def test_a_batch_holds_one_snapshot_of_counters_and_keeps_the_next_for_later():
    spool = Spool()
    spool.put([record(1, COUNTERS), record(2, COUNTERS)])
    first, second = (decoded(spool.form(head, "boot")) for _ in range(2))
    assert (first["counters"]["n"], second["counters"]["n"]) == (1, 2)


def test_an_urgent_batch_holds_events_and_windows_alone_and_is_sent_first():
    spool = Spool()
    spool.put([record(1), record(2, EVENT), record(3, WINDOW)])
    bulk = spool.form(head, "boot", max_records=1)
    spool.put([record(4), record(5, EVENT)])
    urgent = spool.form(head, "boot", urgent_only=True)
    assert (numbers(decoded(urgent), EVENT), numbers(decoded(urgent), INFERENCE)) == ([5], [])
    assert spool.outstanding() == urgent
    spool.acknowledge(urgent)
    assert spool.outstanding() == bulk
    assert spool.outstanding(urgent_only=True) is None


def test_a_split_reuses_the_refused_number_and_takes_the_next():
    spool = Spool()
    spool.put(record(n) for n in range(5))
    batch = spool.form(head, "boot")
    assert spool.split(batch)
    parts = []
    while part := spool.outstanding():
        parts.append((part.seq, numbers(decoded(part), INFERENCE)))
        spool.acknowledge(part)
    assert parts == [(1, [0, 1, 2]), (2, [3, 4])]


def test_what_the_server_may_have_stored_is_not_taken_apart_even_after_a_restart(tmp_path):
    path = str(tmp_path / "spool.db")
    spool = Spool(path)
    spool.put(record(n) for n in range(5))
    spool.mark_unknown(spool.form(head, "boot"), True)
    spool.close()
    spool = Spool(path)
    assert not spool.split(spool.outstanding())
    spool.mark_unknown(spool.outstanding(), False)
    assert spool.split(spool.outstanding())


def test_a_refused_batch_is_admitted_as_lost_along_with_the_losses_it_was_to_admit():
    spool = Spool(max_rows=3)
    spool.put(record(n) for n in range(5))
    spool.refuse(spool.form(head, "boot"))
    spool.put([record(9, EVENT)])
    assert decoded(spool.form(head, "boot"))["dropped"]["inferences"] == 5
    assert spool.dropped_total()["inferences"] == 5


def test_an_unfinished_window_of_a_dead_process_is_sent_by_the_next(tmp_path):
    path = str(tmp_path / "spool.db")
    spool = Spool(path)
    spool.save_drafts({"a": record(1, WINDOW), "b": record(2, WINDOW)})
    spool.save_drafts({"a": record(3, WINDOW)})
    spool.put([record(4, WINDOW)], drop_drafts=["b"])
    spool.close()
    spool = Spool(path)
    assert spool.adopt_drafts() == 1
    assert sorted(numbers(decoded(spool.form(head, "boot")), WINDOW)) == [3, 4]
    assert spool.adopt_drafts() == 0


def test_a_second_process_is_turned_away(tmp_path):
    path = str(tmp_path / "spool.db")
    spool = Spool(path)
    with pytest.raises(SpoolBusy, match="in use"):
        Spool(path, wait_s=0.05)
    spool.close()
    Spool(path).close()


def test_a_failed_write_changes_nothing():
    spool = Spool()
    spool.put([record(1)])
    before = (spool.size_bytes(), spool.pending())
    with pytest.raises(sqlite3.Error):
        spool.put([record(2), Record(INFERENCE, LABELS[0], 3, None)])
    with pytest.raises(ZeroDivisionError):
        spool.form(lambda label: 1 / 0, "boot")
    assert (spool.size_bytes(), spool.pending()) == before
    assert decoded(spool.form(head, "boot"))["batch_seq"] == 1


def test_two_spools_in_one_boot_have_different_boot_ids_and_one_spool_always_the_same(tmp_path):
    path = str(tmp_path / "spool.db")
    spool = Spool(path)
    told = spool.boot_id_for("system boot")
    spool.close()
    assert Spool(path).boot_id_for("system boot") == told
    assert Spool().boot_id_for("system boot") != told


# The victim stores, forms, sends, splits and acknowledges, and is killed before its n-th statement.
VICTIM = """
import hashlib, json, os, signal, sys
from ridgeline_sdk.records import INFERENCE, EVENT, Label, Record
from ridgeline_sdk.spool import Spool

path, sent_file, fatal = sys.argv[1], sys.argv[2], int(sys.argv[3])
steps = 0

def step(statement):
    global steps
    steps += 1
    if steps == fatal:
        os.kill(os.getpid(), signal.SIGKILL)

spool = Spool(path)
spool._db.set_trace_callback(step)
label = Label("boot", '{"release":"4.1.0"}')
head = lambda label: {"context": {}}
log = os.open(sent_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def send(batch):
    # The server's ledger: what it has received, whether or not the victim lives to hear of it.
    os.write(log, (json.dumps([batch.seq, batch.body.hex()]) + "\\n").encode())

def put(numbers, kind=INFERENCE):
    spool.put(Record(kind, label, n, json.dumps({"n": n})) for n in numbers)
    os.write(log, (json.dumps(["put", list(numbers)]) + "\\n").encode())

put(range(0, 4))
put(range(4, 6), EVENT)
batch = spool.form(head, "boot", max_records=3)
send(batch)
spool.acknowledge(batch)
put(range(6, 10))
batch = spool.form(head, "boot", max_records=5)
spool.split(batch)
while batch := spool.outstanding():
    send(batch)
    spool.acknowledge(batch)
print(steps)
"""


def run_victim(directory, fatal):
    path, sent = os.path.join(directory, "spool.db"), os.path.join(directory, "sent")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    victim = subprocess.run(
        [sys.executable, "-S", "-c", VICTIM, path, sent, str(fatal)], capture_output=True, env=environment, timeout=60
    )
    lines = []
    if os.path.exists(sent):
        with open(sent) as file:
            lines = [json.loads(line) for line in file]
    return victim, path, lines


def test_kill_9_before_any_statement_loses_nothing_and_doubles_nothing(tmp_path):
    (tmp_path / "whole").mkdir()
    victim, _, _ = run_victim(str(tmp_path / "whole"), 0)
    statements = int(victim.stdout)
    assert statements > 60
    for fatal in range(1, statements + 1):
        directory = tmp_path / str(fatal)
        directory.mkdir()
        victim, path, lines = run_victim(str(directory), fatal)
        assert victim.returncode == -signal.SIGKILL
        promised = {n for kind, value in lines if kind == "put" for n in value}
        ledger = {}
        for seq, body in ((seq, body) for seq, body in lines if seq != "put"):
            assert ledger.setdefault(seq, body) == body
        spool = Spool(path)
        while batch := spool.outstanding() or spool.form(head, "boot"):
            assert ledger.setdefault(batch.seq, batch.body.hex()) == batch.body.hex()
            spool.acknowledge(batch)
        spool.close()
        arrived = []
        for body in ledger.values():
            envelope = json.loads(gzip.decompress(bytes.fromhex(body)))
            inferences = envelope.get("inferences", [])
            arrived += [row["n"] for row in (as_rows(inferences) if isinstance(inferences, dict) else inferences)]
            arrived += numbers(envelope, EVENT)
        assert len(arrived) == len(set(arrived)), f"doubled when killed before statement {fatal}"
        # A record whose `put` had not returned may or may not be there; one that had returned is.
        assert promised <= set(arrived), f"lost when killed before statement {fatal}"
