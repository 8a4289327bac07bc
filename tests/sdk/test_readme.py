"""The README's example runs as it stands."""

import json
import pathlib
import re

from ridgeline_sdk import Spool

README = pathlib.Path(__file__).parents[2] / "sdk" / "README.md"


def test_the_ten_line_example_enrols_measures_and_delivers(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    credentials = {"device": "cam-17", "status": "accepted", "token": "good"}
    server.routes["/api/v1/enroll"] = lambda handler, body: server.answer(handler, 201, credentials)
    example = re.search(r"## Ten lines\n\n```python\n(.*?)```", README.read_text(), re.DOTALL).group(1)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    names = {"SERVER": server.url, "ENROLLMENT_KEY": "key", "run_model": lambda: ("stop-sign", 0.97)}
    exec(example, names)  # noqa: S102
    (row,) = server.rows["inferences"]
    assert (row["predicted_class"], row["confidence"]) == ("stop-sign", 0.97)
    assert row["latency_ms"] > 0
    assert [event["type"] for event in server.rows["events"]] == ["boot"]
    assert json.loads((tmp_path / "token.json").read_text()) == credentials
    names["device"].spool.close()
    assert Spool(str(tmp_path / "spool.db")).is_empty()
