"""Retention, audit and rebuild: each on real chunks and rows, each leaving a row behind."""

import io
from datetime import timedelta

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from telemetry import store
from telemetry.models import Batch, MaintenanceRun, QuarantinedRecord
from telemetry.partials import HOUR_US, MINUTE_US, cell_partials, minute_partials
from telemetry.selectors.status.upkeep import progress_of, run_line
from telemetry.services import folding
from telemetry.services.auditing import audit_tiers
from telemetry.services.rebuilding import TIERS, rebuild_tiers
from telemetry.services.retention import COMPRESS_AFTER, apply_retention, horizon
from telemetry.store import upkeep
from tests.telemetry.records import draw_records, make_context, store_batch

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SPAN = timedelta(hours=36)
COUNTED = (
    "cohort_cell",
    "inference",
    "device_minute",
    "device_hour",
    "device_day",
    "cohort_5min",
    "cohort_hour",
    "cohort_day",
)


def rows(table, order="1, 2, 3, 4, 5, 6, 7"):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} ORDER BY {order}")
        return cursor.fetchall()


def execute(sql, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


@pytest.fixture
def history(cast, make_device, now):
    """A day and a half, one day of it whole, of two devices in two regions, folded."""
    rng = np.random.default_rng(51)
    context = make_context(cast.release, now)
    devices = [make_device("cam-1"), make_device("cam-2", "hailo-8", "us-west")]
    for device in devices:
        for seq in range(3):
            times = [now - (seq + 1) * DAY / 2 + DAY / 2 * share for share in rng.random(40)]
            store_batch(device, context, draw_records(rng, times), seq=seq, received_at=now)
    folding.fold(now)
    return devices


def audit(now, progress=lambda doing, share: None):
    return audit_tiers(now - SPAN, now, now=now, clock=lambda: now, progress=progress)


def rebuild(now, *tiers, progress=lambda doing, share: None):
    return rebuild_tiers(tiers, now - SPAN, now, now=now, clock=lambda: now, progress=progress)


@pytest.mark.django_db
def test_tiers_that_agree_are_found_to_agree_and_the_run_is_recorded(history, now):
    result = audit(now)
    assert result["differences"] == []
    assert result["compared"]["raw and minutes"] == 36
    assert result["compared"]["cohort_hour and cohort_day"] == 1
    assert result["compared"]["histograms of minutes and cohorts"] > 10
    run = MaintenanceRun.objects.get(kind="audit")
    assert (run.succeeded, run.finished_at, run.result["agreed"]) == (True, now, True)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "work"),
    [("audit", audit), ("rebuild", lambda now, progress: rebuild(now, "cohort_5min", progress=progress))],
)
def test_the_status_page_sees_how_far_a_run_is_while_it_runs(history, now, kind, work):
    seen = []

    def progress(doing, share):
        run = MaintenanceRun.objects.get(kind=kind)
        seen.append((share, run.finished_at, progress_of(run)))

    work(now, progress=progress)
    shares = [share for share, *_ in seen]
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(set(shares)) > 1
    assert {finished for _, finished, _ in seen} == {None}
    told = [found for *_, found in seen if found]
    assert told and all(0 <= share <= 1 and doing for share, doing in told)
    # and nothing of it is left when the run is over
    assert progress_of(MaintenanceRun.objects.get(kind=kind)) is None


DAMAGES = [
    ("DELETE FROM inference WHERE time = (SELECT min(time) FROM inference)", "ledger and raw"),
    ("DELETE FROM inference WHERE time = (SELECT min(time) FROM inference)", "raw and minutes"),
    ("UPDATE inference SET energy_mj = energy_mj + 0.001 WHERE device_id = {device}", "raw and minutes"),
    ("UPDATE device_minute SET count = count + 1 WHERE device_id = {device}", "minutes and cohorts"),
    ("UPDATE device_hour SET latency_sum = latency_sum + 0.001 WHERE device_id = {device}", "minutes and hours"),
    ("UPDATE device_day SET retries = retries + 1", "device_hour and device_day"),
    ("UPDATE cohort_5min SET throttled = throttled + 1", "minutes and cohorts"),
    ("UPDATE cohort_5min SET latency_hist = energy_hist", "histograms of minutes and cohorts"),
    ("UPDATE cohort_hour SET class_counts = NULL", "cohort_5min and cohort_hour"),
    ("DELETE FROM cohort_day", "cohort_hour and cohort_day"),
    ("UPDATE cohort_cell SET energy_sum = energy_sum * 1.001", "cells of devices and cohorts"),
]


