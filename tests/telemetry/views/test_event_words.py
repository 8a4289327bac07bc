"""The detail of an event reads as words, never as a dictionary."""

import pytest

from telemetry.views.event_words import LONGEST, detail_words
from tests.telemetry.envelopes import envelope, inferences
from tests.telemetry.services.ingest.sending import send

PARTS = {"driver_version": {"device": "540.3", "release": "540.4"}, "runtime_version": {"device": "a", "release": "b"}}


@pytest.mark.parametrize(
    ("kind", "detail", "words"),
    [
        (
            "bom_mismatch",
            {"release": "4.2.0", "parts": PARTS},
            "driver 540.3 runs, the release declares 540.4; runtime a runs, the release declares b",
        ),
        (
            "unregistered_release",
            {"workload": "lane-assist", "release": "9.9"},
            "nobody registered lane-assist 9.9",
        ),
        ("thermal_throttle_start", {"zone": "cpu", "temp_c": 95.5, "hot": True}, "zone: cpu, temp c: 95.5, hot: yes"),
        ("odd", {"nested": {"a": None, "b": [1, 2]}, "none": []}, "nested: (a: none, b: 1 2), none: none"),
        ("odd", {"total": 123456789.0, "share": 0.25}, "total: 123456789, share: 0.25"),
        # a device that takes the server's name for something of its own
        ("bom_mismatch", {"parts": ["driver"]}, "parts: driver"),
        ("bom_mismatch", {"parts": {"driver": "540.3"}}, "parts: (driver: 540.3)"),
        ("boot", {}, ""),
    ],
)
def test_a_detail_is_told_in_words(kind, detail, words):
    assert detail_words(kind, detail) == words


def test_what_is_too_long_says_that_it_was_cut():
    words = detail_words("odd", {"text": "x" * 500})
    assert len(words) == LONGEST and words.endswith("…")


@pytest.mark.django_db
def test_the_page_of_a_device_says_what_runs_and_what_the_release_declares(browser_client, cast, make_device, clock):
    body = envelope(clock, inferences=inferences(clock, 2))
    body["context"]["driver_version"] = "540.3"
    send(make_device("cam-1"), body, clock)
    page = browser_client(cast.engineer).get("/panels/events/", {"device": "cam-1"}).content.decode()
    assert "driver 540.3 runs, the release declares 540.4" in page
    assert "{" not in page
