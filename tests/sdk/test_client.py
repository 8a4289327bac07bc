"""The sender against a server that refuses, hangs up, and loses its answers after the commit."""

import json
import random
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ridgeline_sdk import Client, Device, Spool, Transport, TransportError
from ridgeline_sdk.transport import MAX_ANSWER_BYTES


def record(client, count, start=0):
    for number in range(start, start + count):
        client.device.record(latency_ms=float(number + 1))


def arrived(server):
    return [row["latency_ms"] - 1 for row in server.rows["inferences"]]


def test_what_was_recorded_arrives_once_and_the_spool_is_empty(server, make_client):
    client = make_client()
    record(client, 1200)
    client.device.event("boot")
    assert client.drain()
    assert sorted(arrived(server)) == list(range(1200))
    assert len(server.rows["events"]) == 1
    # The event goes ahead of the backlog, then 500, 500 and 200 rows.
    assert client.tally["batches"] == 4
    assert client.spool.is_empty()


def test_one_connection_serves_many_batches(server, make_client):
    connections = []
    original = server.http.process_request
    server.http.process_request = lambda request, address: (connections.append(address), original(request, address))
    client = make_client()
    record(client, 2000)
    assert client.drain()
    assert client.tally["batches"] == 4
    assert len(connections) == 1


@pytest.mark.parametrize("mishap", ["drop", "lose", "half"])
def test_whatever_happens_on_the_way_a_resend_is_byte_identical_and_counts_once(server, make_client, mishap):
    server.script.extend([mishap] * 3)
    client = make_client()
    record(client, 10)
    assert client.drain(timeout_s=120)
    assert arrived(server) == list(range(10))
    bodies = {body for _, path, _, body in server.requests if path == "/api/v1/telemetry"}
    assert len(bodies) == 1
    assert client.tally["duplicates"] == (0 if mishap == "drop" else 1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(["drop", "lose", "half", (429, {"Retry-After": "2"}), (503, {}), (502, {}), (413, {})]),
        max_size=12,
    ),
    st.integers(1, 60),
    st.integers(0, 5),
)
def test_any_sequence_of_mishaps_doubles_nothing_and_admits_what_it_loses(
    server, make_client, script, inferences, events
):
    for section in server.rows.values():
        section.clear()
    server.ledger.clear()
    server.script.clear()
    server.script.extend(script)
    client = make_client()
    record(client, inferences)
    for _ in range(events):
        client.device.event("boot")
    assert client.drain(timeout_s=100_000)
    rows, ids = arrived(server), [event["id"] for event in server.rows["events"]]
    assert len(set(rows)) == len(rows)
    assert len(set(ids)) == len(ids)
    lost = client.spool.dropped_total()
    assert inferences - len(rows) <= lost.get("inferences", 0)
    assert events - len(ids) <= lost.get("events", 0)
    if (413, {}) not in script:
        assert client.tally["refused_batches"] == 0
        assert not any(lost.values())


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(server, make_client, status):
    server.script.append((status, {"Retry-After": "40"}))
    client = make_client()
    record(client, 3)
    assert client.drain(timeout_s=120)
    assert 40.0 <= sum(client.slept) <= 50.0
    assert arrived(server) == [0, 1, 2]


def test_backoff_grows_and_is_forgotten_after_a_success(server, make_client):
    server.script.extend([(503, {})] * 8)
    client = make_client(seed=5)
    record(client, 1)
    assert client.drain(timeout_s=10_000)
    assert max(client.slept) > 16.0
    server.script.append((503, {}))
    client.slept.clear()
    record(client, 1, start=1)
    assert client.drain(timeout_s=100)
    assert sum(client.slept) <= 1.0


def test_too_large_a_batch_is_split_until_it_fits_and_numbers_have_no_hole(server, make_client):
    server.max_body = 500
    client = make_client()
    record(client, 400)
    assert client.drain()
    assert sorted(arrived(server)) == list(range(400))
    assert sorted(seq for _, seq in server.ledger) == list(range(1, len(server.ledger) + 1))
    assert client.tally["splits"] > 1


def test_a_single_record_that_is_too_large_is_given_up_and_admitted(server, make_client):
    client = make_client()
    server.max_body = 2000
    client.device.record(latency_ms=1.0, sample_ref=random.Random(1).randbytes(3000).hex())
    assert client.drain()
    server.max_body = 1 << 20
    record(client, 1)
    assert client.drain()
    assert server.dropped["inferences"] == 1
    assert arrived(server) == [0]


