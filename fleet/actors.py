"""Who does something: a person, a device or the system itself, as the audit trail names them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleet.models import Device, User

LABEL_LENGTH = 160


@dataclass(frozen=True, slots=True)
class Actor:
    """The one who acts; `label` outlives the account that `user_id` points at."""

    label: str
    user_id: int | None = None

    @classmethod
    def of_user(cls, user: "User") -> "Actor":
        """A person who acts on a page."""
        return cls(user.username[:LABEL_LENGTH], user.pk)

    @classmethod
    def of_device(cls, device: "Device") -> "Actor":
        """A device that acts for itself."""
        return cls(f"device {device.serial}"[:LABEL_LENGTH])

    @classmethod
    def system(cls, part: str) -> "Actor":
        """The product acting by itself; `part` says which part of it ("evaluation", "retention")."""
        return cls(f"system {part}"[:LABEL_LENGTH])

    @classmethod
    def of_request(cls, request: Any) -> "Actor":
        """Whoever sent an authenticated request; a personal API token is named beside its person."""
        device = getattr(request.user, "device", None)
        if device is not None:
            return cls.of_device(device)
        token = getattr(request, "auth", None)
        if token is None:
            return cls.of_user(request.user)
        return cls(f"{request.user.username} (token {token.name or token.key_id})"[:LABEL_LENGTH], request.user.pk)
