"""The page of labels: the queue answered in place, accuracy with intervals, drawing, import and export."""

from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from drift.models import Label, LabelRequest
from fleet.models import Workload
from telemetry.models import ClassLabel

pytestmark = pytest.mark.django_db

PAGE = "/labels/"
HEADER = "device,time,true_class,predicted_class,release,confidence,sampling,inclusion_probability"


@pytest.fixture
def request_row(cast, now, make_device):
    """One inference in the queue, and two classes to choose from."""
    for name in ("stop-sign", "no-sign"):
        ClassLabel.objects.create(workload=cast.workload, name=name)
    return LabelRequest.objects.create(
        workload=cast.workload,
        release=cast.release,
        device=make_device("cam-001"),
        time=now,
        sample_ref="s3://frames/17.jpg",
        predicted_class="stop-sign",
        confidence=0.61,
        sampling="uncertain",
        inclusion_probability=0.0125,
        created_at=now,
    )


def label(cast, device, at, *, right: bool, release=None, confidence: float = 0.9) -> Label:
    return Label.objects.create(
        workload=cast.workload,
        release=release or cast.release,
        device=device,
        time=at,
        predicted_class="stop-sign",
        true_class="stop-sign" if right else "no-sign",
        confidence=confidence,
        sampling="random",
        inclusion_probability=0.1,
        labelled_by="tests",
        created_at=at,
    )


def test_the_queue_shows_why_an_inference_is_asked_and_with_which_chance(request_row, cast, browser_client) -> None:
    text = browser_client(cast.engineer).get(PAGE).content.decode()
    for words in ("s3://frames/17.jpg", "cam-001", "61.0", "Because the model was uncertain", "1.25", "1 waiting"):
        assert words in text, words
    assert 'data-label-key="r"' in text and ">no-sign <kbd" in text


def test_who_names_no_workload_gets_the_one_that_was_drawn_from_last(request_row, cast, browser_client, now) -> None:
    client = browser_client(cast.engineer)
    assert client.get(PAGE).status_code == 200, "there is only one"
    Workload.objects.create(slug="pallets", name="Pallets", created_at=now)
    assert client.get(f"{PAGE}?from=-7d").headers["Location"] == f"{PAGE}?from=-7d&workload=lane-assist"
    assert "Which workload?" in client.get(f"{PAGE}?workload=").content.decode()


def test_right_wrong_and_cannot_tell_bring_the_next_one_in_place(request_row, cast, browser_client) -> None:
    client = browser_client(cast.engineer)
    address = f"/labels/{request_row.pk}/answer/?workload=lane-assist"
    panel = client.post(address, {"true_class": "stop-sign"}, headers={"HX-Request": "true"})
    assert "0 waiting, 1 labelled" in panel.content.decode()
    made = Label.objects.get()
    assert (made.true_class, made.sampling, made.inclusion_probability) == ("stop-sign", "uncertain", 0.0125)
    assert made.labelled_by == cast.engineer.username
    again = client.post(address, {"true_class": "no-sign"}, headers={"HX-Request": "true"}).content.decode()
    assert "Somebody else was faster" in again
    assert Label.objects.get().true_class == "stop-sign"


def test_another_class_that_was_typed_wins_over_the_button_and_nothing_typed_is_refused(
    request_row, cast, browser_client
) -> None:
    client = browser_client(cast.engineer)
    address = f"/labels/{request_row.pk}/answer/"
    refused = client.post(address, {"true_class": "", "other": " "}, headers={"HX-Request": "true"})
    assert "Name the class" in refused.content.decode()
    client.post(address, {"true_class": "stop-sign", "other": "yield"})
    assert Label.objects.get().true_class == "yield"


def test_skipping_leaves_no_label(request_row, cast, browser_client) -> None:
    browser_client(cast.engineer).post(f"/labels/{request_row.pk}/answer/", {"skip": "1"})
    request_row.refresh_from_db()
    assert (request_row.status, Label.objects.count()) == ("skipped", 0)


def test_a_visitor_reads_and_may_not_label_draw_or_import(request_row, cast, browser_client) -> None:
    client = browser_client(cast.visitor)
    assert "Reading only" in client.get(PAGE).content.decode()
    for address in (f"/labels/{request_row.pk}/answer/", "/labels/draw/", "/labels/import/"):
        assert client.post(address).status_code == 403


