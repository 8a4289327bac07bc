"""What the migrations of the drift app leave in a fresh product."""

from importlib import import_module

import pytest
from django.apps import apps

from drift.models import Alarm, Playbook
from drift.services import playbooks

install = import_module("drift.migrations.0002_playbooks").install


@pytest.mark.django_db
def test_a_fresh_product_has_the_shipped_playbook_of_every_kind_of_alarm(now) -> None:
    Playbook.objects.all().delete()
    install(apps, None)
    assert set(Playbook.objects.values_list("alarm_kind", flat=True)) == set(Alarm.Kind)
    assert all(playbooks.current_version(kind).version == 1 for kind in Alarm.Kind)


@pytest.mark.django_db
def test_a_playbook_that_people_have_edited_is_left_alone(cast, now) -> None:
    playbooks.install_defaults(now=now)
    found = Playbook.objects.get(alarm_kind=Alarm.Kind.ENERGY_DRIFT)
    playbooks.edit(found, causes=["Ours"], checks=["Look"], actions=["Act"], user=cast.manager, now=now)
    install(apps, None)
    assert playbooks.current_version(Alarm.Kind.ENERGY_DRIFT).causes == ["Ours"]
