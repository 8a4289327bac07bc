"""The people of the example, by role."""

from datetime import datetime

from fleet.actors import Actor
from fleet.models import User
from fleet.models.people import Role
from fleet.services.people import create_user

# Shown on the terminal of whoever runs the demo, on a server that listens on loopback.
PASSWORD = "ridges-and-canaries"

PEOPLE: tuple[tuple[str, str, str, str], ...] = (
    ("erin", "Erin", "Field", Role.ENGINEER),
    ("mara", "Mara", "Manager", Role.RELEASE_MANAGER),
    ("ada", "Ada", "Admin", Role.ADMINISTRATOR),
    ("mel", "Mel", "Learning", Role.ML),
    ("emil", "Emil", "Embedded", Role.EMBEDDED),
    ("hank", "Hank", "Hardware", Role.HARDWARE),
    ("quinn", "Quinn", "Quality", Role.QA),
    ("sam", "Sam", "Security", Role.SECURITY),
    ("otto", "Otto", "Operations", Role.OPERATIONS),
)


def create(*, actor: Actor, now: datetime) -> dict[str, User]:
    """Everyone who is not there yet; returns all by username."""
    present = {user.username: user for user in User.objects.filter(username__in=[name for name, *_ in PEOPLE])}
    for username, first, last, role in PEOPLE:
        if username not in present:
            present[username] = create_user(
                username=username,
                first_name=first,
                last_name=last,
                roles=[role],
                password=PASSWORD,
                email=f"{username}@example.com",
                actor=actor,
                now=now,
            )
    return present


def logins() -> list[dict[str, str]]:
    """What to print: the three whom a visitor needs first, then the release board."""
    return [{"role": Role(role).label, "username": name, "password": PASSWORD} for name, _, _, role in PEOPLE]
