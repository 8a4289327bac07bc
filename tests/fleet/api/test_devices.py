"""REST /devices: registration one by one and in bulk, filters, states, tokens and CSV."""

import csv
import io

import pytest

from fleet.actors import Actor
from fleet.models import AuditEntry, Device, DeviceGroup, Token, Workload
from fleet.services import releases, tokens
from fleet.services.labels import create_label
from telemetry.models import Context, DeviceLatest

pytestmark = pytest.mark.django_db
URL = "/api/v1/devices"


@pytest.fixture
def api(cast, api_client):
    return api_client(cast.manager)


def new(serial="cam-001", **more):
    return {"serial": serial, "hardware_target": "orin-nx-16", "region": "eu-north", **more}


def errors(response) -> dict[str, str]:
    return {error["field"]: error["code"] for error in response.json()["errors"]}


def test_one_device_is_registered_and_gets_a_token_that_works(api, now):
    answer = api.post(URL, new(), format="json")
    assert answer.status_code == 201
    body = answer.json()
    assert (body["serial"], body["status"], body["hardware_target"]) == ("cam-001", "accepted", "orin-nx-16")
    assert tokens.authenticate(body["token"], now).device_id == body["id"]


def test_a_list_is_registered_at_once_each_with_its_own_token(api, now):
    answer = api.post(URL, [new(f"cam-{n}") for n in range(3)], format="json")
    assert [row["serial"] for row in answer.json()] == ["cam-0", "cam-1", "cam-2"]
    assert [tokens.authenticate(row["token"], now).device.serial for row in answer.json()] == [
        "cam-0",
        "cam-1",
        "cam-2",
    ]
    assert AuditEntry.objects.filter(action="device.registered").count() == 3


def test_a_thousand_devices_are_registered_in_few_queries(api, django_assert_max_num_queries):
    with django_assert_max_num_queries(25):
        answer = api.post(URL, [new(f"cam-{n}") for n in range(1000)], format="json")
    assert answer.status_code == 201
    assert Device.objects.count() == Token.objects.filter(kind="device").count() == 1000


def test_one_bad_device_in_a_list_registers_none_and_names_index_and_field(api):
    answer = api.post(URL, [new("cam-1"), new("cam-2", region="atlantis"), new("a b")], format="json")
    assert answer.status_code == 422
    assert errors(answer) == {"[1].region": "does_not_exist", "[2].serial": "invalid"}
    assert not Device.objects.exists()


def test_a_serial_that_is_taken_or_repeated_is_bad_input(api, make_device):
    make_device("cam-001")
    assert errors(api.post(URL, new("cam-001"), format="json")) == {"serial": "invalid"}
    answer = api.post(URL, [new("cam-2"), new("cam-2")], format="json")
    assert errors(answer) == {"[1].serial": "invalid"}


def test_every_missing_field_is_named(api):
    answer = api.post(URL, {}, format="json")
    assert answer.status_code == 422
    assert errors(answer) == {"serial": "required", "hardware_target": "required", "region": "required"}
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("body", [[], "text", 7, None, [[]], {"serial": {}}])
def test_a_body_of_another_shape_is_bad_input(api, body):
    assert api.post(URL, body, format="json").status_code == 422


def test_labels_are_understood_by_name_too(api):
    answer = api.post(URL, new(hardware_target="Orin NX 16 GB", region="EU north"), format="json")
    assert (answer.json()["hardware_target"], answer.json()["region"]) == ("orin-nx-16", "eu-north")


def test_groups_are_kept_and_shown_by_slug(api, now, cast):
    for slug in ("beta", "internal"):
        create_label(DeviceGroup, actor=Actor.system("tests"), now=now, slug=slug)
    answer = api.post(URL, new(groups=["internal", "beta"]), format="json")
    assert answer.json()["groups"] == ["beta", "internal"]


@pytest.mark.parametrize("suffix", ["", "/"])
def test_a_device_is_found_by_serial_and_by_id_with_and_without_slash(api, make_device, suffix):
    device = make_device("cam-001")
    for reference in ("cam-001", device.pk):
        answer = api.get(f"{URL}/{reference}{suffix}")
        assert (answer.status_code, answer.json()["id"]) == (200, device.pk)


def test_a_serial_of_digits_wins_over_an_id(api, make_device):
    first = make_device("cam-001")
    second = make_device(str(first.pk))
    assert api.get(f"{URL}/{first.pk}").json()["id"] == second.pk


