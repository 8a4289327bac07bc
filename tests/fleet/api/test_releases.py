"""REST /releases: drafts, publication, withdrawal, differences, and what stays frozen."""

import pytest

from fleet.models import AuditEntry, Release
from fleet.services import releases

pytestmark = pytest.mark.django_db
URL = "/api/v1/releases"


@pytest.fixture
def api(cast, api_client):
    return api_client(cast.manager)


@pytest.fixture
def draft(api):
    answer = api.post(URL, {"workload": "lane-assist", "version": "5.0.0"}, format="json")
    assert answer.status_code == 201
    return f"{URL}/{answer.json()['id']}"


def fields(answer) -> list[str]:
    assert answer.status_code == 422
    return sorted(error["field"] for error in answer.json()["errors"])


def test_a_release_is_created_with_its_whole_bill_of_materials_and_artifacts(api, cast):
    body = {
        "workload": "lane-assist",
        "version": "5.0.0",
        "bill_of_materials": {"model_hash": "sha256:abc", "driver": "540.5", "bootloader": "u-boot 2026.01"},
        "hardware_targets": ["orin-nx-16"],
        "artifacts": [{"filename": "model.onnx", "part": "model", "sha256": "a" * 64, "size": 7}],
        "metadata": {"precisions": ["int8"], "expected_memory_mb": 310},
        "notes": "smaller head",
    }
    answer = api.post(URL, body, format="json")
    assert answer.status_code == 201
    release = answer.json()
    assert release["status"] == "draft"
    assert release["bill_of_materials"] == {
        "model_version": "5.0.0",
        "model_hash": "sha256:abc",
        "quantization": "",
        "runtime_version": "",
        "compiler_version": "",
        "driver_version": "540.5",
        "firmware_version": "",
        "calibration_dataset": "",
        "bootloader": "u-boot 2026.01",
    }
    assert release["artifacts"][0]["sha256"] == "a" * 64
    assert (release["hardware_targets"], release["metadata"]) == (["orin-nx-16"], body["metadata"])
    assert release["created_by"] == cast.manager.username
    assert api.get(f"{URL}/{release['id']}").json() == release


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": ""}, "version"),
        ({"version": "4.1.0"}, "version"),
        ({"version": "5/0"}, "version"),
        ({"workload": "none"}, "workload"),
        ({"bill_of_materials": {"Model Hash": "x"}}, "bill_of_materials.Model Hash"),
        ({"bill_of_materials": {"model_hash": {}}}, "bill_of_materials.model_hash"),
        ({"bill_of_materials": {"model_hash": "x" * 129}}, "bill_of_materials.model_hash"),
        ({"bill_of_materials": {"driver": "1", "driver_version": "2"}}, "bill_of_materials.driver_version"),
        ({"bill_of_materials": ["x"]}, "bill_of_materials"),
        ({"hardware_targets": ["orin-nx-16", "abacus"]}, "hardware_targets[1]"),
        ({"artifacts": [{"filename": "a.bin"}]}, "artifacts[0].sha256"),
        ({"artifacts": [{"filename": "../a", "sha256": "a" * 64}]}, "artifacts[0].filename"),
        ({"artifacts": [{"filename": "a.bin", "sha256": "xyz"}]}, "artifacts[0].sha256"),
        ({"artifacts": [{"filename": "a.bin", "sha256": "a" * 64, "size": -1}]}, "artifacts[0].size"),
        ({"metadata": "fast"}, "metadata"),
    ],
)
def test_bad_input_names_the_field_and_leaves_no_half_release(api, change, field):
    answer = api.post(URL, {"workload": "lane-assist", "version": "5.0.0"} | change, format="json")
    assert fields(answer) == [field]
    assert Release.objects.count() == 2


def test_a_draft_can_be_changed_and_parts_not_named_stay(api, draft):
    api.patch(draft, {"bill_of_materials": {"driver_version": "1", "bootloader": "a"}}, format="json")
    answer = api.patch(
        draft, {"bill_of_materials": {"bootloader": "b"}, "hardware_targets": ["hailo-8"]}, format="json"
    )
    parts = answer.json()["bill_of_materials"]
    assert (parts["driver_version"], parts["bootloader"], parts["model_version"]) == ("1", "b", "5.0.0")
    assert answer.json()["hardware_targets"] == ["hailo-8"]