def test_a_server_without_gzip_gets_plain_json_from_then_on(server, make_client):
    server.takes_gzip = False
    client = make_client()
    record(client, 700)
    assert client.drain()
    assert sorted(arrived(server)) == list(range(700))
    encodings = [headers.get("Content-Encoding") for _, _, headers, _ in server.requests]
    assert encodings == ["gzip", None, None]


@pytest.mark.parametrize("status", [400, 409])
def test_a_refused_batch_is_given_up_counted_and_logged(server, make_client, status, caplog):
    server.script.append((status, {}))
    client = make_client()
    record(client, 5)
    assert client.drain()
    assert client.tally["refused_batches"] == 1
    assert "given up" in caplog.text
    record(client, 1)
    assert client.drain()
    assert server.dropped["inferences"] == 5
    assert arrived(server) == [0]


def test_at_a_401_sending_stops_and_everything_is_kept(server, make_client):
    client = make_client(token="revoked")
    record(client, 5)
    assert not client.drain()
    assert client.stopped
    assert "401" in client.last_error
    assert not client.spool.is_empty()
    assert len(server.requests) == 1


def test_at_a_401_a_new_token_is_asked_for_and_used(server, make_client):
    client = make_client(token="expired", on_unauthorized=lambda: "good")
    record(client, 5)
    assert client.drain()
    assert arrived(server) == list(range(5))
    assert client.slept == []


def test_a_server_that_refuses_the_tokens_it_issues_is_not_hammered(server, make_client):
    tokens = iter(f"token {n}" for n in range(1000))
    client = make_client(token="expired", on_unauthorized=lambda: next(tokens))
    record(client, 1)
    client.drain(timeout_s=600)
    assert len(server.requests) < 30


def test_a_suspended_device_waits_a_minute_at_least_and_keeps_its_records(server, make_client):
    server.script.append((403, {}))
    client = make_client()
    record(client, 5)
    assert client.drain(timeout_s=300)
    assert sum(client.slept) >= 60.0
    assert arrived(server) == list(range(5))


def test_a_captive_portals_200_acknowledges_nothing(server, make_client):
    server.script.append((200, {}))
    client = make_client()
    record(client, 5)
    assert client.drain(timeout_s=100)
    assert arrived(server) == list(range(5))


def test_an_event_overtakes_rows_that_the_server_has_told_to_wait(server, make_client):
    client = make_client()
    record(client, 5)
    server.script.append((429, {"Retry-After": "100"}))
    client.step(now=True)
    client.device.event("driver_reset", "error")
    client.step(now=True)
    assert [event["type"] for event in server.rows["events"]] == ["driver_reset"]
    assert server.rows["inferences"] == []
    assert client.drain(timeout_s=300)
    assert arrived(server) == list(range(5))


def test_a_mixed_batch_that_has_to_wait_lets_its_events_go_ahead(server, make_client):
    client = make_client()
    record(client, 5)
    client.device.event("driver_reset", "error")
    server.script.append((429, {"Retry-After": "100"}))
    client.step(now=True)
    client.step(now=True)
    assert len(server.rows["events"]) == 1
    assert server.rows["inferences"] == []
    assert client.drain(timeout_s=300)
    assert arrived(server) == list(range(5))
    assert len(server.rows["events"]) == 1


def test_an_event_does_not_wait_behind_a_backlog(server, make_client):
    client = make_client()
    record(client, 1600)
    client.device.event("driver_reset", "error")
    client.step()
    assert len(server.rows["events"]) == 1
    assert server.rows["inferences"] == []


def test_directives_change_batch_interval_sampling_and_windows(server, make_client, clock):
    server.directives = {"max_batch": 50, "min_interval_s": 120, "raw_sample_rate": 0.0, "window_s": 30}
    client = make_client()
    record(client, 1)
    client.step()
    server.directives = {}
    record(client, 200, start=1)
    clock.advance(60)
    assert client.step() == pytest.approx(60.0)
    assert client.tally["batches"] == 1
    clock.advance(60)
    client.step()
    assert client.tally["batches"] == 2
    assert sum(window["count"] for window in server.rows["windows"]) == 200
    assert {window["end"] - window["start"] for window in server.rows["windows"]} == {30_000_000}


def test_regular_batches_keep_their_interval_but_a_full_one_goes_at_once(server, make_client, clock):
    client = make_client()
    record(client, 1)
    client.step()
    record(client, 1)
    assert client.step() == pytest.approx(10.0)
    assert client.tally["batches"] == 1
    record(client, 500)
    client.step()
    assert client.tally["batches"] == 2


