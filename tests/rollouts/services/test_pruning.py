"""Pruning files: what nothing refers to goes, what anything may want stays."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command

from fleet.actors import Actor
from fleet.models import AuditEntry, Release
from fleet.services import artifacts, releases
from rollouts.models import Delivery
from rollouts.services.pruning import prune

pytestmark = pytest.mark.django_db

ACTOR = Actor.system("tests")
MONTH = timedelta(days=30)


@pytest.fixture
def with_file(cast, now, settings):
    """Make a release with one file: `with_file("4.3.0", b"bytes")`; withdrawn two months ago unless told."""

    def make(version: str, content: bytes, *, withdrawn: bool = True) -> tuple[Release, Path]:
        draft = releases.create_release(workload=cast.workload, version=version, actor=ACTOR, now=now)
        row = artifacts.upload_artifact(
            draft, artifacts.Description(filename="image.swu"), [content], actor=ACTOR, now=now
        )
        releases.publish(draft, actor=ACTOR, now=now)
        if withdrawn:
            releases.withdraw(draft, actor=ACTOR, now=now - 2 * MONTH)
        return draft, Path(settings.MEDIA_ROOT) / row.path

    return make


def orphan(settings, name: str, now, age: timedelta) -> Path:
    file = Path(settings.MEDIA_ROOT) / name[:2] / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"left over")
    os.utime(file, (now.timestamp(), (now - age).timestamp()))
    return file


def test_files_that_no_release_refers_to_go_once_they_are_a_day_old(with_file, settings, now):
    _, kept = with_file("4.3.0", b"kept")
    old, young = orphan(settings, "ab" * 32, now, 2 * MONTH), orphan(settings, "cd" * 32, now, timedelta(hours=1))
    assert [row.reason for row in prune(now, dry_run=True)] == ["no release refers to it"]
    assert old.exists()
    prune(now)
    assert (old.exists(), young.exists(), kept.exists()) == (False, True, True)


def test_a_withdrawn_file_goes_only_when_asked_and_only_where_nothing_needs_it(with_file, now, make_device, cast):
    _, alone = with_file("4.3.0", b"alone")
    _, shared = with_file("4.4.0", b"shared")
    with_file("4.5.0", b"shared", withdrawn=False)
    wanted_release, wanted = with_file("4.6.0", b"wanted")
    _, fresh = with_file("4.7.0", b"fresh", withdrawn=False)
    Delivery.objects.create(
        device=make_device("d-1", "orin-nx-16", "eu-north"),
        workload=cast.workload,
        release=wanted_release,
        created_at=now,
    )
    assert prune(now) == []
    assert [row.path for row in prune(now, withdrawn_before=MONTH)] == [str(alone.relative_to(alone.parent.parent))]
    assert [file.exists() for file in (alone, shared, wanted, fresh)] == [False, True, True, True]
    assert AuditEntry.objects.get(action="artifact.pruned").old["release"] == "lane-assist 4.3.0"
    assert prune(now, withdrawn_before=MONTH) == []


def test_the_command_says_what_would_go(with_file, settings, now, capsys):
    file = orphan(settings, "ab" * 32, now, 2 * MONTH)
    call_command("prune_artifacts", dry_run=True)
    assert "1 files, 9 bytes would be freed" in capsys.readouterr().out
    assert file.exists()
