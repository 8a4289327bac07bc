"""Deliveries as DDI actions: what a poll finds, what a client may fetch, and what becomes of its feedback."""

import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.db import transaction

from fleet.models import Artifact, Device, Release
from rollouts.ddi.chunks import Chunk, File, cut
from rollouts.ddi.feedback import Feedback, Meaning
from rollouts.models import Controller, Delivery, DeliveryStep
from rollouts.selectors.desired import files
from rollouts.services import offering, reporting

log = structlog.get_logger(__name__)

Status = Delivery.Status
# The client has not closed the action: it must go on finding it, also after a restart in between.
RUNNING = (Status.OFFERED, Status.DOWNLOADING, Status.INSTALLING)
INSTALLED = (Status.INSTALLED, Status.BOOTED, Status.CONFIRMED)
MAX_HISTORY = 100


class Gone(Exception):
    """The action is closed."""


class TooMuch(Exception):
    """A quota is used up."""


@dataclass(frozen=True)
class Poll:
    """What a poll finds: the links of the answer by name, relative to the controller's base."""

    links: dict[str, str]


_TOUCH = """
WITH touched AS (
    INSERT INTO rollouts_controller AS known (
        device_id, last_poll_at, address, attributes, attributes_requested,
        needs_confirmation, auto_confirm, auto_confirm_initiator, auto_confirm_remark
    ) VALUES (%(device)s, %(now)s, %(address)s, '{}', true, false, false, '', '')
    ON CONFLICT (device_id) DO UPDATE SET last_poll_at = EXCLUDED.last_poll_at, address = EXCLUDED.address
    RETURNING known.*
)
SELECT touched.*,
    EXISTS (SELECT FROM rollouts_delivery WHERE device_id = %(device)s AND status = ANY(%(open)s)) AS has_work,
    (SELECT max(id) FROM rollouts_delivery WHERE device_id = %(device)s AND status = ANY(%(installed)s)) AS installed
FROM touched
"""


def touch(device: Device, now: datetime, address: str | None) -> Controller:
    """Note the poll and read all that a poll without work needs, in one statement: a fleet polls all day.

    The controller comes with `has_work`, whether a delivery is open, and `installed`, the id of the newest action that
    the client closed with success, or None.
    """
    values = {
        "device": device.pk,
        "now": now,
        "address": address,
        "open": [str(status) for status in Delivery.OPEN],
        "installed": [str(status) for status in INSTALLED],
    }
    (controller,) = Controller.objects.raw(_TOUCH, values)
    return controller


def poll(device: Device, now: datetime, address: str | None = None) -> Poll:
    """What the client should do next: let go, or carry out, or have confirmed; never two of them."""
    controller = touch(device, now, address)
    deliveries = list(offering.open_deliveries(device)) if controller.has_work else []
    links: dict[str, str] = {}
    cancel = next((row for row in deliveries if _awaits_cancel(row)), None)
    if cancel is not None:
        links["cancelAction"] = f"cancelAction/{cancel.pk}"
    elif (current := _current(deliveries, now)) is not None:
        name = "confirmationBase" if _awaits_person(controller, current) else "deploymentBase"
        links[name] = f"{name}/{current.pk}?c={state_code(current)}"
    if controller.installed is not None:
        links["installedBase"] = f"installedBase/{controller.installed}"
    if controller.attributes_requested:
        links["configData"] = "configData"
    return Poll(links)


def _awaits_cancel(row: Delivery) -> bool:
    return row.cancel_requested_at is not None and not row.cancel_refused


def _current(deliveries: list[Delivery], now: datetime) -> Delivery | None:
    """The action to carry out. One that the client refused to let go of comes first until it is done."""
    busy = next((row for row in deliveries if row.cancel_refused and row.status in RUNNING), None)
    if busy is not None:
        return busy
    chosen = offering.choose(deliveries, now)
    if chosen is None or chosen.status not in RUNNING:
        return None
    if not chunks_of(chosen):
        profile = chosen.device.delivery_profile
        reporting.note(
            chosen, Status.FAILED, now=now, detail=f"no file of {chosen.release} suits the delivery profile {profile}"
        )
        return None
    return chosen


def _awaits_person(controller: Controller, delivery: Delivery) -> bool:
    return (
        controller.needs_confirmation
        and not controller.auto_confirm
        and controller.confirmed_action != delivery.pk
        and delivery.status == Status.OFFERED
    )


