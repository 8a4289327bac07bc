"""People who log in, and the roles that decide what they may do."""

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models


class Role(models.TextChoices):
    """What a person may do; the last six sit on the release board and sign for their discipline."""

    ENGINEER = "engineer", "Field engineer"
    RELEASE_MANAGER = "release_manager", "Release manager"
    ADMINISTRATOR = "administrator", "Administrator"
    ML = "ml", "Machine learning"
    EMBEDDED = "embedded", "Embedded"
    HARDWARE = "hardware", "Hardware"
    QA = "qa", "Quality assurance"
    SECURITY = "security", "Security"
    OPERATIONS = "operations", "Operations"


BOARD_ROLES = (Role.ML, Role.EMBEDDED, Role.HARDWARE, Role.QA, Role.SECURITY, Role.OPERATIONS)


class User(AbstractUser):
    """A person; everyone who can log in may read, roles add the right to act."""

    roles = ArrayField(models.CharField(max_length=20, choices=Role.choices), default=list, blank=True)

    def has_role(self, *roles: str) -> bool:
        """Whether the person holds any of the roles; an administrator holds all but the board's."""
        if any(role in self.roles for role in roles):
            return True
        return self.is_administrator and not set(roles) <= set(BOARD_ROLES)

    @property
    def role_labels(self) -> list[str]:
        """The roles in words."""
        return [Role(role).label for role in self.roles if role in Role.values]

    @property
    def is_administrator(self) -> bool:
        """Whether the person may administer the system."""
        return self.is_superuser or Role.ADMINISTRATOR in self.roles