@pytest.mark.django_db
def test_any_damaged_tier_is_found(history, now):
    for damage, check in DAMAGES:
        with transaction.atomic():
            execute(damage.format(device=history[0].pk))
            result = audit(now)
            assert not result["agreed"]
            assert any(text.startswith(check) for text in result["differences"]), result["differences"]
            assert MaintenanceRun.objects.get(kind="audit").succeeded is False
            transaction.set_rollback(True)


@pytest.mark.django_db
def test_what_is_marked_and_not_folded_is_no_difference(cast, history, now):
    rng = np.random.default_rng(52)
    late = draw_records(rng, [now - 5 * HOUR] * 20)

    def progress(doing, share):
        # a batch that comes while the audit runs, after its fold
        if not Batch.objects.filter(batch_seq=99).exists():
            store_batch(history[0], make_context(cast.candidate, now), late, seq=99, received_at=now)

    assert audit(now, progress)["differences"] == []
    assert store.marks_state(10)[0] > 0


@pytest.mark.django_db
def test_any_damaged_tier_is_rebuilt_as_it_was(history, now):
    for tier in [tier for tier in TIERS if tier != "device_minute"]:
        before = rows(tier)
        execute(f"UPDATE {tier} SET count = count + 7")
        execute(f"DELETE FROM {tier} WHERE bucket < %s", now - DAY)
        assert rows(tier) != before
        result = rebuild(now, tier)
        after = rows(tier)
        assert result["rows"][tier] > 0
        assert [row[:7] for row in after] == [row[:7] for row in before]
    assert audit(now)["differences"] == []


@pytest.mark.django_db
def test_minutes_are_rebuilt_from_raw_rows_and_the_tiers_from_them(history, now):
    before = {table: rows(table) for table in COUNTED}
    execute("UPDATE device_minute SET count = count + 1, latency_hist = NULL")
    for table in ("device_hour", "device_day", "cohort_5min", "cohort_hour", "cohort_day"):
        execute(f"DELETE FROM {table}")
    result = rebuild(now, *TIERS)
    assert result["skipped_batches"] == 0
    assert audit(now)["differences"] == []
    for table, expected in before.items():
        assert len(rows(table)) == len(expected), table
    # everything but sums, whose last bit depends on the order of addition
    assert [row[:14] for row in rows("device_minute")] == [row[:14] for row in before["device_minute"]]
    assert [row[-5:] for row in rows("cohort_day")] == [row[-5:] for row in before["cohort_day"]]


@pytest.mark.django_db
def test_batches_with_windows_or_without_all_raw_rows_keep_their_minutes(history, now):
    Batch.objects.filter(device=history[0], batch_seq=0).update(windows=1)
    Batch.objects.filter(device=history[0], batch_seq=1).update(sampled=True)
    gone = Batch.objects.get(device=history[1], batch_seq=0)
    execute("DELETE FROM inference WHERE batch_id = %s AND time = %s", gone.pk, gone.min_time)
    kept = rows("device_minute")
    result = rebuild(now, "device_minute")
    assert result["skipped_batches"] == 1
    assert [row[:14] for row in rows("device_minute")] == [row[:14] for row in kept]


@pytest.mark.django_db
def test_partials_read_back_from_raw_rows_are_those_that_ingest_computed(history, now):
    batches = upkeep.rebuildable_batches(now - SPAN, now, after=0, limit=100)
    assert len(batches) == 6
    found = upkeep.raw_records(batches)
    assert {batch.id: batch.inferences for batch in batches} == {k: r.time_us.size for k, r in found.items()}
    for records in found.values():
        for partials, width in ((minute_partials(records), MINUTE_US), (cell_partials(records), HOUR_US)):
            assert partials.values["count"].sum() == records.time_us.size
            assert not (partials.bucket_us % width).any()


