"""Enrolment: scope, uses, expiry, approval, and what a serial that is known already may do."""

from datetime import timedelta
from threading import Barrier, Thread

import pytest
from django.db import connection

from fleet.actors import Actor
from fleet.exceptions import BadCredentials, InvalidInput, NotAllowed, StateConflict
from fleet.models import AuditEntry, Device, DeviceGroup, EnrollmentKey, HardwareTarget, Region, Token
from fleet.services import devices, enrollment, labels, tokens

pytestmark = pytest.mark.django_db
ACTOR = Actor.system("tests")


@pytest.fixture
def make_key(cast, now):
    def make(**options) -> str:
        return enrollment.create_key(name="line 7", actor=ACTOR, now=now, **options)[1]

    return make


def enroll(key: str, now, serial="cam-001", hardware_target="orin-nx-16", region="eu-north"):
    return enrollment.enroll(key, serial, now=now, hardware_target=hardware_target, region=region)


def test_a_device_enrols_and_its_token_works(make_key, now):
    enrolled = enroll(make_key(), now)
    assert (enrolled.device.status, enrolled.created) == ("accepted", True)
    assert tokens.authenticate(enrolled.token, now).device == enrolled.device


def test_an_enrolment_puts_the_device_into_the_groups_of_its_key(make_key, now):
    group = labels.create_label(DeviceGroup, actor=ACTOR, now=now, slug="internal")
    enrolled = enroll(make_key(groups=[group]), now)
    assert list(enrolled.device.groups.all()) == [group]


def test_with_an_approval_queue_a_device_waits_as_pending(make_key, now):
    assert enroll(make_key(requires_approval=True), now).device.status == "pending"


@pytest.mark.parametrize("raw", ["", "nonsense", "rdk_" + "a" * 8 + "_" + "b" * 43])
def test_an_unknown_key_is_refused(cast, now, raw):
    with pytest.raises(BadCredentials):
        enroll(raw, now)


def test_a_key_with_a_wrong_secret_is_refused(make_key, now):
    raw = make_key()
    with pytest.raises(BadCredentials):
        enroll(raw[:13] + "A" * 43, now)


def test_a_device_token_is_no_enrolment_key(make_device, device_token, now):
    with pytest.raises(BadCredentials):
        enroll(device_token(make_device("cam-002")), now)


def test_a_key_ends_at_its_expiry(make_key, now):
    raw = make_key(expires_at=now + timedelta(days=1))
    assert enroll(raw, now + timedelta(hours=23)).created
    with pytest.raises(BadCredentials, match="expired"):
        enroll(raw, now + timedelta(days=1), serial="cam-002")


def test_a_revoked_key_is_refused(make_key, now):
    raw = make_key()
    enrollment.revoke_key(EnrollmentKey.objects.get(), actor=ACTOR, now=now)
    with pytest.raises(BadCredentials, match="revoked"):
        enroll(raw, now)


def test_a_key_of_two_uses_enrols_two_devices(make_key, now):
    raw = make_key(max_uses=2)
    enroll(raw, now, serial="cam-001")
    enroll(raw, now, serial="cam-002")
    with pytest.raises(NotAllowed, match="no uses left"):
        enroll(raw, now, serial="cam-003")
    assert not Device.objects.filter(serial="cam-003").exists()


def test_a_failed_enrolment_uses_up_nothing(make_key, now):
    raw = make_key(max_uses=1)
    with pytest.raises(InvalidInput):
        enroll(raw, now, region="atlantis")
    assert EnrollmentKey.objects.get().uses == 0
    enroll(raw, now)


def test_a_scoped_key_fills_in_its_labels_and_refuses_others(make_key, cast, now):
    raw = make_key(hardware_target=cast.hailo, region=cast.west)
    enrolled = enroll(raw, now, hardware_target="", region="us-west")
    assert (enrolled.device.hardware_target, enrolled.device.region) == (cast.hailo, cast.west)
    with pytest.raises(NotAllowed, match="hailo-8 only"):
        enroll(raw, now, serial="cam-002", hardware_target="orin-nx-16")
    with pytest.raises(NotAllowed, match="us-west only"):
        enroll(raw, now, serial="cam-002", hardware_target="hailo-8", region="eu-north")


