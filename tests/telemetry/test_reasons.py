"""Every reason for which ingest refuses something, provoked over the API and found on the page with its sample."""

import ast
import gzip
import html
import json
import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import zstandard

from fleet.actors import Actor
from fleet.models import Device
from fleet.services import tokens
from telemetry.models import QuarantinedRecord, RequestReject
from telemetry.reasons import REASONS, VALUES
from tests.telemetry.envelopes import encode, envelope, inferences

ROOT = Path(__file__).resolve().parents[2]
URL, OTLP_URL = "/api/v1/telemetry", "/v1/metrics"
MINUTE = timedelta(minutes=1)


# --- the table and the code ------------------------------------------------------------------------------------------


def constants(node):
    """The texts that an expression can be, as far as they stand in it."""
    if isinstance(node, ast.Constant):
        return {node.value}
    return constants(node.body) | constants(node.orelse) if isinstance(node, ast.IfExp) else set()


def codes_in_the_code():
    """(status, code) wherever the code of ingest refuses something, read from its source."""
    found = set()
    # the position of the code among the arguments, and the status of what is refused so
    calls = {"BadBody": (0, 400), "Rejection": (3, None), "_BadValue": (1, None), "_Inconsistent": (1, None),
             "_reject": (2, None)}  # fmt: skip
    files = [*(ROOT / "telemetry/protocol").glob("*.py"), *(ROOT / "telemetry/services/ingest").glob("*.py"),
             *(ROOT / "telemetry/api").glob("*.py")]  # fmt: skip
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name in calls and len(node.args) > calls[name][0]:
                    found |= {(calls[name][1], code) for code in constants(node.args[calls[name][0]])}
                if name == "problem_response":
                    found |= {(node.args[0].value, code) for code in constants(node.args[1])}
                if name == "NotAllowed":
                    codes = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
                    found |= {(403, code) for value in codes for code in constants(value)}
            # a code that is worked out before it is used: code = "enum", or code, message = ("future", …) if … else …
            if isinstance(node, ast.Assign):
                target, values = node.targets[0], [node.value]
                if isinstance(target, ast.Tuple):
                    branches = [node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else []
                    target, values = target.elts[0], [b.elts[0] for b in branches if isinstance(b, ast.Tuple)]
                if getattr(target, "id", "") == "code":
                    found |= {(None, code) for value in values for code in constants(value)}
    return found


def test_the_table_names_every_reason_that_stands_in_the_code():
    found = codes_in_the_code()
    assert {(None, "future"), (None, "temporality"), (400, "unequal_columns"), (413, "too_large")} <= found
    assert found - set(REASONS) == set()


def test_the_table_names_every_way_in_which_a_device_may_not_send():
    closed = {(403, f"device_{status}") for status in Device.Status.values if status != Device.Status.ACCEPTED}
    envelopes = {(400, code) for code in VALUES}
    assert closed | envelopes <= set(REASONS)
    assert all(text[0].isupper() and text.endswith(".") for text in REASONS.values())


# --- provoking -------------------------------------------------------------------------------------------------------


class Fleet:
    """Devices with their clients; each way of sending ends in a refusal."""

    def __init__(self, make_device, device_token, api_client, clock):
        self.make_device, self.device_token, self.api_client = make_device, device_token, api_client
        self.clock, self.seq = clock, 0
        self.device = make_device("orin-1")
        self.token = device_token(self.device)
        self.api = api_client(self.token)

    def post(self, body=None, *, api=None, url=URL, content_type="application/json", **headers):
        body = self.body() if body is None else body
        body = body if isinstance(body, bytes) else encode(body)
        return (api or self.api).post(url, body, content_type=content_type, **headers)

    def body(self, **changes):
        self.seq += 1
        return envelope(self.clock, seq=self.seq, **changes)

    def record(self, **fields):
        """A batch of one good and one bad inference."""
        return self.post(self.body(inferences=[*inferences(self.clock, 1), {**inferences(self.clock, 1)[0], **fields}]))

    def event(self, **fields):
        return self.post(self.body(events=[{"time": self.clock.isoformat(), "type": "boot", **fields}]))

    def window(self, **fields):
        span = {"start": (self.clock - MINUTE).isoformat(), "end": self.clock.isoformat(), "count": 1}
        return self.post(self.body(windows=[span | fields]))

    def otlp(self, **metric):
        """A gauge of five minutes ago where nothing else is said."""
        now = int(self.clock.timestamp() * 1e9)
        point = {"startTimeUnixNano": now - 10**10, "timeUnixNano": now, "count": 1, "sum": 0.02}
        data = {"dataPoints": [point], "aggregationTemporality": 1}
        attributes = {"service.name": "lane-assist", "service.version": "4.1.0"}
        sent = {
            "name": "edge.inference.duration",
            "unit": "s",
            "histogram": data | metric.pop("histogram", {}),
        } | metric
        document = {
            "resourceMetrics": [
                {
                    "resource": {
                        "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in attributes.items()]
                    },
                    "scopeMetrics": [{"metrics": [sent]}],
                }
            ]
        }
        return self.post(document, url=OTLP_URL)

    def other(self, status="accepted"):
        """A client of another device, in another state."""
        device = self.make_device(f"other-{status}")
        api = self.api_client(self.device_token(device))
        Device.objects.filter(pk=device.pk).update(status=status)
        return api

    def with_bad_token(self, how):
        device = self.make_device(f"token-{how}")
        past = self.clock - MINUTE
        token = self.device_token(device, **({"expires_at": past} if how == "expired" else {}))
        if how == "revoked":
            tokens.revoke_device_tokens(device, actor=Actor.system("tests"), now=past)
        if how == "wrong_secret":
            token = token[:-1] + ("A" if token[-1] != "A" else "B")
        return self.post(api=self.api_client(token))

    def conflict(self):
        body = self.body()
        self.post(body)
        return self.post({**body, "inferences": inferences(self.clock, 2)})

    def without_length(self):
        # as a server that leaves the reading of chunks to nobody
        return self.post(HTTP_TRANSFER_ENCODING="chunked", CONTENT_LENGTH="")

    def too_often(self, settings):
        settings.INGEST_RATE, settings.INGEST_BURST = 0.01, 1
        api = self.other("accepted")
        self.post(api=api)
        answer = self.post(api=api)
        settings.INGEST_RATE, settings.INGEST_BURST = 50, 500
        return answer


WAYS = {
    (None, "type"): lambda f, _: f.record(latency_ms="fast"),
    (None, "missing"): lambda f, _: f.post(f.body(states=[{"time": f.clock.isoformat()}])),
    (None, "enum"): lambda f, _: f.record(outcome="splendid"),
    (None, "range"): lambda f, _: f.record(energy_mj=-1),
    (None, "length"): lambda f, _: f.event(detail={"text": "x" * 20_000}),
    (None, "character"): lambda f, _: f.record(predicted_class="a\0b"),
    (None, "inconsistent"): lambda f, _: f.window(latency_ms={"scale": 5, "offset": 100, "counts": [7]}),
    (None, "future"): lambda f, _: f.record(time=(f.clock + 6 * MINUTE).isoformat()),
    (None, "too_old"): lambda f, _: f.record(time=(f.clock - timedelta(days=15)).isoformat()),
    (None, "unit"): lambda f, _: f.otlp(unit="fortnights"),
    (None, "temporality"): lambda f, _: f.otlp(histogram={"aggregationTemporality": 0}),
    (400, "syntax"): lambda f, _: f.post(b'{"schema": NaN}'),
    (400, "encoding"): lambda f, _: f.post(gzip.compress(encode(f.body()))[:-9], HTTP_CONTENT_ENCODING="gzip"),
    (400, "schema"): lambda f, _: f.post(f.body(schema="other/1")),
    (400, "unequal_columns"): lambda f, _: f.post(f.body(inferences={"time": [1, 2], "latency_ms": [1.0]})),
    (400, "missing"): lambda f, _: f.post(f.body(context=...)),
    (400, "type"): lambda f, _: f.post(f.body(boot_id=7)),
    (400, "enum"): lambda f, _: f.post(f.body(inferences_role="some")),
    (400, "range"): lambda f, _: f.post(f.body() | {"batch_seq": -1}),
    (400, "length"): lambda f, _: f.post(f.body(boot_id="")),
    (400, "character"): lambda f, _: f.post(f.body(boot_id="a\0b")),
    (401, "token_wrong_secret"): lambda f, _: f.with_bad_token("wrong_secret"),
    (401, "token_revoked"): lambda f, _: f.with_bad_token("revoked"),
    (401, "token_expired"): lambda f, _: f.with_bad_token("expired"),
    (403, "device_pending"): lambda f, _: f.post(api=f.other("pending")),
    (403, "device_suspended"): lambda f, _: f.post(api=f.other("suspended")),
    (403, "device_retired"): lambda f, _: f.post(api=f.other("retired")),
    (403, "other_device"): lambda f, _: f.post(f.body(device="somebody-else")),
    (403, "permission_denied"): lambda f, _: f.post(api=f.person),
    (409, "batch_conflict"): lambda f, _: f.conflict(),
    (411, "length_required"): lambda f, _: f.without_length(),
    (413, "too_large"): lambda f, _: f.post(b"[" + bytes(8 << 20)),
    (415, "unknown_encoding"): lambda f, _: f.post(HTTP_CONTENT_ENCODING="br"),
    (415, "unknown_media_type"): lambda f, _: f.post(b"time,latency_ms", content_type="text/csv"),
    (429, "too_many_requests"): lambda f, settings: f.too_often(settings),
}
# What is sent in chunks has no body that a test client could leave to be read; nor is one shown.
WITHOUT_A_BODY = {(411, "length_required")}


def test_every_reason_of_the_table_is_provoked():
    assert set(WAYS) == set(REASONS)


@pytest.fixture
def provoked(cast, make_device, device_token, api_client, clock, settings):
    """Everything wrong at once; the answer to each by its reason."""
    fleet = Fleet(make_device, device_token, api_client, clock)
    fleet.person = api_client(cast.administrator)
    return {reason: way(fleet, settings) for reason, way in WAYS.items()}


@pytest.mark.django_db
def test_each_reason_is_on_the_page_with_a_sample_in_total_and_for_its_device(
    cast, provoked, browser_client, api_client
):
    wrong = {
        reason: answer.status_code for reason, answer in provoked.items() if answer.status_code != (reason[0] or 200)
    }
    assert wrong == {}

    health = api_client(cast.engineer).get("/api/v1/ingest-health", {"from": "-1h"}).json()
    told = {(row["status"], row["code"]): row for row in health["rejections"]}
    assert set(told) == set(REASONS)
    without = {key for key, row in told.items() if not {"body", "body_base64", "record"} & set(row["sample"])}
    assert without == WITHOUT_A_BODY

    page = browser_client(cast.engineer)
    whole = page.get("/ingest/", {"from": "-1h"}).content.decode()
    assert missing_from(whole, set(REASONS)) == set()
    reasons_of = {}
    for row in RequestReject.objects.exclude(device=None).select_related("device"):
        reasons_of.setdefault(row.device.serial, set()).add((row.status, row.code))
    for row in QuarantinedRecord.objects.select_related("device"):
        reasons_of.setdefault(row.device.serial, set()).add((None, row.code))
    assert set.union(*reasons_of.values()) == set(REASONS) - {(403, "permission_denied")}
    for serial, reasons in reasons_of.items():
        assert missing_from(page.get("/ingest/", {"from": "-1h", "device": serial}).content.decode(), reasons) == set()


def missing_from(text, reasons):
    """The reasons that have no row of the table with their code, their remedy and a sample that can be read."""
    rows = re.findall(r"<tr>.*?</tr>", text, re.DOTALL)

    def is_shown(status, code):
        kind = f"whole request, {status}" if status else "record in "
        return any(
            f">{code}</code>" in row
            and kind in row
            and html.escape(REASONS[status, code]) in row
            and "Newest sample" in row
            and ("<pre>" in row or (status, code) in WITHOUT_A_BODY)
            for row in rows
        )

    return {reason for reason in reasons if not is_shown(*reason)}


@pytest.mark.django_db
@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_compressed_body_is_shown_as_what_is_in_it(
    encoding, cast, make_device, device_token, api_client, clock, browser_client
):
    fleet = Fleet(make_device, device_token, api_client, clock)
    # more than what is kept of a body, and hardly to be compressed
    noise = [{"time": 1, "latency_ms": x} for x in np.random.default_rng(4).random(2_000)]
    body = encode(fleet.body(schema="other/9", inferences=noise))
    packed = gzip.compress(body) if encoding == "gzip" else zstandard.compress(body)
    assert fleet.post(packed, HTTP_CONTENT_ENCODING=encoding).status_code == 400
    text = browser_client(cast.engineer).get("/ingest/", {"from": "-1h"}).content.decode()
    assert html.escape('"schema": "other/9"') in text


@pytest.mark.django_db
def test_a_bad_data_point_of_an_opentelemetry_client_is_kept_as_it_was_sent(
    make_device, device_token, api_client, clock
):
    fleet = Fleet(make_device, device_token, api_client, clock)
    assert fleet.otlp(unit="fortnights").status_code == 200
    kept = QuarantinedRecord.objects.get().record
    assert (kept["name"], kept["unit"], len(kept["histogram"]["data_points"])) == (
        "edge.inference.duration", "fortnights", 1,
    )  # fmt: skip
    json.dumps(kept)
