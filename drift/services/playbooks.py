"""Writing playbooks: the shipped editions, and edits that each make a new version."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Max

from drift.models import Playbook, PlaybookVersion
from drift.playbook_defaults import DEFAULTS
from fleet.actors import Actor
from fleet.exceptions import InvalidInput
from fleet.models import User
from fleet.services import audit


def install_defaults(*, now: datetime) -> int:
    """Create the shipped playbook of every alarm kind that has none yet; returns how many were created."""
    created = 0
    for default in DEFAULTS:
        playbook, new = Playbook.objects.get_or_create(alarm_kind=default.alarm_kind, defaults={"title": default.title})
        if new:
            PlaybookVersion.objects.create(
                playbook=playbook,
                version=1,
                causes=list(default.causes),
                checks=list(default.checks),
                actions=list(default.actions),
                created_at=now,
            )
            created += 1
    return created


@transaction.atomic
def edit(
    playbook: Playbook,
    *,
    causes: Sequence[str],
    checks: Sequence[str],
    actions: Sequence[str],
    user: User,
    now: datetime,
) -> PlaybookVersion:
    """Write the next version of a playbook; raises InvalidInput where a list has no line."""
    lists = {
        name: [line.strip() for line in lines if line.strip()]
        for name, lines in (("causes", causes), ("checks", checks), ("actions", actions))
    }
    empty = {name: "At least one line is needed." for name, lines in lists.items() if not lines}
    if empty:
        raise InvalidInput(empty)
    Playbook.objects.select_for_update().get(pk=playbook.pk)
    last = playbook.versions.aggregate(last=Max("version"))["last"] or 0
    version = PlaybookVersion.objects.create(
        playbook=playbook, version=last + 1, edited_by=user, created_at=now, **lists
    )
    audit.record(
        actor=Actor.of_user(user),
        action="playbook.edited",
        obj=playbook,
        old={"version": last},
        new={"version": version.version},
        now=now,
    )
    return version


def current_version(alarm_kind: str) -> PlaybookVersion | None:
    """The newest edition for a kind of alarm, if there is one."""
    return PlaybookVersion.objects.filter(playbook__alarm_kind=alarm_kind).order_by("-version").first()
