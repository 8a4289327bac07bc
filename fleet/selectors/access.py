"""Who may send and who may act: keys, tokens and devices at the door, as the enrolment page lists them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, F, Q, QuerySet

from fleet import scopes
from fleet.models import Device, EnrollmentKey, SigningKey, Token, User
from fleet.models.people import Role

# A token that nobody has used for so long is probably not needed.
UNUSED = timedelta(days=30)
SOON = timedelta(days=7)

# The states of tokens and keys that a list can be narrowed to.
STATES = (("live", "Live"), ("unused", "Unused for 30 days"), ("expiring", "Expires within 7 days"),
          ("expired", "Expired"), ("revoked", "Revoked"))  # fmt: skip


@dataclass(frozen=True)
class Doors:
    """How many stand at which door."""

    accepted: int
    pending: int
    suspended: int
    retired: int
    live_keys: int
    expiring_keys: int
    device_tokens: int
    gateway_tokens: int
    api_tokens: int
    unused_api_tokens: int
    signing_keys: int


def doors(now: datetime) -> Doors:
    """The counts of the page's head, in four queries."""
    by_status = dict(Device.objects.order_by().values_list("status").annotate(n=Count("pk")))
    live = live_at(now)
    keys = EnrollmentKey.objects.filter(live, usable()).aggregate(
        live=Count("pk"), expiring=Count("pk", filter=Q(expires_at__lte=now + SOON))
    )
    kinds = Token.objects.filter(live).aggregate(
        device=Count("pk", filter=Q(kind=Token.Kind.DEVICE)),
        gateway=Count("pk", filter=Q(kind=Token.Kind.GATEWAY)),
        api=Count("pk", filter=Q(kind=Token.Kind.API)),
        unused=Count("pk", filter=Q(kind=Token.Kind.API) & unused_at(now)),
    )
    return Doors(
        accepted=by_status.get(Device.Status.ACCEPTED, 0),
        pending=by_status.get(Device.Status.PENDING, 0),
        suspended=by_status.get(Device.Status.SUSPENDED, 0),
        retired=by_status.get(Device.Status.RETIRED, 0),
        live_keys=keys["live"],
        expiring_keys=keys["expiring"],
        device_tokens=kinds["device"],
        gateway_tokens=kinds["gateway"],
        api_tokens=kinds["api"],
        unused_api_tokens=kinds["unused"],
        signing_keys=SigningKey.objects.filter(revoked_at=None).count(),
    )


def live_at(now: datetime) -> Q:
    """Neither revoked nor expired: of tokens and of enrolment keys."""
    return Q(revoked_at__isnull=True) & (Q(expires_at__isnull=True) | Q(expires_at__gt=now))


def usable() -> Q:
    """Enrolment keys with uses left."""
    return Q(max_uses__isnull=True) | Q(uses__lt=F("max_uses"))


def unused_at(now: datetime) -> Q:
    """Tokens that nobody used for a while, or never since they were made."""
    before = now - UNUSED
    return Q(created_at__lt=before) & (Q(last_used_at__isnull=True) | Q(last_used_at__lt=before))


def in_state(state: str, now: datetime) -> Q:
    """The condition of one of STATES; everything for any other word."""
    return {
        "live": live_at(now),
        "unused": live_at(now) & unused_at(now),
        "expiring": live_at(now) & Q(expires_at__lte=now + SOON),
        "expired": Q(revoked_at__isnull=True, expires_at__lte=now),
        "revoked": Q(revoked_at__isnull=False),
    }.get(state, Q())


def state_of(credential: Token | EnrollmentKey | SigningKey, now: datetime) -> str:
    """live, used up, expiring, expired or revoked."""
    if credential.revoked_at is not None:
        return "revoked"
    expires_at = getattr(credential, "expires_at", None)
    if expires_at is not None and expires_at <= now:
        return "expired"
    if getattr(credential, "max_uses", None) is not None and credential.uses >= credential.max_uses:
        return "used up"
    return "expiring" if expires_at is not None and expires_at <= now + SOON else "live"


def at_the_door(status: str) -> QuerySet[Device]:
    """Devices in a state, the one that waits longest first."""
    found = Device.objects.filter(status=status).select_related("hardware_target", "region", "gateway")
    return found.prefetch_related("groups").order_by("enrolled_at", "serial")


def device_tokens(*, now: datetime, q: str = "", state: str = "", kind: str = "") -> QuerySet[Token]:
    """Tokens of devices and gateways, newest first, by part of a serial, state and kind."""
    found = Token.objects.exclude(kind=Token.Kind.API).select_related("device__hardware_target")
    if q:
        found = found.filter(device__serial__icontains=q)
    if kind in (Token.Kind.DEVICE, Token.Kind.GATEWAY):
        found = found.filter(kind=kind)
    return found.filter(in_state(state, now)).order_by("-created_at", "-pk")


def api_tokens(person: User, *, now: datetime, everyone: bool, q: str = "", state: str = "") -> QuerySet[Token]:
    """API tokens of a person, or of everyone, newest first."""
    found = Token.objects.filter(kind=Token.Kind.API).select_related("user")
    if not everyone:
        found = found.filter(user=person)
    if q:
        found = found.filter(Q(user__username__icontains=q) | Q(name__icontains=q))
    return found.filter(in_state(state, now)).order_by("-created_at", "-pk")


@dataclass(frozen=True)
class RoleRights:
    """A role with what it adds to what everyone may do, and who holds it."""

    role: str
    title: str
    scopes: frozenset[str]
    people: list[str]


def role_rights() -> list[RoleRights]:
    """Everyone who can log in, then each role with its people."""
    people = list(User.objects.filter(is_active=True).order_by("username").values_list("username", "roles"))
    everyone = scopes.READ_SCOPES | {"account"}
    rows = [RoleRights("", "Everyone", everyone, [])]
    for role in Role:
        rows.append(
            RoleRights(
                role.value,
                role.label,
                everyone | scopes.ROLE_SCOPES[role],
                [username for username, held in people if role.value in held],
            )
        )
    return rows
