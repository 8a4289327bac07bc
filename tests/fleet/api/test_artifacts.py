"""REST artifacts: upload as a form and raw, the checks on the way, signatures, and keys."""

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.files.uploadedfile import SimpleUploadedFile

from fleet.models import Artifact, AuditEntry

pytestmark = pytest.mark.django_db
CONTENT = b"weights " * 20_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def api(cast, api_client):
    return api_client(cast.manager)


@pytest.fixture
def draft(api):
    answer = api.post("/api/v1/releases", {"workload": "lane-assist", "version": "5.0.0"}, format="json")
    return f"/api/v1/releases/{answer.json()['id']}"


@pytest.fixture
def private(cast, api_client) -> Ed25519PrivateKey:
    """The private half of a key that is registered under the name "build"."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    body = {"name": "build", "public_key": private.public_key().public_bytes_raw().hex()}
    assert api_client(cast.administrator).post("/api/v1/signing-keys", body, format="json").status_code == 201
    return private


def send(api, draft, content=CONTENT, name="model.onnx", **fields):
    return api.post(f"{draft}/artifacts", {"file": SimpleUploadedFile(name, content), **fields}, format="multipart")


def send_raw(api, draft, content=CONTENT, **query):
    return api.post(
        f"{draft}/artifacts",
        content,
        content_type="application/octet-stream",
        QUERY_STRING="&".join(f"{k}={v}" for k, v in query.items()),
    )


def stored(settings) -> list[Path]:
    root = Path(settings.MEDIA_ROOT)
    return [path for path in root.rglob("*") if path.is_file()] if root.exists() else []


def test_a_file_sent_as_a_form_is_hashed_for_new_and_old_clients(api, draft, settings):
    answer = send(api, draft, part="model", sha256=SHA256)
    assert answer.status_code == 201
    row = answer.json()
    assert (row["filename"], row["part"], row["size"], row["stored"]) == ("model.onnx", "model", len(CONTENT), True)
    assert row["sha256"] == SHA256
    assert row["sha1"] == hashlib.sha1(CONTENT).hexdigest()
    assert row["md5"] == hashlib.md5(CONTENT).hexdigest()
    assert [path.read_bytes() for path in stored(settings)] == [CONTENT]


def test_a_raw_body_does_the_same_with_its_fields_in_the_query(api, draft):
    answer = send_raw(api, draft, filename="model.onnx", part="model", sha256=SHA256)
    assert answer.status_code == 201
    assert (answer.json()["sha256"], answer.json()["size"]) == (SHA256, len(CONTENT))


def test_an_empty_file_is_a_file(api, draft):
    assert send_raw(api, draft, b"", filename="empty").json()["size"] == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"sha256": "0" * 64}, "sha256"),
        ({"sha1": "0" * 40}, "sha1"),
        ({"size": 3}, "size"),
        ({"signature": "abc"}, "signature"),
        ({"filename": "../../etc/passwd"}, "filename"),
        ({"part": "Model!"}, "part"),
        ({"hardware_target": "abacus"}, "hardware_target"),
    ],
)
def test_a_file_that_does_not_match_what_was_said_is_refused_and_leaves_nothing(api, draft, settings, fields, field):
    answer = send(api, draft, **fields)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not Artifact.objects.exists()
    assert stored(settings) == []


def test_a_form_without_a_file_and_a_raw_body_without_a_name_are_refused(api, draft):
    form = api.post(f"{draft}/artifacts", {"part": "model"}, format="multipart")
    assert [error["field"] for error in form.json()["errors"]] == ["file"]
    assert [error["field"] for error in send_raw(api, draft).json()["errors"]] == ["filename"]


def test_a_file_past_the_limit_is_too_large_and_leaves_nothing(api, draft, settings):
    settings.ARTIFACT_MAX_BYTES = 1000
    for answer in (
        send_raw(api, draft, filename="model.onnx"),
        send_raw(api, draft, b"x" * 1001, filename="model.onnx"),
        send(api, draft),
    ):
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert stored(settings) == []


def test_the_same_file_again_is_the_same_artifact(api, draft):
    first = send(api, draft).json()
    again = send(api, draft)
    assert (again.status_code, again.json()["id"]) == (201, first["id"])


def test_another_file_of_the_same_name_is_a_conflict(api, draft):
    send(api, draft)
    answer = send(api, draft, b"other")
    assert (answer.status_code, answer.json()["code"]) == (409, "other_content")


def test_two_releases_share_the_bytes_of_one_file(api, draft, settings):
    second = api.post("/api/v1/releases", {"workload": "lane-assist", "version": "5.1.0"}, format="json").json()["id"]
    send(api, draft)
    assert send(api, f"/api/v1/releases/{second}").status_code == 201
    assert len(stored(settings)) == 1


def test_a_described_file_can_be_uploaded_after_publication_when_it_is_that_very_file(api, draft):
    api.post(f"{draft}/artifacts", {"filename": "model.onnx", "sha256": SHA256}, format="json")
    api.post(f"{draft}/publish")
    assert send(api, draft, b"another file").status_code == 409
    answer = send(api, draft)
    assert (answer.status_code, answer.json()["stored"], answer.json()["size"]) == (201, True, len(CONTENT))


def test_a_published_release_takes_no_new_file(api, draft, settings):
    api.post(f"{draft}/publish")
    assert send(api, draft).status_code == 409
    assert stored(settings) == []


@pytest.mark.parametrize("form", ["content", "sha256"])
def test_a_signature_of_a_registered_key_is_kept_with_its_form(api, draft, private, form):
    message = CONTENT if form == "content" else bytes.fromhex(SHA256)
    answer = send(api, draft, signature=private.sign(message).hex())
    assert answer.status_code == 201
    assert (answer.json()["signing_key"], answer.json()["signature_form"]) == ("build", form)


def test_a_signature_of_nobody_or_over_another_file_is_refused(api, draft, private, settings):
    stranger = Ed25519PrivateKey.generate()
    for signature in (stranger.sign(CONTENT), private.sign(b"another file")):
        answer = send(api, draft, signature=signature.hex())
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_signature")
    assert stored(settings) == []


def test_a_signature_of_a_revoked_key_is_refused(api, api_client, cast, draft, private):
    revoked = api_client(cast.administrator).post("/api/v1/signing-keys/build/revoke")
    assert revoked.json()["revoked_at"] is not None
    assert send(api, draft, signature=private.sign(CONTENT).hex()).json()["code"] == "bad_signature"


def test_a_description_is_signed_over_its_digest(api, draft, private):
    url = f"{draft}/artifacts"
    body = {"filename": "a.bin", "sha256": SHA256}
    assert api.post(url, body | {"signature": private.sign(CONTENT).hex()}, format="json").status_code == 422
    signed = api.post(url, body | {"signature": private.sign(bytes.fromhex(SHA256)).hex()}, format="json")
    assert (signed.status_code, signed.json()["signature_form"]) == (201, "sha256")


def test_where_signatures_are_required_a_signed_artifact_is_published(api, draft, private, settings):
    settings.REQUIRE_SIGNED_ARTIFACTS = True
    send(api, draft, signature=private.sign(CONTENT).hex())
    assert api.post(f"{draft}/publish").status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "k", "public_key": "abc"}, "public_key"),
        ({"name": "k"}, "public_key"),
        ({"name": "build", "public_key": "22" * 32}, "name"),
        (
            {
                "name": "again",
                "public_key": Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
                .public_key()
                .public_bytes_raw()
                .hex(),
            },
            "public_key",
        ),
    ],
)
def test_a_bad_signing_key_names_the_field(api_client, cast, private, body, field):
    answer = api_client(cast.administrator).post("/api/v1/signing-keys", body, format="json")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_file_is_taken_out_of_a_draft_and_every_step_is_audited(api, draft):
    send(api, draft)
    assert api.delete(f"{draft}/artifacts/model.onnx").status_code == 204
    assert api.get(f"{draft}/artifacts").json() == []
    actions = AuditEntry.objects.filter(object_type="fleet.artifact").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["artifact.uploaded", "artifact.removed"]