@pytest.mark.parametrize("reference", ["nobody", "999999999", "9" * 40, "%00", "²"])
def test_an_unknown_device_is_not_found(api, reference):
    answer = api.get(f"{URL}/{reference}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_filters_narrow_the_list(api, make_device):
    make_device("cam-001")
    make_device("cam-002", "hailo-8", "us-west", status="suspended")
    make_device("arm-003", "hailo-8", "eu-north")

    def serials(query):
        return sorted(row["serial"] for row in api.get(f"{URL}?{query}").json()["results"])

    assert serials("") == ["arm-003", "cam-001", "cam-002"]
    assert serials("hardware_target=hailo-8") == ["arm-003", "cam-002"]
    assert serials("hardware_target=hailo-8&region=us-west") == ["cam-002"]
    assert serials("region=us-west,eu-north") == ["arm-003", "cam-001", "cam-002"]
    assert serials("status=suspended") == ["cam-002"]
    assert serials("status=suspended&status=accepted") == ["arm-003", "cam-001", "cam-002"]
    assert serials("serial=AM-0") == ["cam-001", "cam-002"]
    assert serials("release=4.1.0") == []


def test_devices_are_found_by_the_release_that_they_last_reported(api, make_device, cast, now):
    digits = create_label(Workload, actor=Actor.system("tests"), now=now, slug="digits")
    other = releases.register_unknown_release("digits", "4.1.0", now=now)
    for serial, workload, release in (
        ("cam-001", cast.workload, cast.release),
        ("cam-002", cast.workload, cast.candidate),
        ("cam-003", digits, other),
    ):
        context = Context.objects.create(digest=serial, workload=workload, release=release, created_at=now)
        DeviceLatest.objects.create(
            device=make_device(serial),
            workload=workload,
            release=release,
            context=context,
            last_seen_at=now,
            boot_id="b",
            batch_seq=1,
        )

    def serials(query):
        return sorted(row["serial"] for row in api.get(f"{URL}?{query}").json()["results"])

    assert serials("release=4.1.0") == ["cam-001", "cam-003"]
    assert serials("release=4.1.0&workload=lane-assist") == ["cam-001"]
    assert serials("workload=lane-assist") == ["cam-001", "cam-002"]


@pytest.mark.parametrize("query", ["hardware_target=none", "region=none", "group=none", "status=asleep"])
def test_a_filter_that_cannot_match_is_bad_input_and_not_an_empty_list(api, query):
    answer = api.get(f"{URL}?{query}")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [query.split("=")[0]]


def test_pages_follow_one_another_and_miss_nothing(api, make_device):
    for number in range(7):
        make_device(f"cam-{number}")
    seen, url = [], f"{URL}?page_size=3"
    while url:
        page = api.get(url).json()
        seen += [row["serial"] for row in page["results"]]
        url = page["next"]
    assert sorted(seen) == [f"cam-{number}" for number in range(7)]
    assert len(seen) == 7


def test_a_list_costs_the_same_queries_for_one_row_and_for_many(api, make_device, django_assert_num_queries):
    make_device("cam-0")
    api.get(URL)
    with django_assert_num_queries(3):  # token, devices, groups
        api.get(URL)
    for number in range(1, 9):
        make_device(f"cam-{number}")
    with django_assert_num_queries(3):
        api.get(URL)


@pytest.mark.parametrize("url", [f"{URL}?format=csv", f"{URL}.csv", f"{URL}.csv/"])
def test_the_whole_list_comes_as_csv(api, make_device, url):
    for number in range(3):
        make_device(f"cam-{number}", notes="=HYPERLINK()" if number == 1 else "")
    answer = api.get(url)
    assert answer["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    assert [row["serial"] for row in rows] == ["cam-2", "cam-1", "cam-0"]
    assert rows[1]["notes"] == "'=HYPERLINK()"


def test_a_device_goes_through_its_states_and_each_step_is_audited(api, make_device):
    make_device("cam-001", status="pending")
    states = [
        api.post(f"{URL}/cam-001/{action}", {"reason": "test"}, format="json").json()["status"]
        for action in ("accept", "suspend", "resume", "retire")
    ]
    assert states == ["accepted", "suspended", "accepted", "retired"]
    assert list(AuditEntry.objects.filter(object_label="cam-001").order_by("id").values_list("action", "reason")) == [
        ("device.accepted", "test"),
        ("device.suspended", "test"),
        ("device.resumed", "test"),
        ("device.retired", "test"),
    ]


def test_an_action_that_the_state_does_not_allow_says_which_ones_it_does(api, make_device):
    make_device("cam-001", status="suspended")
    answer = api.post(f"{URL}/cam-001/suspend")
    assert answer.status_code == 409
    assert (answer.json()["state"], answer.json()["allowed_actions"]) == ("suspended", ["resume", "retire"])


def test_retiring_revokes_every_token(api, make_device, device_token, now):
    device = make_device("cam-001")
    raw = [device_token(device), device_token(device, kind="gateway")]
    api.post(f"{URL}/cam-001/retire")
    assert [tokens.check(text, now).refusal for text in raw] == ["revoked", "revoked"]


def test_rotation_answers_a_new_token_and_keeps_the_old_one(api, make_device, device_token, now):
    old = device_token(make_device("cam-001"))
    answer = api.post(f"{URL}/cam-001/rotate-token")
    assert answer.status_code == 201
    assert tokens.check(old, now).passed
    assert tokens.check(answer.json()["token"], now).passed


def test_a_retired_device_gets_no_token(api, make_device):
    make_device("cam-001", status="retired")
    assert api.post(f"{URL}/cam-001/rotate-token").status_code == 409


def test_one_token_or_all_can_be_revoked(api, make_device, device_token, now):
    device = make_device("cam-001")
    first, second = device_token(device), device_token(device)
    rows = api.get(f"{URL}/cam-001/tokens").json()
    assert {row["revoked_at"] for row in rows} == {None}
    assert "secret_hmac" not in rows[0]
    answer = api.post(f"{URL}/cam-001/revoke-tokens", {"id": tokens.check(first, now).token.pk}, format="json")
    assert answer.json() == {"revoked": 1}
    assert [tokens.check(raw, now).passed for raw in (first, second)] == [False, True]
    assert api.post(f"{URL}/cam-001/revoke-tokens").json() == {"revoked": 1}
    assert not tokens.check(second, now).passed


def test_a_token_of_another_device_is_not_revoked(api, make_device, device_token, now):
    make_device("cam-001")
    raw = device_token(make_device("cam-002"))
    answer = api.post(f"{URL}/cam-001/revoke-tokens", {"id": tokens.check(raw, now).token.pk}, format="json")
    assert answer.status_code == 422
    assert tokens.check(raw, now).passed


def test_a_change_writes_and_audits_only_what_differs(api, make_device):
    make_device("cam-001", power_source="battery")
    answer = api.patch(f"{URL}/cam-001", {"region": "us-west", "power_source": "battery"}, format="json")
    assert answer.json()["region"] == "us-west"
    row = AuditEntry.objects.get(action="device.changed")
    assert (row.old, row.new) == ({"region": "eu-north"}, {"region": "us-west"})


def test_a_serial_cannot_be_changed(api, make_device):
    make_device("cam-001")
    assert errors(api.patch(f"{URL}/cam-001", {"serial": "cam-002"}, format="json")) == {"serial": "invalid"}


def test_a_gateway_is_named_by_its_serial_and_is_never_the_device_itself(api, make_device):
    make_device("cam-001")
    make_device("gate-1")
    assert api.patch(f"{URL}/cam-001", {"gateway": "gate-1"}, format="json").json()["gateway"] == "gate-1"
    assert api.patch(f"{URL}/cam-001", {"gateway": "cam-001"}, format="json").status_code == 422
    assert api.patch(f"{URL}/cam-001", {"gateway": None}, format="json").json()["gateway"] is None


def test_devices_are_tagged_in_bulk(api, make_device, now):
    for number in range(3):
        make_device(f"cam-{number}")
    api.post("/api/v1/groups", {"name": "Line 7"}, format="json")
    url = "/api/v1/groups/line-7/devices"
    assert api.post(url, {"add": ["cam-0", "cam-1", "cam-0"]}, format="json").json() == {"added": 2, "removed": 0}
    assert api.post(url, {"add": ["cam-1", "cam-2"], "remove": ["cam-0"]}, format="json").json() == {
        "added": 1,
        "removed": 1,
    }
    assert sorted(row["serial"] for row in api.get(f"{URL}?group=line-7").json()["results"]) == ["cam-1", "cam-2"]
    assert api.post(url, {"add": ["cam-0", "nobody"]}, format="json").status_code == 404
    assert DeviceGroup.objects.get().devices.count() == 2
