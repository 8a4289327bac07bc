"""DDI over HTTP: the answers that strict clients rely on."""

import io
import json
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from fleet.models import Device
from fleet.services import artifacts, releases
from rollouts.models import Controller, Delivery
from rollouts.services import advancing, deciding, drafting
from tests.rollouts.conftest import CHANGE_RECORD, POLICY, actor_of

pytestmark = pytest.mark.django_db

IMAGE = b"not really an image, but thirty-one and more bytes of one"


class DdiClient:
    """A client with a token that speaks DDI."""

    def __init__(self, serial: str, authorization: str) -> None:
        self.base = f"/DEFAULT/controller/v1/{serial}"
        self.http = Client()
        self.headers = {"Authorization": authorization, "Accept": "application/json;charset=UTF-8"}

    def get(self, path: str = "", **headers):
        return self.http.get(self.base + path, headers={**self.headers, **headers})

    def send(self, path: str, document, method: str = "post"):
        call = getattr(self.http, method)
        return call(self.base + path, json.dumps(document), content_type="application/json", headers=self.headers)

    def feedback(self, action: int, execution: str, finished: str = "none", *, kind: str = "deploymentBase"):
        status = {"execution": execution, "result": {"finished": finished}, "details": ["text"]}
        return self.send(f"/{kind}/{action}/feedback", {"id": str(action), "status": status})

    def links(self) -> dict[str, str]:
        """Relation -> path below the base."""
        document = self.get().json()
        return {name: link["href"].split(self.base)[1] for name, link in document.get("_links", {}).items()}


@pytest.fixture
def device(make_device) -> Device:
    return make_device("gw-1", "orin-nx-16", "eu-north")


@pytest.fixture
def client(device, device_token) -> DdiClient:
    return DdiClient("gw-1", f"TargetToken {device_token(device)}")


@pytest.fixture
def roll_out(device, cast, qualify, now):
    """Start a rollout of a release with one file to this one device."""

    def make(filename: str = "image.swu"):
        manager = {"by": cast.manager, "actor": actor_of(cast.manager)}
        draft = releases.create_release(
            workload=cast.workload, version="6.0.0", hardware_targets=[cast.orin], actor=manager["actor"], now=now
        )
        description = artifacts.Description(filename=filename, part="bundle")
        artifacts.upload_artifact(draft, description, io.BytesIO(IMAGE), actor=manager["actor"], now=now)
        release = releases.publish(draft, actor=manager["actor"], now=now)
        qualify(release, cast.orin)
        made = drafting.create_rollout(
            release=release,
            now=timezone.now(),
            change_record=CHANGE_RECORD,
            policy=POLICY,
            stages=[{"name": "bench", "hand_picked": True}],
            **manager,
        )
        drafting.submit(made, now=timezone.now(), **manager)
        deciding.start(made, now=timezone.now(), **manager)
        return made

    return make


@pytest.fixture
def rollout(roll_out):
    """A started rollout."""
    return roll_out()


def test_a_poll_without_work_gives_the_sleep_and_asks_for_attributes_once(client):
    document = client.get().json()
    assert document["config"] == {"polling": {"sleep": "00:05:00"}}
    assert set(document["_links"]) == {"configData"}
    assert client.send("/configData", {"mode": "merge", "data": {"board": "b1"}}, "put").status_code == 200
    assert "_links" not in client.get().json()
    assert Controller.objects.get().attributes == {"board": "b1"}


def test_the_tenant_is_matched_in_any_case_and_links_keep_the_spelling_of_the_caller(client):
    client.base = "/default/controller/v1/gw-1"
    assert "/default/controller/v1/gw-1/configData" in client.get().json()["_links"]["configData"]["href"]