def state_code(delivery: Delivery) -> int:
    """The `c` of a link: changes when the action's own state does, so that a caching client sees a new address."""
    code = zlib.crc32(f"{delivery.pk}:{delivery.kind}:{delivery.attempt}".encode())
    return code - 2**32 if code >= 2**31 else code


def find(device: Device, action_id: int) -> Delivery | None:
    """The device's own action."""
    rows = Delivery.objects.filter(device=device, pk=action_id)
    return rows.select_related("release__workload", "device", "lane").first()


def deployment(device: Device, action_id: int, now: datetime) -> Delivery | None:
    """The action as `deploymentBase` gives it; None where it is not running, not offered, or being called off.

    Clients fetch it several times; the first time is noted.
    """
    delivery = find(device, action_id)
    if delivery is None or delivery.status not in RUNNING or _awaits_cancel(delivery):
        return None
    controller = Controller.objects.filter(device=device).first()
    if controller is not None and _awaits_person(controller, delivery):
        return None
    if not DeliveryStep.objects.filter(delivery=delivery, status="retrieved").exists():
        DeliveryStep.objects.create(delivery=delivery, at=now, status="retrieved")
        Delivery.objects.filter(pk=delivery.pk).update(progress_at=now)
    return delivery


def chunks_of(delivery: Delivery) -> list[Chunk]:
    """The release as the device's profile takes it."""
    release, device = delivery.release, delivery.device
    found = [as_file(artifact) for artifact in files(release, device)]
    return cut(device.delivery_profile, release.workload.slug, release.version, found)


def as_file(artifact: Artifact) -> File:
    """An artifact as clients see it."""
    return File(artifact.filename, artifact.part, artifact.size, artifact.sha256, artifact.sha1, artifact.md5)


def messages(delivery: Delivery, count: int) -> list[str]:
    """What was said about the action, newest first; 0 none, below 0 as many as are given out."""
    limit = MAX_HISTORY if count < 0 else min(count, MAX_HISTORY)
    rows = DeliveryStep.objects.filter(delivery=delivery).order_by("-id")[:limit]
    return [f"{row.status}: {row.detail}" if row.detail else row.status for row in rows]


def take_feedback(device: Device, action_id: int, feedback: Feedback, now: datetime) -> bool:
    """Note feedback on an action; False where the device has no such action.

    Raises Gone for one that is closed. closed/success means installed, which is the client's word: the delivery is
    confirmed by telemetry alone.
    """
    delivery = find(device, action_id)
    if delivery is None:
        return False
    if delivery.status not in RUNNING:
        raise Gone
    meaning = feedback.meaning
    if DeliveryStep.objects.filter(delivery=delivery).count() >= reporting.MAX_STEPS and meaning is Meaning.PROGRESS:
        raise TooMuch
    note = {"now": now, "progress": feedback.progress, "detail": feedback.details, "said": feedback.execution[:12]}
    if meaning is Meaning.WARNING:
        _step(delivery, feedback, now)
    elif meaning is Meaning.CANCELLED:
        _step(delivery, feedback, now)
        _end(delivery, Status.CANCELLED, feedback.details or "the client cancelled it", now)
    elif meaning is Meaning.SUCCESS and delivery.cancel_requested_at is not None:
        _step(delivery, feedback, now)
        _end(delivery, Status.SUPERSEDED, "installed although it was called off", now)
    else:
        reporting.note(delivery, _STATUS_OF[meaning], **note)
    if meaning is Meaning.SUCCESS:
        # The client may look different now: ask it once more what it is.
        Controller.objects.filter(device=device).update(attributes_requested=True)
    return True


_STATUS_OF = {
    Meaning.PROGRESS: Status.INSTALLING,
    Meaning.DOWNLOAD: Status.DOWNLOADING,
    Meaning.SUCCESS: Status.INSTALLED,
    Meaning.FAILURE: Status.FAILED,
}


def _step(delivery: Delivery, feedback: Feedback, now: datetime) -> None:
    DeliveryStep.objects.create(
        delivery=delivery,
        at=now,
        status=feedback.execution[:12],
        progress=feedback.progress,
        detail=feedback.details[: reporting.MAX_DETAIL],
    )


def _end(delivery: Delivery, status: str, detail: str, now: datetime) -> None:
    Delivery.objects.filter(pk=delivery.pk, status__in=Delivery.OPEN).update(
        status=status, detail=detail[: reporting.MAX_DETAIL], finished_at=now
    )


