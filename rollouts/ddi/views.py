"""DDI over HTTP: plain views, because clients are strict about status codes, headers and the absence of redirects."""

import json
import math
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from hashlib import sha1
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from fleet.downloads import send_file
from fleet.exceptions import BadCredentials, NotAllowed
from fleet.models import Artifact, Device
from fleet.services.artifacts import location
from rollouts.ddi import actions, authentication, documents, feedback
from rollouts.models import Controller, Delivery
from telemetry.allowances import take

MAX_BODY = 1 << 20
# What one device may ask: clients poll every few minutes, and say much in a short time while they install.
REQUESTS_PER_S = 5.0
REQUESTS_AT_ONCE = 300.0
_ACCEPTED = ("application/json", "application/hal+json", "application/*", "*/*")

View = Callable[..., HttpResponseBase]


def answer(document: dict[str, Any] | list[Any], status: int = 200) -> HttpResponse:
    """A JSON document."""
    return JsonResponse(document, status=status, safe=False)


def nothing(status: int = 200) -> HttpResponse:
    """An empty answer."""
    return HttpResponse(status=status)


def problem(status: int, code: str, message: str) -> HttpResponse:
    """A refusal in the protocol's own shape."""
    name = {400: "InvalidRequest", 404: "EntityNotFound", 409: "Conflict", 429: "QuotaExceeded"}.get(status, "Refused")
    return answer({"exceptionClass": name, "errorCode": code, "message": message}, status)


def _acceptable(request: HttpRequest) -> bool:
    header = request.headers.get("Accept", "")
    offered = [part.split(";")[0].strip().lower() for part in header.split(",") if part.strip()]
    return not offered or any(kind in _ACCEPTED for kind in offered)


def ddi(*methods: str, downloads: bool = False, polls: bool = False) -> Callable[[View], View]:
    """A DDI endpoint: checks verb, Accept and credentials, then calls `view(request, device, now, **path)`."""

    def decorate(view: View) -> View:
        @csrf_exempt
        @wraps(view)
        def wrapped(request: HttpRequest, tenant: str, controller_id: str, **path: Any) -> HttpResponseBase:
            if request.method not in methods:
                return HttpResponse(status=405, headers={"Allow": ", ".join(methods)})
            if len(controller_id) > authentication.MAX_CONTROLLER_ID:
                return problem(400, "ddi.error.controllerId", "The controller id is too long.")
            if not downloads and not _acceptable(request):
                return nothing(406)
            now = timezone.now()
            try:
                device = authentication.controller(request, controller_id, now, polls=polls)
            except BadCredentials:
                return nothing(401)
            except NotAllowed as error:
                return problem(403, "ddi.error.notAllowed", str(error))
            wait = take(f"ddi:{device.pk}", rate=REQUESTS_PER_S, size=REQUESTS_AT_ONCE)
            if wait > 0.0:
                response = problem(429, "ddi.error.tooManyRequests", "Too many requests of this device.")
                response["Retry-After"] = str(math.ceil(wait))
                return response
            numbers = {name: int(path[name]) for name in ("action_id", "module") if name in path}
            if any(number >= 2**31 for number in numbers.values()):
                return problem(404, "ddi.error.action", "No such action.")
            request.ddi_base = request.build_absolute_uri(f"/{tenant}/controller/v1/{quote(controller_id)}")
            response = view(request, device, now, **{**path, **numbers})
            return response if downloads else _unless_known(request, response)

        return wrapped

    return decorate