def test_an_unknown_label_is_registered_only_by_a_key_that_may(make_key, now):
    with pytest.raises(InvalidInput, match="Jetson Thor"):
        enroll(make_key(), now, hardware_target="Jetson Thor")
    enrolled = enroll(make_key(may_register_labels=True), now, hardware_target="Jetson Thor", region="moon")
    assert enrolled.device.hardware_target == HardwareTarget.objects.get(slug="jetson-thor")
    assert enrolled.device.region == Region.objects.get(slug="moon")


@pytest.mark.parametrize("serial", ["", "a b", "a/b", "../x", "-x", "x" * 129, "ü"])
def test_a_serial_that_cannot_stand_in_an_address_is_refused(make_key, now, serial):
    with pytest.raises(InvalidInput) as refused:
        enroll(make_key(), now, serial=serial)
    assert list(refused.value.errors) == ["serial"]


def test_a_key_and_a_serial_from_a_housing_do_not_take_over_a_working_device(make_key, now):
    raw = make_key()
    first = enroll(raw, now)
    with pytest.raises(StateConflict, match="enrolled already"):
        enroll(raw, now)
    assert tokens.check(first.token, now).passed
    assert EnrollmentKey.objects.get().uses == 1


def test_a_key_that_allows_it_gives_an_enrolled_device_a_further_token(make_key, now):
    raw = make_key(allows_reenrollment=True)
    first = enroll(raw, now)
    second = enroll(raw, now)
    assert (second.device, second.created) == (first.device, False)
    assert tokens.check(first.token, now).passed
    assert tokens.check(second.token, now).passed
    assert AuditEntry.objects.filter(action="device.reenrolled").count() == 1


def test_a_suspended_device_cannot_enrol_its_way_back(make_key, now):
    raw = make_key(allows_reenrollment=True)
    devices.move(enroll(raw, now).device, "suspend", actor=ACTOR, now=now)
    with pytest.raises(StateConflict, match="suspended"):
        enroll(raw, now)


def test_a_retired_device_comes_back_only_through_the_approval_queue(make_key, now):
    raw = make_key(allows_reenrollment=True)
    devices.move(enroll(raw, now).device, "retire", actor=ACTOR, now=now)
    assert enroll(raw, now).device.status == "pending"


def test_a_device_cannot_change_its_hardware_target_by_enrolling_again(make_key, now):
    raw = make_key(allows_reenrollment=True)
    enroll(raw, now)
    with pytest.raises(StateConflict, match="orin-nx-16"):
        enroll(raw, now, hardware_target="hailo-8")


@pytest.mark.django_db(transaction=True)
def test_ten_devices_at_once_cannot_use_a_key_of_three_uses_more_than_three_times(make_key, now):
    raw = make_key(max_uses=3)
    results: list[str] = []
    start = Barrier(10)

    def one(number: int) -> None:
        try:
            start.wait()
            enroll(raw, now, serial=f"cam-{number}")
            results.append("enrolled")
        except NotAllowed as exc:
            results.append(exc.code)
        finally:
            connection.close()

    threads = [Thread(target=one, args=[number]) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["enrolled"] * 3 + ["enrollment_key_exhausted"] * 7
    assert Device.objects.count() == Token.objects.count() == 3
    assert EnrollmentKey.objects.get().uses == 3


@pytest.mark.django_db(transaction=True)
def test_one_serial_enrolled_by_two_connections_at_once_becomes_one_device(make_key, now):
    raw = make_key()
    results: list[str] = []
    start = Barrier(2)

    def one() -> None:
        try:
            start.wait()
            enroll(raw, now)
            results.append("enrolled")
        except StateConflict as exc:
            results.append(exc.code)
        finally:
            connection.close()

    threads = [Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["already_enrolled", "enrolled"]
    assert (Device.objects.count(), EnrollmentKey.objects.get().uses) == (1, 1)
