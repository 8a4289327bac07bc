"""Downloads: whole files, ranges, validators, and who may fetch what, over the bytes of real files."""

import hashlib
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.actors import Actor
from fleet.downloads import Span, Unsatisfiable, parse_ranges
from fleet.services import artifacts, devices, releases, tokens

pytestmark = pytest.mark.django_db
ACTOR = Actor.system("tests")
CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
URL = f"/artifacts/{SHA256}/model.bin"


@pytest.fixture
def published(cast, now):
    """A published release for orin-nx-16 alone, with one file."""
    draft = releases.create_release(
        workload=cast.workload, version="5.0.0", hardware_targets=[cast.orin], actor=ACTOR, now=now
    )
    artifacts.upload_artifact(draft, artifacts.Description("model.bin"), [CONTENT], actor=ACTOR, now=now)
    return releases.publish(draft, actor=ACTOR, now=now)


@pytest.fixture
def device(published, make_device, device_token, api_client):
    """A client of a device on that hardware target."""
    return api_client(device_token(make_device("cam-001")))


def body(answer) -> bytes:
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


def test_a_whole_file_comes_with_its_length_and_validators(device):
    answer = device.get(URL)
    assert answer.status_code == 200
    assert body(answer) == CONTENT
    assert answer["Content-Length"] == str(len(CONTENT))
    assert answer["ETag"] == f'"{SHA256}"'
    assert answer["Accept-Ranges"] == "bytes"
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"] == 'attachment; filename="model.bin"'
    assert "private" in answer["Cache-Control"]


def test_head_has_the_headers_and_no_body(device):
    answer = device.head(URL, HTTP_RANGE="bytes=0-9")
    assert (answer.status_code, answer["Content-Length"], body(answer)) == (200, str(len(CONTENT)), b"")


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=1000-1999", 1000, 1999),
        ("bytes=255990-", 255990, 255999),
        ("bytes=-10", 255990, 255999),
        ("bytes=255990-999999", 255990, 255999),
        ("bytes=-999999", 0, 255999),
        ("Bytes = 5-6", 5, 6),
    ],
)
def test_one_range_is_answered_with_exactly_its_bytes(device, header, first, last):
    answer = device.get(URL, HTTP_RANGE=header)
    assert answer.status_code == 206
    assert answer["Content-Range"] == f"bytes {first}-{last}/{len(CONTENT)}"
    assert body(answer) == CONTENT[first : last + 1]
    assert answer["Content-Length"] == str(last - first + 1)