def test_an_unchanged_poll_is_not_modified(client):
    etag = client.get()["ETag"]
    assert client.get(**{"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize(
    "authorization", ["", "TargetToken", "TargetToken nonsense", "Bearer {token}", "GatewayToken {token}"]
)
def test_wrong_credentials_are_401_with_an_empty_body(device, device_token, authorization):
    stranger = DdiClient("gw-1", authorization.format(token=device_token(device)))
    answer = stranger.get()
    assert (answer.status_code, answer.content) == (401, b"")


def test_a_device_token_opens_no_other_device_and_a_suspended_device_nothing(client, device, make_device):
    make_device("gw-2")
    client.base = "/DEFAULT/controller/v1/gw-2"
    assert client.get().status_code == 401
    client.base = "/DEFAULT/controller/v1/gw-1"
    Device.objects.filter(pk=device.pk).update(status="suspended")
    assert client.get().status_code == 403


def test_a_gateway_speaks_for_what_is_behind_it_and_registers_what_nobody_knows(device, device_token, make_device):
    gateway = DdiClient("gw-1", f"GatewayToken {device_token(device, kind='gateway')}")
    gateway.base = "/DEFAULT/controller/v1/cam-behind-1"
    assert gateway.send("/configData", {"data": {"a": "b"}}, "put").status_code == 401
    assert gateway.get().status_code == 200
    made = Device.objects.get(serial="cam-behind-1")
    assert (made.gateway, made.hardware_target, made.region) == (device, device.hardware_target, device.region)
    make_device("elsewhere-1")
    gateway.base = "/DEFAULT/controller/v1/elsewhere-1"
    assert gateway.get().status_code == 401


def test_verbs_types_ids_and_accepts_are_checked(client):
    assert client.http.delete(client.base, headers=client.headers).status_code == 405
    assert client.get(Accept="text/html").status_code == 406
    assert client.get(Accept="application/hal+json").status_code == 200
    wrong = client.http.put(client.base + "/configData", "<a/>", content_type="application/xml", headers=client.headers)
    assert wrong.status_code == 415
    client.base = "/DEFAULT/controller/v1/" + "x" * 257
    assert client.get().status_code == 400


def test_an_action_goes_from_poll_to_close_and_stays_unconfirmed(client, rollout):
    action = Delivery.objects.get().pk
    link = client.links()["deploymentBase"]
    assert link.startswith(f"/deploymentBase/{action}?c=")
    document = client.get(link).json()
    assert document["id"] == str(action)
    (artifact,) = document["deployment"]["chunks"][0]["artifacts"]
    assert artifact["size"] == len(IMAGE)
    assert client.get(link).json() == document
    for execution in ("proceeding", "download", "downloaded", "proceeding"):
        assert client.feedback(action, execution).status_code == 200
    assert "deploymentBase" in client.links()
    assert client.feedback(action, "rejected").status_code == 200
    assert "deploymentBase" in client.links(), "a warning closes nothing"
    assert client.feedback(action, "closed", "success").status_code == 200
    assert Delivery.objects.get().status == "installed"
    links = client.links()
    assert set(links) == {"installedBase", "configData"}
    history = client.get(links["installedBase"] + "?actionHistory=-1").json()["actionHistory"]
    assert history["status"] == "INSTALLED"
    assert "closed: text" in history["messages"][0]
    assert client.feedback(action, "closed", "success").status_code == 410
    assert client.get(f"/deploymentBase/{action}").status_code == 404


def test_a_failed_action_is_closed_and_tried_again_under_another_id(client, rollout):
    action = Delivery.objects.get().pk
    client.links()
    assert client.feedback(action, "closed", "failure").status_code == 200
    assert "deploymentBase" not in client.links()
    advancing.advance(timezone.now())
    again = Delivery.objects.exclude(pk=action).get()
    assert again.attempt == 2 and again.blocked_until > timezone.now()
    Delivery.objects.filter(pk=again.pk).update(blocked_until=timezone.now() - timedelta(seconds=1))
    assert client.links()["deploymentBase"].startswith(f"/deploymentBase/{again.pk}?")


def test_bad_feedback_and_unknown_actions_are_refused(client, rollout):
    action = Delivery.objects.get().pk
    client.links()
    assert client.send(f"/deploymentBase/{action}/feedback", {"status": {}}).status_code == 400
    assert client.feedback(999_999, "proceeding").status_code == 404
    assert client.feedback(2**31 + 5, "proceeding").status_code == 404
    assert client.feedback(action, "proceeding", kind="cancelAction").status_code == 405


def test_a_file_is_served_whole_in_ranges_and_with_its_md5(client, rollout):
    client.links()
    action = Delivery.objects.get()
    href = f"/softwaremodules/{action.release_id}/artifacts/image.swu"
    whole = client.get(href, Accept="application/octet-stream")
    assert b"".join(whole.streaming_content) == IMAGE
    assert whole["ETag"] == f'"{action.release.artifacts.get().sha1}"'
    part = client.get(href, Accept="application/octet-stream", Range="bytes=4-9")
    assert (part.status_code, b"".join(part.streaming_content)) == (206, IMAGE[4:10])
    assert part["Content-Range"] == f"bytes 4-9/{len(IMAGE)}"
    assert client.get(href, Range=f"bytes={len(IMAGE)}-").status_code == 416
    assert client.get(href, **{"If-Match": '"other"'}).status_code == 412
    assert client.http.head(client.base + href, headers=client.headers).status_code == 200
    md5 = client.get(href + ".MD5SUM")
    assert md5.content.decode() == f"{action.release.artifacts.get().md5}  image.swu"
    assert len(client.get(href.removesuffix("/image.swu")).json()) == 1
    assert Delivery.objects.get().status == "downloading"


def test_files_are_closed_to_a_device_without_an_action_for_them(client, rollout, make_device, device_token):
    other = make_device("gw-9")
    stranger = DdiClient("gw-9", f"TargetToken {device_token(other)}")
    release = Delivery.objects.get().release_id
    assert stranger.get(f"/softwaremodules/{release}/artifacts").status_code == 404
    assert stranger.get(f"/softwaremodules/{release}/artifacts/image.swu").status_code == 404


@pytest.fixture
def called_off(client, rollout, cast):
    """The action was begun, and then the rollout stopped."""
    action = Delivery.objects.get().pk
    client.links()
    client.feedback(action, "proceeding")
    deciding.stop(rollout, by=cast.manager, actor=actor_of(cast.manager), now=timezone.now(), reason="Wrong image.")
    return action


def test_a_stop_asks_the_client_to_let_go_and_it_may_agree(client, called_off):
    assert client.links()["cancelAction"] == f"/cancelAction/{called_off}"
    document = client.get(f"/cancelAction/{called_off}").json()
    assert document == {"id": str(called_off), "cancelAction": {"stopId": str(called_off)}}
    assert client.get(f"/deploymentBase/{called_off}").status_code == 404
    assert client.feedback(called_off, "closed", "success", kind="cancelAction").status_code == 200
    assert Delivery.objects.get().status == "cancelled"
    assert "cancelAction" not in client.links()
    assert client.get(f"/cancelAction/{called_off}").status_code == 404


def test_a_client_that_has_gone_too_far_may_finish(client, called_off):
    assert client.feedback(called_off, "rejected", kind="cancelAction").status_code == 200
    assert "deploymentBase" in client.links()
    assert client.feedback(called_off, "closed", "success").status_code == 200
    assert Delivery.objects.get().status == "superseded"


def test_a_client_that_never_answers_is_taken_to_have_let_go(client, called_off):
    advancing.advance(timezone.now() + timedelta(hours=3))
    assert Delivery.objects.get().status == "cancelled"


def test_a_person_at_the_device_may_have_to_confirm(client, rollout):
    action = Delivery.objects.get().pk
    assert client.get("/confirmationBase").json()["autoConfirm"] == {"active": False}
    assert client.send("/confirmationBase/deactivateAutoConfirm", {}).status_code == 200
    assert client.links()["confirmationBase"].startswith(f"/confirmationBase/{action}?c=")
    links = client.get("/confirmationBase").json()["_links"]
    assert f"/confirmationBase/{action}?c=" in links["confirmationBase"]["href"]
    assert client.get(f"/deploymentBase/{action}").status_code == 404
    assert "confirmation" in client.get(f"/confirmationBase/{action}").json()
    denied = client.send(f"/confirmationBase/{action}/feedback", {"confirmation": "denied", "details": ["not now"]})
    assert denied.status_code == 200
    assert "confirmationBase" in client.links()
    client.send(f"/confirmationBase/{action}/feedback", {"confirmation": "confirmed"})
    assert "deploymentBase" in client.links()


def test_a_device_may_confirm_by_itself_once_it_says_so(client, rollout):
    client.send("/confirmationBase/deactivateAutoConfirm", {})
    assert client.send("/confirmationBase/activateAutoConfirm", {"initiator": "op"}).status_code == 200
    assert client.send("/confirmationBase/activateAutoConfirm", {}).status_code == 409
    assert client.get("/confirmationBase").json()["autoConfirm"]["initiator"] == "op"
    assert "deploymentBase" in client.links()


def test_a_release_without_a_file_for_the_profile_fails_at_once_with_that_reason(client, roll_out, device):
    Device.objects.filter(pk=device.pk).update(delivery_profile="swupdate")
    roll_out(filename="image.zip")
    assert "deploymentBase" not in client.links()
    assert Delivery.objects.get().status == "failed"
    assert "suits the delivery profile swupdate" in Delivery.objects.get().detail


def test_attributes_are_merged_replaced_removed_and_bounded(client):
    def put(document) -> int:
        return client.send("/configData", document, "put").status_code

    assert put({"data": {"a": "1", "b": "2"}}) == 200
    assert put({"mode": "remove", "data": {"a": ""}}) == 200
    assert put({"data": {"c": "3"}}) == 200
    assert Controller.objects.get().attributes == {"b": "2", "c": "3"}
    assert put({"mode": "replace", "data": {"z": "9"}}) == 200
    assert put({"data": {}}) == 400
    assert put({"data": {f"k{i}": "v" for i in range(101)}}) == 429
    assert Controller.objects.get().attributes == {"z": "9"}


def test_a_poll_without_work_takes_two_statements(client, django_assert_num_queries):
    client.get()
    with django_assert_num_queries(2):
        client.get()


def test_a_device_that_asks_without_end_is_told_to_wait_and_others_are_not(
    client, make_device, device_token, monkeypatch
):
    from rollouts.ddi import views
    from telemetry import allowances

    monkeypatch.setattr(views, "REQUESTS_PER_S", 0.001)
    monkeypatch.setattr(views, "REQUESTS_AT_ONCE", 20.0)
    allowances.refill()
    statuses = [client.get().status_code for _ in range(30)]
    refused = client.get()
    assert statuses[0] == 200 and refused.status_code == 429 and int(refused["Retry-After"]) >= 1
    assert refused.json()["errorCode"] == "ddi.error.tooManyRequests"
    other = make_device("gw-2", "orin-nx-16", "eu-north")
    assert DdiClient("gw-2", f"TargetToken {device_token(other)}").get().status_code == 200
    allowances.refill()