def _unless_known(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """The document with the ETag of its bytes, or 304 where the client has just these."""
    if request.method not in ("GET", "HEAD") or response.status_code != 200 or not isinstance(response, HttpResponse):
        return response
    etag = f'"{sha1(response.content, usedforsecurity=False).hexdigest()}"'
    if request.headers.get("If-None-Match") == etag:
        response = nothing(304)
    response["ETag"] = etag
    return response


def body_of(request: HttpRequest) -> Any:
    """The JSON body; BadFeedback where it is none. An empty body is an empty object."""
    raw = request.body
    if len(raw) > MAX_BODY:
        raise feedback.BadFeedback("the body is too large")
    try:
        return json.loads(raw or b"{}")
    except ValueError as error:
        raise feedback.BadFeedback("the body is no JSON") from error


def _wrong_type(request: HttpRequest) -> bool:
    kind = request.content_type.lower()
    return bool(request.body) and not (kind.endswith("json") or kind in ("", "text/plain"))


@ddi("GET", "HEAD", polls=True)
def base(request: HttpRequest, device: Device, now: datetime) -> HttpResponseBase:
    """The poll."""
    found = actions.poll(device, now, request.META.get("REMOTE_ADDR"))
    document = documents.controller_base(request.ddi_base, settings.DDI_POLL_SLEEP, found.links)
    return answer(document)


@ddi("PUT")
def config_data(request: HttpRequest, device: Device, now: datetime) -> HttpResponseBase:
    """Attributes of the device."""
    if _wrong_type(request):
        return nothing(415)
    try:
        mode, data = feedback.attributes(body_of(request))
        actions.write_attributes(device, mode, data)
    except feedback.BadFeedback as error:
        return problem(400, "ddi.error.attributes", str(error))
    except actions.TooMuch:
        return problem(429, "ddi.error.quota", f"At most {actions.MAX_ATTRIBUTES} attributes are kept.")
    return nothing()


def _history(request: HttpRequest, delivery: Delivery) -> dict[str, Any] | None:
    try:
        count = int(request.GET.get("actionHistory", 0))
    except ValueError:
        count = 0
    if count == 0:
        return None
    return documents.history(delivery.status.upper(), actions.messages(delivery, count))


def _deployment(
    request: HttpRequest, delivery: Delivery, make: Callable[..., dict[str, Any]] = documents.deployment
) -> HttpResponse:
    history = _history(request, delivery)
    return answer(make(request.ddi_base, delivery.pk, delivery.release_id, actions.chunks_of(delivery), history))


@ddi("GET", "HEAD")
def deployment_base(request: HttpRequest, device: Device, now: datetime, action_id: int) -> HttpResponseBase:
    """The action to carry out."""
    delivery = actions.deployment(device, action_id, now)
    return _deployment(request, delivery) if delivery else problem(404, "ddi.error.action", "No such action.")


@ddi("GET", "HEAD")
def installed_base(request: HttpRequest, device: Device, now: datetime, action_id: int) -> HttpResponseBase:
    """An action that was carried out."""
    delivery = actions.find(device, action_id)
    if delivery is None or delivery.status not in actions.INSTALLED:
        return problem(404, "ddi.error.action", "No such action.")
    return _deployment(request, delivery)


@ddi("PUT")
def set_installed_base(request: HttpRequest, device: Device, now: datetime) -> HttpResponseBase:
    """The client says which release it runs."""
    try:
        document = body_of(request)
    except feedback.BadFeedback as error:
        return problem(400, "ddi.error.body", str(error))
    if not isinstance(document, dict) or not isinstance(document.get("name"), str):
        return problem(400, "ddi.error.body", "name is required")
    outcome = actions.set_installed(device, document["name"], str(document.get("version", "")))
    if outcome == "unknown":
        return problem(404, "ddi.error.distributionSet", "No such release.")
    return nothing(201 if outcome == "new" else 200)


@ddi("POST")
def deployment_feedback(request: HttpRequest, device: Device, now: datetime, action_id: int) -> HttpResponseBase:
    """How the action goes."""
    if _wrong_type(request):
        return nothing(415)
    try:
        said = feedback.read(body_of(request))
        found = actions.take_feedback(device, action_id, said, now)
    except feedback.BadFeedback as error:
        return problem(400, "ddi.error.feedback", str(error))
    except actions.Gone:
        return problem(410, "ddi.error.actionClosed", "The action is closed.")
    except actions.TooMuch:
        return problem(429, "ddi.error.quota", "Too many messages about one action.")
    return nothing() if found else problem(404, "ddi.error.action", "No such action.")


@ddi("GET", "HEAD")
def cancel_action(request: HttpRequest, device: Device, now: datetime, action_id: int) -> HttpResponseBase:
    """The wish that the client lets go of an action."""
    delivery = actions.cancelling(device, action_id)
    if delivery is None:
        return problem(404, "ddi.error.action", "No such action is being cancelled.")
    return answer(documents.cancellation(delivery.pk))


@ddi("POST")
def cancel_feedback(request: HttpRequest, device: Device, now: datetime, action_id: int) -> HttpResponseBase:
    """Whether the client lets go."""
    if _wrong_type(request):
        return nothing(415)
    try:
        said = feedback.read(body_of(request))
    except feedback.BadFeedback as error:
        return problem(400, "ddi.error.feedback", str(error))
    outcome = actions.take_cancel_feedback(device, action_id, said, now)
    if outcome == "unknown":
        return problem(404, "ddi.error.action", "No such action.")
    if outcome == "closed":
        return problem(410, "ddi.error.actionClosed", "The action is closed.")
    return nothing() if outcome == "done" else nothing(405)


@ddi("GET", "HEAD")
def confirmation_base(request: HttpRequest, device: Device, now: datetime) -> HttpResponseBase:
    """Whether the device confirms by itself."""
    controller = Controller.objects.get_or_create(device=device)[0]
    auto: dict[str, Any] = {"active": controller.auto_confirm}
    if controller.auto_confirm and controller.auto_confirm_at:
        auto |= {
            "initiator": controller.auto_confirm_initiator,
            "remark": controller.auto_confirm_remark,
            "activatedAt": int(controller.auto_confirm_at.timestamp() * 1000),
        }
    name = "deactivateAutoConfirm" if controller.auto_confirm else "activateAutoConfirm"
    links = {name: {"href": f"{request.ddi_base}/confirmationBase/{name}"}}
    waiting = actions.poll(device, now, request.META.get("REMOTE_ADDR")).links.get("confirmationBase")
    if waiting:
        links["confirmationBase"] = {"href": f"{request.ddi_base}/{waiting}"}
    return answer({"autoConfirm": auto, "_links": links})


@ddi("GET", "HEAD")
def confirmation(request: HttpRequest, device: Device, now: datetime, action_id: int) -> HttpResponseBase:
    """An action that waits for a person at the device."""
    links = actions.poll(device, now, request.META.get("REMOTE_ADDR")).links
    if not links.get("confirmationBase", "").startswith(f"confirmationBase/{action_id}?"):
        return problem(404, "ddi.error.action", "No such action awaits confirmation.")
    delivery = actions.find(device, action_id)
    assert delivery is not None, "the poll has just named it"
    return _deployment(request, delivery, documents.confirmation)


@ddi("POST")
def confirmation_feedback(request: HttpRequest, device: Device, now: datetime, action_id: int) -> HttpResponseBase:
    """The person's word."""
    try:
        document = body_of(request)
    except feedback.BadFeedback as error:
        return problem(400, "ddi.error.feedback", str(error))
    word = document.get("confirmation") if isinstance(document, dict) else None
    if word not in ("confirmed", "denied"):
        return problem(400, "ddi.error.feedback", "confirmation is confirmed or denied")
    details = document.get("details") or []
    texts = details if isinstance(details, list) else [details]
    try:
        found = actions.confirm(
            device, action_id, now, confirmed=word == "confirmed", details="\n".join(map(str, texts))[:2000]
        )
    except actions.Gone:
        return problem(410, "ddi.error.actionClosed", "The action is closed.")
    return nothing() if found else problem(404, "ddi.error.action", "No such action awaits confirmation.")


@ddi("POST")
def activate_auto_confirm(request: HttpRequest, device: Device, now: datetime) -> HttpResponseBase:
    """The device confirms by itself from now on."""
    try:
        document = body_of(request)
    except feedback.BadFeedback as error:
        return problem(400, "ddi.error.body", str(error))
    given = document if isinstance(document, dict) else {}
    controller = Controller.objects.get_or_create(device=device)[0]
    done = actions.set_auto_confirm(
        controller, True, now, initiator=str(given.get("initiator") or ""), remark=str(given.get("remark") or "")
    )
    return nothing() if done else problem(409, "ddi.error.autoConfirm", "It is active already.")


@ddi("POST")
def deactivate_auto_confirm(request: HttpRequest, device: Device, now: datetime) -> HttpResponseBase:
    """A person at the device confirms from now on."""
    actions.set_auto_confirm(Controller.objects.get_or_create(device=device)[0], False, now)
    return nothing()


@ddi("GET", "HEAD")
def artifacts(request: HttpRequest, device: Device, now: datetime, module: int) -> HttpResponseBase:
    """The files of a module."""
    found = actions.artifacts_open_to(device, module)
    if not found:
        return problem(404, "ddi.error.module", "No such module.")
    return answer([documents.artifact(request.ddi_base, module, actions.as_file(artifact)) for artifact in found])


def _artifact(device: Device, module: int, filename: str) -> Artifact | None:
    return next((row for row in actions.artifacts_open_to(device, module) if row.filename == filename), None)


@ddi("GET", "HEAD", downloads=True)
def download(request: HttpRequest, device: Device, now: datetime, module: int, filename: str) -> HttpResponseBase:
    """A file, whole or in ranges."""
    artifact = _artifact(device, module, filename)
    path = location(artifact) if artifact else None
    if artifact is None or path is None or not path.exists():
        return problem(404, "ddi.error.artifact", "No such file.")
    if request.method == "GET" and "Range" not in request.headers:
        actions.note_download(device, module, filename, now)
    etag = artifact.sha1 or artifact.sha256
    return send_file(request, path, filename=filename, etag=etag, modified=artifact.created_at)


@ddi("GET", "HEAD", downloads=True)
def md5sum(request: HttpRequest, device: Device, now: datetime, module: int, filename: str) -> HttpResponseBase:
    """The MD5 of a file in the form of md5sum(1)."""
    artifact = _artifact(device, module, filename)
    if artifact is None or not artifact.md5:
        return problem(404, "ddi.error.artifact", "No such file.")
    return HttpResponse(
        f"{artifact.md5}  {filename}",
        content_type="text/plain",
        headers={"Content-Disposition": f'attachment;filename="{filename}.MD5SUM"'},
    )
