"""Playbooks as people read and edit them."""

import pytest

from drift.models import Alarm
from drift.services import playbooks

pytestmark = pytest.mark.django_db

ADDRESS = "/playbooks/energy_drift/"


@pytest.fixture(autouse=True)
def shipped(now) -> None:
    """The shipped playbooks, also after a test that emptied the tables."""
    playbooks.install_defaults(now=now)


def form(**changes: str) -> dict[str, str]:
    return {"version": "1", "causes": "Dust\n\nA fan", "checks": "Look", "actions": "Clean"} | changes


@pytest.mark.parametrize("name", ["visitor", "engineer", "manager", "administrator", "qa"])
def test_everyone_reads_every_playbook(name, cast, browser_client) -> None:
    client = browser_client(getattr(cast, name))
    text = client.get("/playbooks/").content.decode()
    for kind in Alarm.Kind:
        assert f"/playbooks/{kind}/" in text
        assert "Known causes" in client.get(f"/playbooks/{kind}/").content.decode()


def test_whoever_may_not_write_sees_no_form_and_is_refused(cast, browser_client) -> None:
    client = browser_client(cast.visitor)
    assert "Save as the next version" not in client.get(ADDRESS).content.decode()
    assert client.post(f"{ADDRESS}edit/", form()).status_code == 403
    assert playbooks.current_version("energy_drift").version == 1


@pytest.mark.parametrize("name", ["engineer", "manager", "administrator", "qa"])
def test_an_edit_makes_the_next_version_and_keeps_the_earlier_one(name, cast, browser_client) -> None:
    client = browser_client(getattr(cast, name))
    shown = client.post(f"{ADDRESS}edit/", form(), follow=True).content.decode()
    edition = playbooks.current_version("energy_drift")
    assert (edition.version, edition.causes, edition.edited_by) == (2, ["Dust", "A fan"], getattr(cast, name))
    assert "Version 2" in shown and "Version 1, shipped" in shown


def test_a_list_without_a_line_is_refused_at_its_field_and_nothing_typed_is_lost(cast, browser_client) -> None:
    answer = browser_client(cast.engineer).post(f"{ADDRESS}edit/", form(checks="  \n"))
    fields = {field["name"]: field for field in answer.context["fields"]}
    assert answer.status_code == 422
    assert fields["checks"]["error"] and not fields["causes"]["error"]
    assert "Dust\n\nA fan" in answer.content.decode()
    assert playbooks.current_version("energy_drift").version == 1


def test_nobody_writes_over_a_version_that_they_have_not_seen(cast, browser_client) -> None:
    browser_client(cast.manager).post(f"{ADDRESS}edit/", form())
    answer = browser_client(cast.engineer).post(f"{ADDRESS}edit/", form(causes="Mine"))
    assert answer.status_code == 422
    assert f"{cast.manager.username} wrote version 2" in answer.content.decode()
    assert ">Mine</textarea>" in answer.content.decode()
    assert playbooks.current_version("energy_drift").version == 2


def test_a_kind_without_a_playbook_is_not_found(cast, browser_client) -> None:
    assert browser_client(cast.engineer).get("/playbooks/nothing/").status_code == 404