def cancelling(device: Device, action_id: int) -> Delivery | None:
    """The action, where the server waits for the client to let go of it."""
    delivery = find(device, action_id)
    waits = delivery is not None and delivery.is_open and _awaits_cancel(delivery)
    return delivery if waits else None


@transaction.atomic
def take_cancel_feedback(device: Device, action_id: int, feedback: Feedback, now: datetime) -> str:
    """Note what the client says to being called off: "done", "unknown", "closed" or "not_cancelling"."""
    delivery = find(device, action_id)
    if delivery is None:
        return "unknown"
    if not delivery.is_open:
        return "closed"
    if delivery.cancel_requested_at is None:
        return "not_cancelling"
    _step(delivery, feedback, now)
    meaning = feedback.meaning
    if meaning is Meaning.SUCCESS:
        _end(delivery, Status.CANCELLED, feedback.details or "called off", now)
    elif meaning in (Meaning.FAILURE, Meaning.WARNING):
        # It has gone too far: let it finish, then offer what is wanted now.
        Delivery.objects.filter(pk=delivery.pk).update(cancel_refused=True)
    return "done"


def confirm(device: Device, action_id: int, now: datetime, *, confirmed: bool, details: str) -> bool:
    """A person at the device confirmed or denied an action; a denied one is asked for again. False: not awaited."""
    controller = Controller.objects.filter(device=device).first()
    delivery = find(device, action_id)
    if delivery is not None and not delivery.is_open:
        raise Gone
    if controller is None or delivery is None or not _awaits_person(controller, delivery):
        return False
    DeliveryStep.objects.create(
        delivery=delivery, at=now, status="confirmed" if confirmed else "denied", detail=details
    )
    if confirmed:
        Controller.objects.filter(device=device).update(confirmed_action=action_id)
    return True


def set_auto_confirm(
    controller: Controller, active: bool, now: datetime, *, initiator: str = "", remark: str = ""
) -> bool:
    """Switch self-confirmation on or off; False where it is on already. Off means: a person confirms from now on."""
    if active and controller.auto_confirm:
        return False
    controller.auto_confirm = active
    controller.needs_confirmation = controller.needs_confirmation or not active
    controller.auto_confirm_initiator = initiator[:64] if active else ""
    controller.auto_confirm_remark = remark[:512] if active else ""
    controller.auto_confirm_at = now if active else None
    controller.save()
    return True


MAX_ATTRIBUTES = 100


def write_attributes(device: Device, mode: str, data: dict[str, str]) -> None:
    """Merge, replace or remove attributes, and stop asking for them. Raises TooMuch above a hundred."""
    controller = Controller.objects.get_or_create(device=device)[0]
    known: dict[str, Any] = controller.attributes
    if mode == "replace":
        known = data
    elif mode == "remove":
        known = {key: value for key, value in known.items() if key not in data}
    else:
        known = {**known, **data}
    if len(known) > MAX_ATTRIBUTES:
        raise TooMuch
    Controller.objects.filter(pk=controller.pk).update(attributes=known, attributes_requested=False)


def artifacts_open_to(device: Device, release_id: int) -> list[Artifact]:
    """The files of a release that the device may fetch: it has an action for the release that was not called off."""
    wanted = Delivery.objects.filter(device=device, release=release_id, status__in=[*RUNNING, *INSTALLED])
    if not wanted.filter(cancel_requested_at=None).exists() and not wanted.filter(cancel_refused=True).exists():
        return []
    return files(Release.objects.get(pk=release_id), device)


def note_download(device: Device, release_id: int, filename: str, now: datetime) -> None:
    """A download was begun: progress, without a word of the client's."""
    row = Delivery.objects.filter(device=device, release=release_id, status__in=RUNNING).first()
    if row is not None:
        reporting.note(row, Status.DOWNLOADING, now=now, detail=f"fetches {filename}", said="download")


def set_installed(device: Device, name: str, version: str) -> str:
    """The client says which release it runs: "unknown", "known" (said before) or "new"."""
    if not Release.objects.filter(workload__slug=name, version=version).exists():
        return "unknown"
    controller = Controller.objects.get_or_create(device=device)[0]
    said = f"{name} {version}"
    if controller.attributes.get("installedBase") == said:
        return "known"
    controller.attributes["installedBase"] = said
    controller.save(update_fields=["attributes"])
    return "new"