def test_a_published_release_refuses_every_change(api, draft):
    assert api.post(f"{draft}/publish").json()["status"] == "published"
    answer = api.patch(draft, {"notes": "late thought"}, format="json")
    assert (answer.status_code, answer.json()["allowed_actions"]) == (409, ["withdraw"])
    late = api.post(f"{draft}/artifacts", {"filename": "a.bin", "sha256": "a" * 64}, format="json")
    assert late.status_code == 409


def test_a_release_is_published_once_and_withdrawn_once(api, draft):
    statuses = [api.post(f"{draft}/{action}").status_code for action in ("publish", "publish", "withdraw", "withdraw")]
    assert statuses == [200, 409, 200, 409]
    assert api.get(draft).json()["status"] == "withdrawn"


def test_publication_and_withdrawal_are_audited_with_their_reason(api, draft, cast):
    api.post(f"{draft}/publish", {"reason": "board of 2 March"}, format="json")
    row = AuditEntry.objects.get(action="release.published", object_label="lane-assist 5.0.0")
    assert (row.user_id, row.reason, row.old) == (cast.manager.pk, "board of 2 March", {"status": "draft"})
    assert row.new["bill_of_materials"]["model_version"] == "5.0.0"


def test_an_unregistered_release_takes_over_its_history_when_it_is_announced(api, now, cast):
    seen = releases.register_unknown_release("lane-assist", "5.0.0", now=now)
    answer = api.post(URL, {"workload": "lane-assist", "version": "5.0.0", "notes": "announced"}, format="json")
    assert (answer.status_code, answer.json()["id"], answer.json()["status"]) == (201, seen.pk, "draft")


def test_an_unknown_release_registers_its_unknown_workload_once(db, now):
    first = releases.register_unknown_release("new-workload", "0.1", now=now)
    assert releases.register_unknown_release("new-workload", "0.1", now=now) == first
    assert (first.status, first.workload.slug) == ("unregistered", "new-workload")
    assert AuditEntry.objects.filter(action="release.seen_unregistered").count() == 1


def test_the_difference_names_parts_and_files_that_changed(api, cast, draft):
    api.patch(draft, {"bill_of_materials": {"driver": "541", "bootloader": "b"}}, format="json")
    api.post(f"{draft}/artifacts", {"filename": "model.onnx", "sha256": "a" * 64}, format="json")
    answer = api.get(f"{draft}/diff?against={cast.candidate.pk}").json()
    assert answer["changed"] == [
        "model_version",
        "model_hash",
        "quantization",
        "runtime_version",
        "compiler_version",
        "driver_version",
        "firmware_version",
        "calibration_dataset",
        "bootloader",
    ]
    rows = {row["part"]: (row["from"], row["to"]) for row in answer["bill_of_materials"]}
    assert rows["driver_version"] == ("540.4", "541")
    assert rows["bootloader"] == ("", "b")
    assert answer["artifacts"] == [{"filename": "model.onnx", "from": "", "to": "a" * 64, "changed": True}]


def test_two_releases_that_differ_in_one_part_name_that_part_alone(api, cast):
    answer = api.get(f"{URL}/{cast.candidate.pk}/diff?against={cast.release.pk}").json()
    assert answer["changed"] == ["model_version"]


def test_a_difference_needs_another_release(api, cast):
    assert fields(api.get(f"{URL}/{cast.release.pk}/diff")) == ["against"]
    assert api.get(f"{URL}/{cast.release.pk}/diff?against=99999").status_code == 404


def test_filters_narrow_the_list(api, draft, cast):
    def versions(query):
        return sorted(row["version"] for row in api.get(f"{URL}?{query}").json()["results"])

    assert versions("workload=lane-assist&version=4.1.0") == ["4.1.0"]
    assert versions("status=draft") == ["5.0.0"]
    assert versions("workload=other") == []
    api.patch(draft, {"hardware_targets": ["hailo-8"]}, format="json")
    assert versions("hardware_target=orin-nx-16") == ["4.1.0", "4.2.0"]
    assert versions("hardware_target=hailo-8") == ["4.1.0", "4.2.0", "5.0.0"]


def test_where_signatures_are_required_an_unsigned_artifact_stops_the_publication(api, draft, settings):
    settings.REQUIRE_SIGNED_ARTIFACTS = True
    api.post(f"{draft}/artifacts", {"filename": "model.onnx", "sha256": "a" * 64}, format="json")
    answer = api.post(f"{draft}/publish")
    assert (answer.status_code, answer.json()["code"]) == (422, "unsigned")
    assert "model.onnx" in answer.json()["detail"]
    api.delete(f"{draft}/artifacts/model.onnx")
    assert api.post(f"{draft}/publish").status_code == 200