def test_records_that_the_server_rejects_are_counted_and_not_sent_again(server, make_client, monkeypatch):
    def partly(headers, body):
        return 200, {"accepted": {}, "rejected": 2, "duplicate": False, "partial_success": {"rejected": 2}}

    monkeypatch.setattr(server, "store", partly)
    client = make_client()
    record(client, 5)
    assert client.drain()
    assert client.tally["rejected_records"] == 2
    assert len(server.requests) == 1


def test_a_backlog_of_an_earlier_process_is_sent_with_its_own_bytes_first(server, make_client, tmp_path):
    path = str(tmp_path / "spool.db")
    server.script.append("lose")
    client = make_client(Spool(path))
    record(client, 5)
    client.step()
    client.spool.close()
    client = make_client(Spool(path))
    record(client, 5, start=5)
    assert client.drain()
    assert arrived(server) == list(range(10))
    assert client.tally["duplicates"] == 1


def test_the_uptime_at_sending_travels_beside_an_old_body(server, make_client, clock):
    server.script.append((503, {"Retry-After": "3600"}))
    client = make_client()
    record(client, 1)
    assert client.drain(timeout_s=10_000)
    headers = [headers for _, _, headers, _ in server.requests]
    formed = server.envelopes()[1]["uptime_ms"]
    assert int(headers[1]["Ridgeline-Uptime-Ms"]) - formed >= 3_600_000


def test_run_sends_until_it_is_told_to_stop(server):
    device = Device(Spool(), {"workload": "lane-assist", "release": "4.1.0"})
    client = Client(device, Transport(server.url), "good", interval_s=0.02)
    stop = threading.Event()
    thread = threading.Thread(target=client.run, args=(stop,))
    device.record(latency_ms=1.0)
    thread.start()
    for _ in range(500):
        if server.rows["inferences"]:
            break
        stop.wait(0.01)
    stop.set()
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert len(server.rows["inferences"]) == 1


def test_a_spool_that_cannot_be_written_for_a_while_does_not_end_the_sending(server, caplog):
    device = Device(Spool(), {"workload": "lane-assist", "release": "4.1.0"})
    client = Client(device, Transport(server.url), "good", interval_s=0.02)
    device.record(latency_ms=1.0)
    device.spool._db.execute("PRAGMA query_only=ON")
    stop = threading.Event()
    thread = threading.Thread(target=client.run, args=(stop,))
    thread.start()
    for _ in range(500):
        if "the spool cannot be used" in caplog.text:
            device.spool._db.execute("PRAGMA query_only=OFF")
        if server.rows["inferences"]:
            break
        stop.wait(0.01)
    stop.set()
    thread.join(timeout=5)
    assert "the spool cannot be used" in caplog.text
    assert len(server.rows["inferences"]) == 1


def test_a_server_that_is_not_there_is_one_kind_of_error():
    with pytest.raises(TransportError, match="no answer"):
        Transport("http://127.0.0.1:1").request("GET", "/")


@pytest.mark.parametrize("address", ["ftp://host", "host:8000", ""])
def test_an_address_must_be_an_http_url(address):
    with pytest.raises(ValueError, match="http"):
        Transport(address)


def test_an_endless_answer_is_cut_off(server):
    server.routes["/long"] = lambda handler, body: server.answer(handler, 200, "x" * (MAX_ANSWER_BYTES + 1))
    with pytest.raises(TransportError, match="longer"):
        Transport(server.url).request("GET", "/long")


def test_bodies_are_json_with_the_declared_media_type(server, make_client):
    client = make_client()
    record(client, 1)
    client.drain()
    _, _, headers, _ = server.requests[0]
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer good"
    assert json.dumps(server.envelopes()[0], allow_nan=False)


@pytest.mark.parametrize("mishap", ["lose", "drop"])
def test_a_batch_whose_answer_was_lost_is_not_taken_apart_when_the_server_then_has_no_time(server, make_client, mishap):
    server.script.extend([mishap, (429, {"Retry-After": "5"})])
    client = make_client()
    record(client, 5)
    client.device.event("driver_reset", "error")
    assert client.drain(timeout_s=300)
    assert arrived(server) == list(range(5))
    assert len(server.rows["events"]) == 1
    assert client.tally["refused_batches"] == 0


def test_a_batch_that_was_only_ever_refused_may_be_split_at_a_later_attempt(server, make_client):
    server.script.extend([(429, {"Retry-After": "5"}), (413, {})])
    client = make_client()
    record(client, 6)
    assert client.drain(timeout_s=300)
    assert sorted(arrived(server)) == list(range(6))
    assert (client.tally["splits"], client.tally["refused_batches"]) == (1, 0)
