"""Install the shipped playbooks, so that the first alarm of a fresh product finds one."""

from django.db import migrations
from django.utils import timezone

from drift.playbook_defaults import DEFAULTS


def install(apps, schema_editor) -> None:
    """Write version 1 of every shipped playbook that is not there yet."""
    playbook_model = apps.get_model("drift", "Playbook")
    version_model = apps.get_model("drift", "PlaybookVersion")
    now = timezone.now()
    for default in DEFAULTS:
        playbook, new = playbook_model.objects.get_or_create(
            alarm_kind=default.alarm_kind, defaults={"title": default.title}
        )
        if new:
            version_model.objects.create(
                playbook=playbook,
                version=1,
                causes=list(default.causes),
                checks=list(default.checks),
                actions=list(default.actions),
                created_at=now,
            )


class Migration(migrations.Migration):
    """Playbooks are data that people edit: taking the migration back leaves them."""

    dependencies = [("drift", "0001_initial")]

    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