@pytest.mark.parametrize(
    "header",
    [
        "bytes=256000-",
        "bytes=256000-256001",
        "bytes=9-5",
        "bytes=",
        "bytes=a-b",
        "bytes=0-5,3-9",
        "bytes=-",
        "bytes=-0",
    ],
)
def test_a_range_that_cannot_be_sent_is_answered_416_with_the_size(device, header):
    answer = device.get(URL, HTTP_RANGE=header)
    assert (answer.status_code, answer["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")


def test_a_resumed_download_that_is_complete_is_answered_416(device):
    """What rauc-hawkbit-updater takes for "nothing left"."""
    assert device.get(URL, HTTP_RANGE=f"bytes={len(CONTENT)}-").status_code == 416


def test_an_unknown_unit_is_ignored(device):
    assert device.get(URL, HTTP_RANGE="lines=1-2").status_code == 200


def test_several_ranges_come_as_parts_in_order_of_their_place(device):
    answer = device.get(URL, HTTP_RANGE="bytes=500-509, 0-4, -3")
    assert answer.status_code == 206
    boundary = answer["Content-Type"].partition("boundary=")[2]
    content = body(answer)
    assert answer["Content-Length"] == str(len(content))
    parts = content.split(f"\r\n--{boundary}".encode())[1:]
    assert parts[-1] == b"--\r\n"
    assert [part.partition(b"\r\n\r\n")[2] for part in parts[:-1]] == [CONTENT[:5], CONTENT[500:510], CONTENT[-3:]]
    assert b"Content-Range: bytes 500-509/256000" in parts[1]


def test_if_range_sends_the_rest_of_the_same_file_and_the_whole_of_another(device, published):
    modified = format_datetime(published.artifacts.get().created_at, usegmt=True)
    for same in (f'"{SHA256}"', modified):
        assert device.get(URL, HTTP_RANGE="bytes=10-", HTTP_IF_RANGE=same).status_code == 206
    for other in ('"other"', f'W/"{SHA256}"', "Mon, 01 Jan 2024 00:00:00 GMT", "nonsense"):
        assert device.get(URL, HTTP_RANGE="bytes=10-", HTTP_IF_RANGE=other).status_code == 200


def test_a_file_that_is_known_is_not_sent_again(device):
    answer = device.get(URL, HTTP_IF_NONE_MATCH=f'"other", "{SHA256}"')
    assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", f'"{SHA256}"')


def test_if_match_of_another_file_fails_the_precondition(device):
    assert device.get(URL, HTTP_IF_MATCH='"other"').status_code == 412
    assert device.get(URL, HTTP_IF_MATCH=f'"{SHA256}"').status_code == 200


def test_a_download_reassembled_from_ranges_has_the_hash_that_was_published(device):
    step = 70_001
    pieces = [body(device.get(URL, HTTP_RANGE=f"bytes={n}-{n + step - 1}")) for n in range(0, len(CONTENT), step)]
    assert hashlib.sha256(b"".join(pieces)).hexdigest() == SHA256


@pytest.mark.parametrize(
    "url", [f"/artifacts/{SHA256}/other.bin", f"/artifacts/{'0' * 64}/model.bin", "/artifacts/x/y"]
)
def test_another_name_or_hash_is_not_found(device, url):
    assert device.get(url).status_code == 404


def test_only_reading_is_allowed(device):
    assert device.post(URL).status_code == 405


def test_without_a_token_nothing_is_sent(published, client, api_client):
    assert client.get(URL).status_code == 401
    assert api_client("rdl_aaaaaaaa_" + "b" * 43).get(URL).status_code == 401


def test_a_device_of_another_hardware_target_does_not_get_the_file(published, make_device, device_token, api_client):
    other = api_client(device_token(make_device("cam-002", "hailo-8")))
    assert other.get(URL).status_code == 404


def test_a_suspended_device_gets_nothing(published, make_device, device_token, api_client, now):
    device = make_device("cam-002")
    client = api_client(device_token(device))
    devices.move(device, "suspend", actor=ACTOR, now=now)
    assert client.get(URL).status_code == 403


def test_a_draft_is_not_sent_to_devices(cast, now, make_device, device_token, api_client):
    draft = releases.create_release(workload=cast.workload, version="6.0.0", actor=ACTOR, now=now)
    artifacts.upload_artifact(draft, artifacts.Description("model.bin"), [CONTENT], actor=ACTOR, now=now)
    assert api_client(device_token(make_device("cam-001"))).get(URL).status_code == 404
    assert api_client(cast.engineer).get(URL).status_code == 200


def test_people_fetch_with_a_session_or_with_a_token_of_the_right_scope(
    published, cast, browser_client, api_client, now
):
    assert browser_client(cast.engineer).get(URL).status_code == 200
    assert api_client(cast.engineer, ["releases:read"]).get(URL).status_code == 200
    assert api_client(cast.engineer, ["audit:read"]).get(URL).status_code == 403


def test_a_revoked_token_fetches_nothing_from_the_next_request_on(device, now):
    assert device.get(URL).status_code == 200
    raw = device._credentials["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
    tokens.revoke_token(tokens.authenticate(raw, now), actor=ACTOR, now=now)
    assert device.get(URL).status_code == 401


@given(size=st.integers(1, 50), text=st.text("0123456789-, ", max_size=20))
def test_whatever_the_header_the_spans_lie_inside_the_file_in_order_and_apart(size, text):
    try:
        spans = parse_ranges(f"bytes={text}", size)
    except Unsatisfiable:
        return
    places = [place for span in spans for place in range(span.first, span.last + 1)]
    assert places == sorted(set(places))
    assert all(0 <= place < size for place in places)
    assert all(span.length > 0 for span in spans)


def test_more_than_twenty_ranges_are_refused():
    assert len(parse_ranges("bytes=" + ",".join(f"{n}-{n}" for n in range(0, 40, 2)), 100)) == 20
    with pytest.raises(Unsatisfiable):
        parse_ranges("bytes=" + ",".join(f"{n}-{n}" for n in range(0, 42, 2)), 100)
    assert parse_ranges("bytes=3-4", 100) == [Span(3, 4)]
