"""What the enrolment page does: let devices in, hand out keys and tokens, take them back; each with its audit row.

A secret is rendered by the answer to the POST itself, which no cache keeps: it is stored nowhere and cannot be shown
again.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from fleet import page
from fleet.actors import Actor
from fleet.exceptions import DomainError, InvalidInput, NotAllowed, NotFound
from fleet.models import Device, DeviceGroup, EnrollmentKey, HardwareTarget, Region, SigningKey, Token
from fleet.qr import qr_code
from fleet.scopes import scopes_of_user
from fleet.services import devices, enrollment, labels, signing_keys, tokens

LONGEST_NAME = 64
MOST_AT_ONCE = 500
PAST_TENSE = {**devices.PAST_TENSE, "retire": "rejected"}

Act = Callable[[HttpRequest, Actor, datetime], "Done | Secret"]


class Done(str):
    """What was done, in a sentence."""


class Secret(dict):
    """A secret to show once, with what the page says about it."""


def action(part: str, scope: str) -> Callable[[Act], Callable[..., HttpResponse]]:
    """A POST on a part of the enrolment page, for people with the scope; a refusal is said there and changes nothing.

    Whoever opens the address as a page is sent to the part.
    """

    def decorate(act: Act) -> Callable[..., HttpResponse]:
        @login_required
        @sensitive_post_parameters()
        @never_cache
        @wraps(act)
        def view(request: HttpRequest) -> HttpResponse:
            listing = f"{reverse('fleet:enrollment')}?part={part}"
            if request.method != "POST":
                return redirect(listing)
            if scope not in scopes_of_user(request.user):
                raise PermissionDenied(f"This needs the right {scope}.")
            back = page.safe_address(request, request.POST.get("back", ""), listing)
            try:
                outcome = act(request, Actor.of_user(request.user), timezone.now())
            except DomainError as refusal:
                messages.error(request, f"Nothing was changed: {refusal}")
                return redirect(back)
            if isinstance(outcome, Secret):
                code = qr_code(outcome["text"])
                context = {**outcome, "code": code, "back": back, "server": request.build_absolute_uri("/").rstrip("/")}
                return render(request, "fleet/enrollment/secret.html", context)
            messages.success(request, outcome)
            return redirect(back)

        return view

    return decorate


@action("devices", "fleet:write")
def move_devices(request: HttpRequest, actor: Actor, now: datetime) -> Done:
    """Accept, reject or resume the ticked devices; rejecting asks for a reason."""
    wanted, reason = request.POST.get("action", ""), request.POST.get("reason", "").strip()
    if wanted not in ("accept", "retire", "resume"):
        raise InvalidInput({"action": f"There is no action “{wanted}”."})
    if wanted == "retire":
        _assert_reason(reason, "the devices are rejected")
    chosen = list(Device.objects.filter(serial__in=request.POST.getlist("serial")).order_by("serial")[:MOST_AT_ONCE])
    if not chosen:
        raise InvalidInput({"serial": "No device was ticked."})
    moved, stayed = devices.move_all(chosen, wanted, actor=actor, now=now, reason=reason)
    who = moved[0].serial if len(moved) == 1 else f"{len(moved)} devices"
    rest = f"; {len(stayed)} had been decided on meanwhile" if stayed else ""
    return Done(f"{who} {'was' if len(moved) == 1 else 'were'} {PAST_TENSE[wanted]}{rest}.")


@action("keys", "admin")
def create_key(request: HttpRequest, actor: Actor, now: datetime) -> Secret:
    """Make an enrolment key; its text is shown this once."""
    form = request.POST
    groups = [slug.strip() for slug in form.get("groups", "").split(",") if slug.strip()]
    key, raw = enrollment.create_key(
        name=_name(form.get("name", "")),
        actor=actor,
        now=now,
        hardware_target=_label(HardwareTarget, form.get("hardware_target", ""), "hardware_target"),
        region=_label(Region, form.get("region", ""), "region"),
        groups=[labels.ensure_label(DeviceGroup, slug, actor=actor, now=now) for slug in groups],
        max_uses=_count(form.get("max_uses", ""), "max_uses"),
        requires_approval=bool(form.get("requires_approval")),
        may_register_labels=bool(form.get("may_register_labels")),
        allows_reenrollment=bool(form.get("allows_reenrollment")),
        expires_at=_expiry(form.get("days", ""), now),
        created_by=request.user,
    )
    return Secret(kind="enrolment key", name=key.name, text=raw, credential=key)


@action("keys", "admin")
def revoke_key(request: HttpRequest, actor: Actor, now: datetime) -> Done:
    """Revoke an enrolment key; devices that enrolled with it keep their tokens."""
    reason = _assert_reason(request.POST.get("reason", ""), "the key is revoked")
    key = _row(EnrollmentKey, request, "enrolment key")
    enrollment.revoke_key(key, actor=actor, now=now, reason=reason)
    return Done(f"The key {key.name} is revoked; devices that enrolled with it keep their tokens.")


@action("tokens", "fleet:write")
def issue_token(request: HttpRequest, actor: Actor, now: datetime) -> Secret:
    """Issue a further token to a device, or rotate with revocation of those before."""
    serial, kind = request.POST.get("serial", "").strip(), request.POST.get("kind", Token.Kind.DEVICE)
    device = Device.objects.filter(serial=serial).first()
    if device is None:
        raise InvalidInput({"serial": f"There is no device “{serial}”."})
    if kind not in (Token.Kind.DEVICE, Token.Kind.GATEWAY):
        raise InvalidInput({"kind": f"There is no kind “{kind}”."})
    if device.status == Device.Status.RETIRED:
        raise InvalidInput({"serial": f"{serial} is retired; it comes back only by enrolling again."})
    revoke_others = bool(request.POST.get("revoke_others"))
    raw = tokens.rotate_device_token(device, actor=actor, now=now, kind=kind, revoke_others=revoke_others)
    return Secret(kind=f"{kind} token", name=device.serial, text=raw, device=device, revoked_others=revoke_others)


@action("tokens", "fleet:write")
def revoke_token(request: HttpRequest, actor: Actor, now: datetime) -> Done:
    """Revoke a token of a device or gateway, effective with its next request."""
    reason = _assert_reason(request.POST.get("reason", ""), "the token is revoked")
    token = _row(Token, request, "token", device__isnull=False)
    tokens.revoke_token(token, actor=actor, now=now, reason=reason)
    return Done(f"The token {token.key_id} of {token.device.serial} is revoked, from its next request on.")


@action("people", "account")
def create_api_token(request: HttpRequest, actor: Actor, now: datetime) -> Secret:
    """Make an API token for oneself with some of one's own scopes."""
    form, held = request.POST, scopes_of_user(request.user)
    wanted = form.getlist("scopes")
    if not wanted:
        raise InvalidInput({"scopes": "Tick at least one scope."})
    beyond = [scope for scope in wanted if scope not in held]
    if beyond:
        raise InvalidInput({"scopes": f"You do not hold {', '.join(beyond)} yourself."})
    token, raw = tokens.create_api_token(
        request.user,
        _name(form.get("name", "")),
        wanted,
        actor=actor,
        now=now,
        expires_at=_expiry(form.get("days", ""), now),
    )
    return Secret(kind="API token", name=token.name, text=raw, credential=token)


