"""Following the desired release: reading the wish, fetching artifacts over a line that breaks, reporting."""

import hashlib
import json
import os
import pathlib
import random

import pytest
from ridgeline_sdk import Artifact, Desired, ReleaseClient, Transport
from ridgeline_sdk.desired import DesiredUnknown, DownloadFailed

CONTENT = random.Random(1).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ARTIFACT = Artifact("model.onnx", SHA256, "/files/model.onnx", part="model", size=len(CONTENT))


@pytest.fixture
def releases(server):
    client = ReleaseClient(Transport(server.url), "good", server.url)
    yield client
    client.transport.close()


class Files:
    """Serves one file with ranges; breaks off after `cuts` bytes, one entry per request."""

    def __init__(self, content, cuts=()):
        self.content, self.cuts, self.ranges = content, list(cuts), []

    def __call__(self, handler, body):
        asked = handler.headers.get("Range")
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if asked and start >= len(self.content):
            handler.send_response(416)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        part = self.content[start:]
        handler.send_response(206 if asked else 200)
        handler.send_header("Content-Length", str(len(part)))
        handler.end_headers()
        cut = self.cuts.pop(0) if self.cuts else len(part)
        handler.wfile.write(part[:cut])
        handler.close_connection = True


def test_the_wish_is_read_with_its_artifacts(server, releases):
    answer = {
        "workload": "lane-assist",
        "release": "4.2.0",
        "version": "4.2.0",
        "bill_of_materials": {"model_hash": "sha256:1"},
        "artifacts": [
            {
                "filename": "m",
                "part": "model",
                "size": 3,
                "sha256": "ab",
                "url": "/m",
                "signature": None,
                "new_field": 1,
            }
        ],
        "action_id": 7,
        "rollback": True,
    }
    server.routes["/api/v1/device/desired"] = lambda handler, body: server.answer(handler, 200, answer)
    desired = releases.desired("lane-assist")
    assert desired == Desired(
        "4.2.0", "lane-assist", 7, True, (Artifact("m", "ab", "/m", "model", 3),), {"model_hash": "sha256:1"}
    )
    assert server.requests[0][1] == "/api/v1/device/desired?workload=lane-assist"


def test_no_wish_is_no_release(server, releases):
    server.routes["/api/v1/device/desired"] = lambda handler, body: server.answer(handler, 200, {"release": None})
    assert releases.desired().release is None


@pytest.mark.parametrize(("status", "payload"), [(503, {}), (403, {"detail": "suspended"}), (200, ["odd"])])
def test_no_usable_answer_is_not_taken_for_no_wish(server, releases, status, payload):
    server.routes["/api/v1/device/desired"] = lambda handler, body: server.answer(handler, status, payload)
    with pytest.raises(DesiredUnknown):
        releases.desired()


def test_a_download_is_checked_and_not_repeated(server, releases, tmp_path):
    server.routes["/files/model.onnx"] = files = Files(CONTENT)
    path = releases.download(ARTIFACT, str(tmp_path))
    assert pathlib.Path(path).read_bytes() == CONTENT
    releases.download(ARTIFACT, str(tmp_path))
    assert files.ranges == [None]
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_a_broken_download_goes_on_where_it_stopped(server, releases, tmp_path):
    server.routes["/files/model.onnx"] = files = Files(CONTENT, cuts=[100_000, 50_000])
    path = releases.download(ARTIFACT, str(tmp_path))
    assert pathlib.Path(path).read_bytes() == CONTENT
    assert files.ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_a_download_goes_on_after_a_restart(server, releases, tmp_path):
    server.routes["/files/model.onnx"] = files = Files(CONTENT, cuts=[100_000])
    with pytest.raises(DownloadFailed, match="broke off"):
        releases.download(ARTIFACT, str(tmp_path), attempts=1)
    assert not (tmp_path / "model.onnx").exists()
    releases.download(ARTIFACT, str(tmp_path), attempts=1)
    assert files.ranges == [None, "bytes=100000-"]


def test_wrong_bytes_never_get_the_artifacts_name(server, releases, tmp_path):
    server.routes["/files/model.onnx"] = Files(CONTENT[:-1] + b"?")
    with pytest.raises(DownloadFailed, match="SHA-256"):
        releases.download(ARTIFACT, str(tmp_path), attempts=2)
    assert os.listdir(tmp_path) == []


def test_a_complete_partial_file_is_taken_at_a_416(server, releases, tmp_path):
    server.routes["/files/model.onnx"] = Files(CONTENT)
    (tmp_path / f"model.onnx.{SHA256[:16]}.part").write_bytes(CONTENT)
    assert pathlib.Path(releases.download(ARTIFACT, str(tmp_path))).read_bytes() == CONTENT


def test_a_file_name_cannot_leave_its_directory(server, releases, tmp_path):
    server.routes["/files/model.onnx"] = Files(CONTENT)
    path = releases.download(Artifact("../../etc/model.onnx", SHA256, "/files/model.onnx"), str(tmp_path))
    assert path == str(tmp_path / "model.onnx")
    with pytest.raises(DownloadFailed, match="file name"):
        releases.download(Artifact("..", SHA256, "/files/model.onnx"), str(tmp_path))


def test_the_token_goes_to_no_other_server(server, releases, tmp_path):
    server.routes["/files/model.onnx"] = Files(CONTENT)
    releases.download(ARTIFACT, str(tmp_path))
    elsewhere = server.url.replace("127.0.0.1", "localhost") + "/files/model.onnx"
    os.remove(tmp_path / "model.onnx")
    releases.download(Artifact("model.onnx", SHA256, elsewhere), str(tmp_path))
    own, foreign = (headers.get("Authorization") for _, _, headers, _ in server.requests)
    assert (own, foreign) == ("Bearer good", None)


def test_progress_is_told_in_the_protocols_words(server, releases):
    server.routes["/api/v1/device/status"] = lambda handler, body: server.answer(handler, 200, {})
    assert releases.report(7, "installing", 50, "half way")
    assert json.loads(server.requests[0][3]) == {
        "action_id": 7,
        "status": "installing",
        "progress": 50,
        "detail": "half way",
    }
    with pytest.raises(ValueError, match="status"):
        releases.report(7, "done")


def test_a_report_that_is_not_heard_disturbs_nobody():
    assert ReleaseClient(Transport("http://127.0.0.1:1"), "good", "http://127.0.0.1:1").report(7, "booted") is False
