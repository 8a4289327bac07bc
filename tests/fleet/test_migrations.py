"""What the database refuses by itself, whoever asks: proven with plain SQL and bare querysets, past the services."""

import pytest
from django.db import IntegrityError, connection, transaction

from fleet.actors import Actor
from fleet.models import Artifact, AuditEntry, Release
from fleet.services import audit, releases

pytestmark = pytest.mark.django_db
FREEZE = "frozen"


@pytest.fixture
def audit_row(cast, now) -> AuditEntry:
    return audit.record(actor=Actor.system("tests"), action="device.suspended", obj=cast.workload, now=now)


def refused(match: str) -> "Refusal":
    """A block that the database must refuse, inside a savepoint so that the test can go on."""
    return Refusal(match)


class Refusal:
    """Expects an IntegrityError and rolls back to before it."""

    def __init__(self, match: str) -> None:
        self.raises = pytest.raises(IntegrityError, match=match)
        self.atomic = transaction.atomic()

    def __enter__(self) -> None:
        self.raises.__enter__()
        self.atomic.__enter__()

    def __exit__(self, *exc) -> bool:
        self.atomic.__exit__(*exc)
        return self.raises.__exit__(*exc)


def test_an_audit_row_cannot_be_updated(audit_row):
    with refused("append-only"):
        AuditEntry.objects.filter(pk=audit_row.pk).update(reason="another story")
    audit_row.refresh_from_db()
    assert audit_row.reason == ""


def test_an_audit_row_cannot_be_deleted(audit_row):
    with refused("append-only"), connection.cursor() as cursor:
        cursor.execute("DELETE FROM fleet_auditentry WHERE id = %s", [audit_row.pk])
    assert AuditEntry.objects.filter(pk=audit_row.pk).exists()


def test_the_audit_table_cannot_be_truncated(audit_row):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE fleet_auditentry ENABLE TRIGGER audit_table_stays")
    with refused("append-only"), connection.cursor() as cursor:
        cursor.execute("TRUNCATE fleet_auditentry")
    assert AuditEntry.objects.filter(pk=audit_row.pk).exists()


def test_deleting_a_person_leaves_the_audit_rows_of_that_person(cast, now):
    row = audit.record(actor=Actor.of_user(cast.visitor), action="device.suspended", obj=cast.workload, now=now)
    gone = cast.visitor.pk
    cast.visitor.delete()
    row.refresh_from_db()
    assert (row.actor, row.user_id) == ("vera", gone)


@pytest.mark.parametrize("field", ["version", "model_hash", "driver_version", "metadata", "notes", "published_at"])
def test_no_field_of_a_published_release_can_be_changed(cast, field):
    value = {"metadata": {"a": 1}, "published_at": None}.get(field, "other")
    with refused(FREEZE):
        Release.objects.filter(pk=cast.release.pk).update(**{field: value})


def test_a_published_release_cannot_be_deleted(cast):
    with refused(FREEZE), connection.cursor() as cursor:
        cursor.execute("DELETE FROM fleet_release WHERE id = %s", [cast.release.pk])


def test_a_published_release_cannot_become_a_draft_again(cast):
    with refused(FREEZE):
        Release.objects.filter(pk=cast.release.pk).update(status="draft")


def test_a_withdrawn_release_cannot_be_published_again(cast, now):
    releases.withdraw(cast.release, actor=Actor.system("tests"), now=now)
    with refused(FREEZE):
        Release.objects.filter(pk=cast.release.pk).update(status="published")


def test_the_hardware_targets_of_a_published_release_cannot_be_changed(cast):
    with refused(FREEZE):
        cast.release.hardware_targets.remove(cast.orin)
    with refused(FREEZE):
        cast.release.hardware_targets.clear()
    assert cast.release.hardware_targets.count() == 2


def test_a_published_release_takes_no_further_artifact(cast, now):
    with refused(FREEZE):
        Artifact.objects.create(release=cast.release, filename="late.bin", size=1, sha256="0" * 64, created_at=now)


def test_an_artifact_cannot_move_from_a_draft_to_a_published_release(cast, now):
    draft = releases.create_release(workload=cast.workload, version="5.0.0", actor=Actor.system("tests"), now=now)
    artifact = Artifact.objects.create(release=draft, filename="model.bin", size=1, sha256="0" * 64, created_at=now)
    with refused(FREEZE):
        Artifact.objects.filter(pk=artifact.pk).update(release=cast.release)


def test_a_described_artifact_can_be_filled_once_after_publication_and_never_replaced(cast, now):
    actor = Actor.system("tests")
    draft = releases.create_release(workload=cast.workload, version="5.0.0", actor=actor, now=now)
    artifact = Artifact.objects.create(release=draft, filename="model.bin", size=1, sha256="0" * 64, created_at=now)
    releases.publish(draft, actor=actor, now=now)
    rows = Artifact.objects.filter(pk=artifact.pk)
    assert rows.update(path="00/0000", sha1="1" * 40) == 1
    with refused(FREEZE):
        rows.update(path="00/other")
    with refused(FREEZE):
        rows.update(sha256="2" * 64)
    with refused(FREEZE):
        rows.delete()


def test_a_draft_can_be_deleted_with_its_artifacts(cast, now):
    draft = releases.create_release(workload=cast.workload, version="5.0.0", actor=Actor.system("tests"), now=now)
    Artifact.objects.create(release=draft, filename="model.bin", size=1, sha256="0" * 64, created_at=now)
    draft.hardware_targets.add(cast.orin)
    draft.delete()
    assert not Release.objects.filter(version="5.0.0").exists()
