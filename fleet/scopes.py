"""What each role may do, as scopes; a personal API token narrows its person's scopes and never widens them."""

from collections.abc import Iterable

from fleet.models.people import BOARD_ROLES, Role, User

ALL = "*"

READ_SCOPES = frozenset({"fleet:read", "releases:read", "telemetry:read", "drift:read", "rollouts:read", "audit:read"})
# `account` manages one's own tokens; `board:sign` approves waivers and signs rollouts, where the view then asks which
# board role the person holds; `admin` manages people, enrolment keys, signing keys and the tokens of others.
SCOPES = READ_SCOPES | {
    "fleet:write",
    "releases:write",
    "telemetry:write",
    "drift:write",
    "rollouts:write",
    "board:sign",
    "account",
    "admin",
}

# Each scope in words, in the order in which pages list them.
SCOPE_WORDS = {
    "fleet:read": "see devices, groups and enrolment keys",
    "releases:read": "see releases, artifacts and budgets",
    "telemetry:read": "see what devices measured",
    "drift:read": "see alarms and drift",
    "rollouts:read": "see rollouts and their evidence",
    "audit:read": "see the audit trail",
    "drift:write": "acknowledge alarms, label samples, stop a rollout",
    "board:sign": "sign rollouts and waivers, in the roles held",
    "fleet:write": "accept, suspend, retire and group devices, issue their tokens",
    "releases:write": "register, publish and withdraw releases, write budgets",
    "telemetry:write": "set what devices send",
    "rollouts:write": "draft, start, promote and roll back",
    "account": "have API tokens and saved views",
    "admin": "people, enrolment keys, signing keys, everyone's tokens",
}

_EVERYONE = READ_SCOPES | {"account"}
_MANAGER = SCOPES - {"admin"}
_BOARD = frozenset({"drift:write", "board:sign"})

ROLE_SCOPES: dict[str, frozenset[str]] = {
    # A field engineer acknowledges alarms and labels samples, and reads everything.
    Role.ENGINEER: frozenset({"drift:write"}),
    Role.RELEASE_MANAGER: frozenset(_MANAGER),
    Role.ADMINISTRATOR: frozenset(SCOPES),
    **dict.fromkeys(BOARD_ROLES, _BOARD),
}


def scopes_of_user(user: User) -> frozenset[str]:
    """Everything that the person may do, from the roles held now."""
    if user.is_administrator:
        return frozenset(SCOPES)
    return frozenset(_EVERYONE).union(*(ROLE_SCOPES.get(role, frozenset()) for role in user.roles))


def narrow(scopes: frozenset[str], to: Iterable[str]) -> frozenset[str]:
    """The scopes that remain when a token lists only some; `*` keeps all."""
    listed = frozenset(to)
    return scopes if ALL in listed else scopes & listed