@pytest.mark.django_db
def test_rebuilding_moves_old_data_to_the_region_where_a_device_now_is(cast, history, now):
    history[0].region = cast.west
    history[0].save()
    rebuild(now, "cohort_5min", "cohort_hour", "cohort_day")
    for tier in ("cohort_5min", "cohort_hour", "cohort_day"):
        assert {row[3] for row in rows(tier)} == {cast.west.pk}, tier
    assert audit(now)["differences"] == []


@pytest.mark.django_db
def test_a_rebuild_beside_unfolded_marks_counts_their_rows_once(cast, history, now):
    rng = np.random.default_rng(53)
    context = make_context(cast.candidate, now)
    late = draw_records(rng, [now - 5 * HOUR] * 20)

    def progress(tier, share):
        # a batch that comes after the last fold of the rebuild, before it reads the minutes
        if (tier, share) == ("device_hour", 1.0) and not Batch.objects.filter(batch_seq=99).exists():
            store_batch(history[0], context, late, seq=99, received_at=now)

    rebuild(now, "device_hour", "cohort_5min", "cohort_hour", "cohort_day", progress=progress)
    assert Batch.objects.filter(batch_seq=99).exists()
    assert context.pk not in {row[1] for row in rows("cohort_5min")}
    folding.fold(now)
    assert sum(row[4] for row in rows("cohort_5min") if row[1] == context.pk) == 20
    assert audit(now)["differences"] == []


