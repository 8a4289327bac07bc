"""How the audit trail names whoever acted."""

from types import SimpleNamespace

import pytest

from fleet.actors import Actor
from fleet.authentication import DevicePrincipal
from fleet.models import Device, Token, User


@pytest.fixture
def ada() -> User:
    return User(pk=7, username="ada")


def test_a_person_on_a_page_is_the_person(ada):
    assert Actor.of_request(SimpleNamespace(user=ada, auth=None)) == Actor("ada", 7)
    # A page request has no `auth` at all.
    assert Actor.of_request(SimpleNamespace(user=ada)) == Actor("ada", 7)


def test_a_script_is_its_person_with_the_name_of_the_token(ada):
    assert Actor.of_request(SimpleNamespace(user=ada, auth=Token(name="ci"))) == Actor("ada (token ci)", 7)


def test_a_device_is_its_serial_and_nobody_else():
    principal = DevicePrincipal(Device(serial="cam-001"), Token())
    assert Actor.of_request(SimpleNamespace(user=principal, auth=principal.token)) == Actor("device cam-001", None)


def test_a_label_fits_its_column(ada):
    ada.username = "a" * 150
    label = Actor.of_request(SimpleNamespace(user=ada, auth=Token(name="n" * 64))).label
    assert len(label) == 160
    assert label.startswith(ada.username)
