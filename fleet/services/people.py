"""Writers of people: accounts, roles, passwords, and the account that automation uses."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from fleet.actors import Actor
from fleet.exceptions import InvalidInput, StateConflict
from fleet.models import EnrollmentKey, Token, User
from fleet.models.people import Role
from fleet.scopes import ALL
from fleet.services import audit, enrollment, tokens

AUTOMATION = "automation"


@dataclass(frozen=True, slots=True)
class Access:
    """What automation needs to drive the product; both texts are shown this once."""

    admin_token: str
    enrollment_key: str


def _checked_password(password: str, user: User) -> str:
    try:
        validate_password(password, user)
    except ValidationError as exc:
        raise InvalidInput({"password": " ".join(exc.messages)}) from exc
    return password


@transaction.atomic
def create_user(
    *,
    username: str,
    actor: Actor,
    now: datetime,
    roles: Iterable[str] = (),
    password: str = "",
    email: str = "",
    first_name: str = "",
    last_name: str = "",
) -> User:
    """Create an account; without a password it can only use API tokens."""
    user = User(
        username=username,
        email=email,
        first_name=first_name,
        last_name=last_name,
        roles=sorted(set(roles)),
        date_joined=now,
    )
    user.is_staff = Role.ADMINISTRATOR in user.roles
    if password:
        user.set_password(_checked_password(password, user))
    else:
        user.set_unusable_password()
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as exc:
        raise InvalidInput({"username": f"There is an account {username} already."}, code="unique") from exc
    audit.record(actor=actor, action="user.created", obj=user, now=now, new={"roles": user.roles, "email": email})
    return user


@transaction.atomic
def update_user(user: User, *, actor: Actor, now: datetime, password: str | None = None, **fields: Any) -> User:
    """Change roles, name, address, password or whether the account is active.

    Administrators reach the Django admin, others do not. The last active administrator cannot be taken away.
    """
    # One lock for all administrators, so that two of them cannot remove each other at once.
    administrators = list(
        User.objects.select_for_update()
        .filter(is_active=True, roles__contains=[Role.ADMINISTRATOR])
        .order_by("pk")
        .values_list("pk", flat=True)
    )
    if "roles" in fields:
        fields["roles"] = sorted(set(fields["roles"]))
    remains = Role.ADMINISTRATOR in fields.get("roles", user.roles) and fields.get("is_active", user.is_active)
    if administrators == [user.pk] and not remains and not user.is_superuser:
        raise StateConflict("last_administrator", detail="This is the last active administrator.")
    old: dict[str, Any] = {}
    new: dict[str, Any] = {}
    for name, value in fields.items():
        if getattr(user, name) != value:
            old[name], new[name] = getattr(user, name), value
            setattr(user, name, value)
    user.is_staff = user.is_administrator
    if password:
        user.set_password(_checked_password(password, user))
        new["password"] = "changed"
    if new:
        user.save()
        audit.record(actor=actor, action="user.changed", obj=user, now=now, old=old, new=new)
    return user


@transaction.atomic
def bootstrap_access(*, now: datetime) -> Access:
    """Create or renew the access of automation: an administrator's API token with all scopes, and an enrolment key.

    The key needs no approval, registers unknown labels and allows re-enrolment. What an earlier call gave out is
    revoked, so that at most one pair is live.
    """
    actor = Actor.system("bootstrap")
    user = User.objects.select_for_update().filter(username=AUTOMATION).first()
    if user is None:
        user = create_user(username=AUTOMATION, roles=[Role.ADMINISTRATOR], actor=actor, now=now)
    for token in Token.objects.filter(user=user, name=AUTOMATION, revoked_at__isnull=True):
        tokens.revoke_token(token, actor=actor, now=now, reason="renewed")
    for key in EnrollmentKey.objects.filter(name=AUTOMATION, created_by=user, revoked_at__isnull=True):
        enrollment.revoke_key(key, actor=actor, now=now, reason="renewed")
    token = tokens.issue_api_token(user, AUTOMATION, [ALL], actor=actor, now=now)
    _, key = enrollment.create_key(
        name=AUTOMATION,
        actor=actor,
        now=now,
        may_register_labels=True,
        allows_reenrollment=True,
        created_by=user,
    )
    return Access(token, key)