@action("people", "account")
def revoke_api_token(request: HttpRequest, actor: Actor, now: datetime) -> Done:
    """Revoke one's own API token, or, as an administrator, anyone's."""
    reason = _assert_reason(request.POST.get("reason", ""), "the token is revoked")
    token = _row(Token, request, "token", kind=Token.Kind.API)
    if token.user_id != request.user.pk and "admin" not in scopes_of_user(request.user):
        raise NotAllowed("Only administrators revoke the tokens of others.")
    tokens.revoke_token(token, actor=actor, now=now, reason=reason)
    return Done(f"The token {token.name or token.key_id} of {token.user.username} is revoked.")


@action("signing", "admin")
def register_signing_key(request: HttpRequest, actor: Actor, now: datetime) -> Done:
    """Register a public key whose signatures on artifacts count from now on."""
    key = signing_keys.register_signing_key(
        name=_name(request.POST.get("name", "")), public_key=request.POST.get("public_key", ""), actor=actor, now=now
    )
    return Done(f"Signatures by {key.name} count from now on.")


@action("signing", "admin")
def revoke_signing_key(request: HttpRequest, actor: Actor, now: datetime) -> Done:
    """Accept no further signature of a key."""
    reason = _assert_reason(request.POST.get("reason", ""), "the key is revoked")
    key = _row(SigningKey, request, "signing key")
    signing_keys.revoke_signing_key(key, actor=actor, now=now, reason=reason)
    return Done(f"Signatures by {key.name} no longer count.")


def _assert_reason(text: str, what: str) -> str:
    if not text.strip():
        raise InvalidInput({"reason": f"Say why {what}."})
    return text.strip()


def _name(text: str) -> str:
    text = text.strip()
    if not 0 < len(text) <= LONGEST_NAME:
        raise InvalidInput({"name": f"Give a name of 1 to {LONGEST_NAME} characters."})
    return text


def _label(kind: type[HardwareTarget | Region], slug: str, field: str) -> HardwareTarget | Region | None:
    if not slug:
        return None
    found = kind.objects.filter(slug=slug).first()
    if found is None:
        raise InvalidInput({field: f"There is no {kind._meta.verbose_name} “{slug}”."})
    return found


def _count(text: str, field: str) -> int | None:
    if not text.strip():
        return None
    if not text.strip().isascii() or not text.strip().isdigit() or not 0 < int(text) < 2**31:
        raise InvalidInput({field: "Give a whole number of at least 1, or leave it empty for no limit."})
    return int(text)


def _expiry(days: str, now: datetime) -> datetime | None:
    if not days:
        return None
    return now + timedelta(days=min(_count(days, "days"), 3650))


def _row(table: type, request: HttpRequest, noun: str, **conditions: object) -> EnrollmentKey | Token | SigningKey:
    number = request.POST.get("id", "")
    number = int(number) if number.isascii() and number.isdigit() and len(number) < 19 else 0
    found = table.objects.filter(pk=number, **conditions).first()
    if found is None:
        raise NotFound(f"There is no such {noun}.")
    return found
