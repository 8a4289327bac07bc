"""Chunks per delivery profile and feedback as clients write it."""

import pytest

from rollouts.ddi import feedback
from rollouts.ddi.chunks import File, cut
from rollouts.ddi.documents import controller_base, deployment
from rollouts.ddi.feedback import BadFeedback, Meaning


def file(name: str, part: str) -> File:
    return File(name, part, 13, "c" * 64, "a" * 40, "b" * 32)


FILES = [
    file("lane.onnx", "model"),
    file("fw.bin", "firmware"),
    file("image.swu", "os"),
    file("image.swu.sig", "os"),
    file("update.raucb", "bundle"),
    file("app.tar", "application"),
]


def parts(profile: str, files=FILES) -> list[tuple[str, list[str]]]:
    return [(chunk.part, [f.filename for f in chunk.files]) for chunk in cut(profile, "lane-assist", "4.2.0", files)]


def test_a_generic_client_gets_every_part_under_the_names_that_it_knows():
    assert parts("generic") == [
        ("model", ["lane.onnx"]),
        ("firmware", ["fw.bin"]),
        ("os", ["image.swu", "image.swu.sig"]),
        ("bundle", ["update.raucb"]),
        ("bApp", ["app.tar"]),
    ]


def test_each_strict_client_gets_exactly_what_it_takes():
    assert parts("swupdate") == [("os", ["image.swu"])]
    assert parts("single-bundle") == [("bundle", ["update.raucb"])]
    assert parts("zephyr") == [("bApp", ["fw.bin"])]


def test_a_client_for_which_there_is_no_file_gets_no_chunk():
    assert parts("swupdate", [file("lane.onnx", "model")]) == []
    assert parts("single-bundle", []) == []


def test_a_file_carries_all_hashes_and_every_link_relation_that_some_client_looks_for():
    document = deployment("https://h/DEFAULT/controller/v1/d", 7, 3, cut("single-bundle", "w", "1", FILES), None)
    (artifact,) = document["deployment"]["chunks"][0]["artifacts"]
    assert set(artifact["hashes"]) == {"sha1", "md5", "sha256"}
    assert set(artifact["_links"]) == {"download", "download-http", "md5sum", "md5sum-http"}
    assert artifact["_links"]["md5sum"]["href"].endswith("/update.raucb.MD5SUM")
    assert document["id"] == "7" and document["deployment"]["update"] == "forced"


def test_a_poll_with_nothing_to_do_has_no_links_at_all():
    assert controller_base("b", "00:05:00", {}) == {"config": {"polling": {"sleep": "00:05:00"}}}


def said(execution: str, finished: str = "none", **more) -> dict:
    return {"id": 8, "status": {"execution": execution, "result": {"finished": finished}, **more}}


@pytest.mark.parametrize(
    ("document", "meaning"),
    [
        (said("proceeding"), Meaning.PROGRESS),
        (said("scheduled"), Meaning.PROGRESS),
        (said("resumed"), Meaning.PROGRESS),
        (said("something new"), Meaning.PROGRESS),
        (said("download"), Meaning.DOWNLOAD),
        (said("downloaded"), Meaning.DOWNLOAD),
        (said("rejected"), Meaning.WARNING),
        (said("canceled"), Meaning.CANCELLED),
        (said("closed", "success"), Meaning.SUCCESS),
        (said("closed", "none"), Meaning.SUCCESS),
        (said("closed", "failure"), Meaning.FAILURE),
    ],
)
def test_feedback_means_what_the_protocol_says(document, meaning):
    assert feedback.read(document).meaning is meaning


def test_progress_and_details_are_read_where_they_make_sense():
    document = said("proceeding", details=["one", 2])
    document["status"]["result"]["progress"] = {"cnt": 1, "of": 4}
    read = feedback.read(document)
    assert (read.progress, read.details) == (25, "one\n2")
    document["status"]["result"]["progress"] = {"cnt": 1, "of": 0}
    assert feedback.read(document).progress is None


@pytest.mark.parametrize("document", [[], {}, {"status": {}}, {"status": {"execution": "closed"}}, said("", "none")])
def test_feedback_without_a_required_field_is_refused(document):
    with pytest.raises(BadFeedback, match="required"):
        feedback.read(document)


def test_attributes_are_read_defensively():
    assert feedback.attributes({"data": {"cores": 4, "on": None}}) == ("merge", {"cores": "4", "on": ""})
    assert feedback.attributes({"mode": "replace", "data": {}}) == ("replace", {})
    for bad in ({}, {"data": []}, {"mode": "mix", "data": {"a": "b"}}, {"data": {"k" * 129: "v"}}):
        with pytest.raises(BadFeedback):
            feedback.attributes(bad)
