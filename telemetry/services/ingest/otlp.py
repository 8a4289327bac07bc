"""Taking OTLP metrics: each resource of a request becomes one batch of windows.

OTLP has no batch numbers. The ledger's key is the boot id "otlp" and a number from the hash of the body and the place
of the resource in it: the same body sent again is a duplicate. Cumulative points count by themselves only once as well:
what is not newer than the last point of its series adds nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec
from django.db import transaction

from fleet.models import Device
from telemetry import protocol
from telemetry.columns import FALLBACKS, OUTCOMES
from telemetry.models import CumulativeSeries
from telemetry.protocol import BadBody, Rejection
from telemetry.protocol.decoded import Section
from telemetry.protocol.inferences import check_inferences
from telemetry.protocol.otlp import Point, Resource, windows_of
from telemetry.protocol.wire import ContextLabels, Envelope
from telemetry.services.ingest.batches import Received, take_batch
from telemetry.services.ingest.requests import device_of, require_allowance

BOOT_ID = "otlp"


@dataclass(slots=True)
class OtlpAnswer:
    """What OTLP tells its client: points rejected, and why (a message may also warn about accepted ones)."""

    rejected: int = 0
    messages: list[str] = field(default_factory=list)


def take_metrics(
    sender: Device, is_gateway: bool, resources: Iterable[Resource], body: bytes, size: int, now: datetime
) -> OtlpAnswer:
    """Store the resources of a request.

    Raises:
        NotAllowed: a resource is of another device.
        BadBody: a resource with measurements names no workload or release.
        TooMany: the device sends too often.
    """
    answer = OtlpAnswer()
    work = []
    for place, resource in enumerate(resources):
        device = device_of(sender, is_gateway, resource.device)
        if resource.points and not (resource.labels.workload and resource.labels.release):
            raise BadBody("missing", "The resource lacks `service.name` or `service.version`.", "resource.attributes")
        work.append((place, device, resource))
    for place, device, resource in work:
        require_allowance(device.pk, bulk=False)
        with transaction.atomic():
            reply = _take(device, resource, body, size, place, now)
        answer.messages += [warning for warning in reply.pop("warnings") if warning not in answer.messages]
        answer.rejected += reply["rejected"]
        errors = reply.get("partial_success", {}).get("errors", [])
        answer.messages += dict.fromkeys(error["message"] for error in errors)
    return answer


def _take(device: Device, resource: Resource, body: bytes, size: int, place: int, now: datetime) -> dict[str, Any]:
    """Store one resource; the answer as devices of our own get it."""
    points, series = _increases(device, resource)
    windows, too_long = windows_of(points)
    rejections = [*resource.rejections, *too_long]
    windows, bad = _with_known_kinds(windows)
    rejections += bad
    number = hashlib.sha256(place.to_bytes(4, "big") + body).digest()
    envelope = Envelope(protocol.SCHEMA, BOOT_ID, int.from_bytes(number[:8], "big") >> 1, context=resource.labels)
    nothing, _ = check_inferences(Section())
    batch = protocol.Batch(envelope, nothing, windows, Section(), Section(), None, rejections, resource.unknown)
    reply = take_batch(device, Received(batch, body, size, now))
    CumulativeSeries.objects.bulk_create(
        series,
        update_conflicts=True,
        unique_fields=["device", "digest"],
        update_fields=["start_us", "end_us", "point"],
    )
    return reply | {"warnings": _without_percentiles(windows)}


def _without_percentiles(windows: list[protocol.CheckedWindow]) -> list[str]:
    """What to tell a client whose buckets give counts and means and no more; everything it sent is stored."""
    wide = [
        name
        for name, part in (("duration", "latency"), ("energy", "energy"), ("confidence", "confidence"))
        if any(getattr(w, part).count > getattr(w, part).histogram.count for w in windows)
    ]
    return [
        f"The buckets of `edge.inference.{name}` are too wide to tell percentiles from: counts and means are stored. "
        "Use an exponential histogram of scale 0 or finer, or bounds that grow by less than a factor of two."
        for name in wide
    ]


def _with_known_kinds(windows: list[protocol.CheckedWindow]) -> tuple[list[protocol.CheckedWindow], list[Rejection]]:
    """Outcomes and fallbacks that the server does not know are said and left out."""
    known, rejections = [], []
    for window in windows:
        for name, allowed in (("outcomes", OUTCOMES), ("fallbacks", FALLBACKS)):
            kinds = getattr(window, name)
            for kind in kinds.keys() - set(allowed):
                message = f"The attribute value {kind!r} is none of {', '.join(allowed)}."
                rejections.append(Rejection("otlp", None, name, "enum", message))
            window = replace(window, **{name: {k: n for k, n in kinds.items() if k in allowed}})
        known.append(window)
    return known, rejections


def _increases(device: Device, resource: Resource) -> tuple[list[Point], list[CumulativeSeries]]:
    """Points as increases, and the series to remember for the next ones."""
    points = [point for point in resource.points if not point.cumulative]
    cumulative = {_digest(resource.labels, point): point for point in resource.points if point.cumulative}
    known = {
        series.digest: series
        for series in CumulativeSeries.objects.select_for_update().filter(device=device, digest__in=cumulative)
    }
    remembered = []
    for digest, point in cumulative.items():
        last = known.get(digest)
        if last is not None and point.end_us <= last.end_us:
            continue
        increase = None if last is None else point.since(_point_of(last))
        if increase is None:
            # a series that begins, or began anew: all of it is increase
            increase = replace(point, cumulative=False)
            if last is not None and point.start_us < last.end_us:
                increase = replace(increase, start_us=last.end_us)
        if increase.count:
            points.append(increase)
        remembered.append(
            CumulativeSeries(
                device=device, digest=digest, start_us=point.start_us, end_us=point.end_us, point=_as_json(point)
            )
        )
    return points, remembered


def _digest(labels: ContextLabels, point: Point) -> str:
    text = msgspec.json.encode([msgspec.to_builtins(labels), point.key])
    return hashlib.sha256(text).hexdigest()[:32]


def _as_json(point: Point) -> dict[str, Any]:
    return asdict(point) | {"bins": [[index, count] for index, count in point.bins.items()]}


def _point_of(series: CumulativeSeries) -> Point:
    stored = dict(series.point)
    return Point(**(stored | {"bins": dict(map(tuple, stored["bins"])), "bounds": tuple(stored["bounds"])}))