def test_accuracy_stands_by_release_and_hardware_target_with_its_interval_and_signal(
    cast, now, make_device, browser_client
) -> None:
    devices = [make_device(f"cam-{k:02d}", ("orin-nx-16", "hailo-8")[k % 2]) for k in range(20)]
    for index in range(200):
        at = now - timedelta(seconds=index + 1)
        label(cast, devices[index % 20], at, right=index % 50 != 0)
        label(cast, devices[index % 20], at - timedelta(hours=1), right=index % 3 != 0, release=cast.candidate)
    span = {"from": (now - timedelta(hours=2)).isoformat(), "to": now.isoformat()}
    text = browser_client(cast.visitor).get(PAGE, span).content.decode()
    assert "98.0" in text and "hailo-8:" in text and "orin-nx-16:" in text
    assert "Train anew" in text
    assert "Does not hold" in text
    assert "more than 2 % under the worst of before" in text


@pytest.mark.parametrize("query", ["from=nonsense", "workload=other", "sampling=odd", "release=9"])
def test_an_address_that_makes_no_sense_shows_a_page(query, request_row, cast, browser_client) -> None:
    assert browser_client(cast.engineer).get(f"{PAGE}?{query}").status_code == 200


def test_nothing_drawn_yet_says_what_drawing_is_for(cast, browser_client) -> None:
    client = browser_client(cast.engineer)
    assert "Nothing was drawn for labelling" in client.get(PAGE).content.decode()
    form = {"workload": "lane-assist", "random": "5", "uncertain": "5"}
    assert "recorded no single inference" in client.post("/labels/draw/", form, follow=True).content.decode()
    refused = client.post("/labels/draw/", form | {"random": "many"}, follow=True).content.decode()
    assert "random must be a number" in refused


class TestImport:
    """Labels from a file: all lines or none."""

    def send(self, client, text: str):
        upload = SimpleUploadedFile("labels.csv", text.encode(), content_type="text/csv")
        sent = client.post("/labels/import/", {"workload": "lane-assist", "file": upload}, follow=True)
        return sent.content.decode()

    def test_every_line_is_kept_with_what_it_says(self, cast, make_device, browser_client) -> None:
        make_device("cam-001")
        lines = [
            "cam-001,2026-03-01T10:00:00Z,yield,stop-sign,4.1.0,0.7,random,0.1",
            "cam-001,2026-03-01T11:00:00Z,stop-sign,stop-sign,4.1.0,,,",
        ]
        assert "2 labels are kept" in self.send(browser_client(cast.engineer), "\n".join([HEADER, *lines]))
        first, second = Label.objects.order_by("time")
        assert (first.true_class, first.confidence, first.sampling) == ("yield", 0.7, "random")
        assert (second.confidence, second.sampling) == (None, "other")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("device,time\na,b", "lacks true_class"),
            (HEADER + ",colour\n", "colour, which is unknown"),
            (HEADER, "no line after the first"),
            (HEADER + "\ncam-001,2026-03-01 10:00,yield,x,4.1.0,,,", "Line 2, time: Must be RFC 3339"),
            (HEADER + "\ncam-001,2026-03-01T10:00:00Z,,x,4.1.0,,,", "Line 2, true_class: Is empty"),
            (HEADER + "\ncam-001,2026-03-01T10:00:00Z,y,x,4.1.0,7,,", "Line 2, confidence: Must lie between"),
            (HEADER + "\ncam-001,2026-03-01T10:00:00Z,y,x,4.1.0,,guess,", "Line 2, sampling: Must be one of"),
            (HEADER + "\ncam-001,2026-03-01T10:00:00Z,y,x,4.1.0,,uncertain,", "Needed for uncertain samples"),
            (HEADER + "\nghost,2026-03-01T10:00:00Z,y,x,4.1.0,,,", "There is no device"),
        ],
    )
    def test_what_is_wrong_is_named_by_line_and_nothing_is_kept(
        self, text, words, cast, make_device, browser_client
    ) -> None:
        make_device("cam-001")
        answer = self.send(browser_client(cast.engineer), text)
        assert "Nothing was imported" in answer and words in answer
        assert not Label.objects.exists()


def test_the_labelled_set_is_exported_as_csv(cast, now, make_device, browser_client) -> None:
    label(cast, make_device("cam-001"), now, right=False)
    client = browser_client(cast.visitor)
    assert "/api/v1/labels?workload=lane-assist&amp;format=csv" in client.get(PAGE).content.decode().replace("/?", "?")
    rows = b"".join(client.get("/api/v1/labels?workload=lane-assist&format=csv").streaming_content).decode()
    assert "no-sign" in rows and "cam-001" in rows