@pytest.mark.django_db(transaction=True)
def test_retention_drops_whole_chunks_per_tier_and_keeps_the_rest(cast, make_device, now):
    rng = np.random.default_rng(54)
    device, context = make_device(), make_context(cast.release, now)
    for seq, age in enumerate((1, 20, 120, 900)):
        received = now - age * DAY
        store_batch(device, context, draw_records(rng, [received] * 10), seq=seq, received_at=received)
    QuarantinedRecord.objects.create(
        device=device, received_at=now - 40 * DAY, section="inferences", code="type", message="", batch=None
    )
    result = apply_retention(now, clock=lambda: now)
    ages = {table: sorted((now - row[0]) // DAY for row in rows(table, "1")) for table in COUNTED}
    assert set(ages["inference"]) == {1}
    assert set(ages["device_minute"]) == set(ages["cohort_5min"]) == {1, 20}
    assert set(ages["device_hour"]) == set(ages["cohort_hour"]) == set(ages["cohort_cell"]) == {1, 20, 120}
    # the day's row begins at midnight
    assert set(ages["device_day"]) == set(ages["cohort_day"]) == {1, 20, 120, 900}
    assert Batch.objects.count() == 2
    assert QuarantinedRecord.objects.count() == 0
    run = MaintenanceRun.objects.get(kind="retention")
    assert run.succeeded
    assert run.result == result
    assert set(result["dropped_chunks"]) == {
        *("inference", "device_minute", "device_cell", "cohort_5min", "device_hour", "cohort_hour", "cohort_cell")
    }
    assert result["deleted_rows"] == {"ledger": 2, "gaps": 0, "quarantine": 1, "refusals": 0}
    # the edition under test cannot compress, and says so
    assert result["compressed_chunks"] is None


@pytest.mark.django_db(transaction=True)
def test_chunks_that_are_due_for_compression_are_found_in_the_catalogue(cast, make_device, now):
    rng = np.random.default_rng(57)
    device, context = make_device(), make_context(cast.release, now)
    for seq, age in enumerate((1, 5, 9)):
        received = now - age * DAY
        store_batch(device, context, draw_records(rng, [received] * 10), seq=seq, received_at=received)
    chunks = upkeep.uncompressed_chunks("inference", now - COMPRESS_AFTER["inference"])
    held = [{row[0] for row in rows(chunk, "1")} for chunk in chunks]
    assert held == [{now - 9 * DAY}, {now - 5 * DAY}]
    assert upkeep.uncompressed_chunks("device_state", now) == []


@pytest.mark.django_db(transaction=True)
def test_an_edition_that_will_not_compress_is_told_and_the_rest_of_the_run_is_done(cast, make_device, now, monkeypatch):
    assert upkeep.has_compression() is False
    rng = np.random.default_rng(58)
    device, context = make_device(), make_context(cast.release, now)
    for seq, age in enumerate((5, 20)):
        received = now - age * DAY
        store_batch(device, context, draw_records(rng, [received] * 10), seq=seq, received_at=received)
    # as a server would be that says it could; the refusal is the database's own
    monkeypatch.setattr(upkeep, "has_compression", lambda: True)
    result = apply_retention(now, clock=lambda: now)
    assert "inference" in result["dropped_chunks"] and result["compressed_chunks"] == {}
    run = MaintenanceRun.objects.get(kind="retention")
    line = run_line(MaintenanceRun.Kind.RETENTION, run, now)
    assert run.succeeded is False and line.state == "bad"
    assert "was not compressed" in line.note and "not supported" in line.note


@pytest.mark.parametrize("compressed", [None, {"inference": ["a", "b"], "device_minute": ["c"]}])
def test_the_status_page_says_how_many_chunks_were_compressed_where_the_edition_can(now, compressed):
    result = {"dropped_chunks": {"inference": ["x"]}, "deleted_rows": {}, "compressed_chunks": compressed}
    run = MaintenanceRun(kind="retention", started_at=now, finished_at=now, succeeded=True, result=result)
    note = run_line(MaintenanceRun.Kind.RETENTION, run, now).note
    assert ("3 chunks compressed" in note) is bool(compressed)


@pytest.mark.django_db(transaction=True)
def test_a_batch_is_folded_before_its_minutes_are_dropped(cast, make_device, now):
    rng = np.random.default_rng(55)
    old = now - 120 * DAY
    store_batch(make_device(), make_context(cast.release, now), draw_records(rng, [old] * 10), seq=1, received_at=old)
    apply_retention(now, clock=lambda: now)
    assert rows("device_minute") == []
    assert [row[4] for row in rows("cohort_day")] == [10]
    assert [row[3] for row in rows("device_day")] == [10]


def test_minutes_and_ledger_outlive_raw_rows_whatever_the_settings_say(settings, now):
    settings.RETENTION_DAYS = {**settings.RETENTION_DAYS, "raw": 30, "minute": 5, "ledger": 1}
    assert horizon("minute", now) == horizon("ledger", now) == now - 31 * DAY
    assert horizon("raw", now) == now - 30 * DAY


@pytest.mark.django_db
def test_a_run_that_dies_says_of_what(history, now):
    execute("ALTER TABLE cohort_5min ADD CONSTRAINT disk_full CHECK (count < 0) NOT VALID")
    with pytest.raises(IntegrityError):
        rebuild(now, "cohort_5min")
    run = MaintenanceRun.objects.get(kind="rebuild")
    assert run.succeeded is False
    assert run.result["error"].startswith("IntegrityError:") and "disk_full" in run.result["error"]


@pytest.mark.django_db
def test_the_commands_say_what_they_did(cast, make_device):
    clock = timezone.now()
    rng = np.random.default_rng(56)
    records = draw_records(rng, [clock - 3 * HOUR] * 10)
    store_batch(make_device(), make_context(cast.release, clock), records, seq=1, received_at=clock)
    out, err = io.StringIO(), io.StringIO()
    call_command("rebuild_tiers", "--from=-1d", stdout=out, stderr=err)
    assert "cohort_5min: 1 rows written" in out.getvalue()
    assert "100%" in err.getvalue()
    out, err = io.StringIO(), io.StringIO()
    call_command("audit_tiers", stdout=out, stderr=err)
    assert out.getvalue().endswith("All tiers agree.\n")
    assert "raw and minutes" in err.getvalue() and err.getvalue().rstrip().endswith("100%")
    execute("UPDATE cohort_5min SET count = count + 1")
    with pytest.raises(CommandError, match="differences"):
        call_command("audit_tiers", stdout=out)
    with pytest.raises(CommandError, match="is none of"):
        call_command("rebuild_tiers", "cohort_second")
    with pytest.raises(CommandError, match="from"):
        call_command("rebuild_tiers", "--from", "yesterday")
    assert store.marks_state(1)[0] == 0
