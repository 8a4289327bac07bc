"""Who may do what with a rollout; a missing right is `NotAllowed`."""

from fleet.exceptions import InvalidInput, NotAllowed
from fleet.models import User
from fleet.models.people import Role


def assert_manager(by: User) -> None:
    """Planning, starting, promoting and rolling back are the release manager's."""
    if not by.has_role(Role.RELEASE_MANAGER):
        raise NotAllowed("This takes a release manager.", code="role_missing")


def assert_may_stop(by: User) -> None:
    """An emergency stop needs one person with any role at all."""
    if not (by.roles or by.is_administrator):
        raise NotAllowed("This takes a person with a role.", code="role_missing")


def assert_reason(reason: str) -> None:
    """A decision without a reason is bad input."""
    if not reason.strip():
        raise InvalidInput({"reason": "Say why."}, code="required")
