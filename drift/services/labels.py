"""Drawing inferences that are worth labelling, and keeping the labels that people and test rigs give."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction

from drift.models import Label, LabelRequest
from drift.models.labels import Sampling
from fleet.actors import Actor
from fleet.exceptions import InvalidInput, StateConflict
from fleet.models import Device, Release, Workload
from telemetry.selectors import samples


def draw_requests(
    workload: Workload, *, random: int, uncertain: int, seed: int, start: datetime, end: datetime, now: datetime
) -> list[LabelRequest]:
    """Put inferences of [start, end) into the queue: so many at random, so many where the model was unsure.

    Every drawn inference carries the chance with which it was drawn: random ones give the unbiased accuracy, uncertain
    ones are weighted by the inverse of theirs. An inference that is in the queue already is not drawn twice.
    """
    drawn: list[LabelRequest] = []
    for sampling, count in ((Sampling.RANDOM, random), (Sampling.UNCERTAIN, uncertain)):
        if not count:
            continue
        rows = samples.sample_inferences(
            workload_id=workload.pk,
            start=start,
            end=end,
            count=count,
            seed=seed,
            uncertain=sampling == Sampling.UNCERTAIN,
        )
        drawn += [
            LabelRequest(
                workload=workload,
                release_id=row.release_id,
                device_id=row.device_id,
                time=row.time,
                sample_ref=row.sample_ref or "",
                predicted_class=row.predicted_class or "",
                confidence=row.confidence,
                sampling=sampling,
                inclusion_probability=row.inclusion_probability,
                created_at=now,
            )
            for row in rows
        ]
    LabelRequest.objects.bulk_create(drawn, ignore_conflicts=True, batch_size=1000)
    return drawn


@transaction.atomic
def answer_request(request: LabelRequest, *, true_class: str, actor: Actor, now: datetime) -> Label:
    """Label an inference of the queue; 409 when somebody else was faster."""
    if not true_class.strip():
        raise InvalidInput({"true_class": "Name the class that would have been right."})
    if not LabelRequest.objects.filter(pk=request.pk, status=LabelRequest.Status.OPEN).update(
        status=LabelRequest.Status.LABELLED
    ):
        request.refresh_from_db()
        raise StateConflict(request.status)
    label, _ = Label.objects.update_or_create(
        device_id=request.device_id,
        workload_id=request.workload_id,
        time=request.time,
        defaults={
            "request": request,
            "release_id": request.release_id,
            "sample_ref": request.sample_ref,
            "predicted_class": request.predicted_class,
            "true_class": true_class.strip(),
            "confidence": request.confidence,
            "sampling": request.sampling,
            "inclusion_probability": request.inclusion_probability,
            "labelled_by": actor.label,
            "created_at": now,
        },
    )
    return label


def skip_request(request: LabelRequest) -> None:
    """Leave an inference unlabelled, because nobody can tell."""
    if not LabelRequest.objects.filter(pk=request.pk, status=LabelRequest.Status.OPEN).update(
        status=LabelRequest.Status.SKIPPED
    ):
        request.refresh_from_db()
        raise StateConflict(request.status)


def record_labels(rows: Sequence[Mapping[str, Any]], *, actor: Actor, now: datetime) -> list[Label]:
    """Keep labels that come from outside; all of them or, with one entry per bad field, none.

    Each row names workload, device, time and true_class; predicted_class, confidence and release are read from the
    inference itself where it is still kept and the row leaves them out.
    """
    errors: dict[str, str] = {}
    labels: list[Label] = []
    workloads = {workload.slug: workload for workload in Workload.objects.all()}
    devices = {
        device.serial: device
        for device in Device.objects.filter(serial__in={str(row.get("device", "")) for row in rows})
    }
    for index, row in enumerate(rows):
        path = f"[{index}]." if len(rows) > 1 else ""
        workload, device = workloads.get(row["workload"]), devices.get(str(row["device"]))
        if workload is None:
            errors[f"{path}workload"] = f"There is no workload {row['workload']!r}."
        if device is None:
            errors[f"{path}device"] = f"There is no device {row['device']!r}."
        if workload is None or device is None:
            continue
        label = _label(row, workload, device, path, errors)
        if label:
            label.labelled_by, label.created_at = actor.label, now
            labels.append(label)
    if errors:
        raise InvalidInput(errors)
    try:
        with transaction.atomic():
            return Label.objects.bulk_create(labels)
    except IntegrityError:
        raise StateConflict("labelled", detail="One of these inferences has a label already.") from None


def _label(
    row: Mapping[str, Any], workload: Workload, device: Device, path: str, errors: dict[str, str]
) -> Label | None:
    """One label with what the stored inference adds; None, and an error, where something needed is unknown."""
    stored = samples.inference_at(device.pk, row["time"], workload_id=workload.pk)
    predicted = row.get("predicted_class") or (stored and stored.predicted_class)
    release_id = stored.release_id if stored else None
    if row.get("release"):
        release = Release.objects.filter(workload=workload, version=row["release"]).first()
        if release is None:
            errors[f"{path}release"] = f"There is no release {row['release']!r} of {workload.slug}."
            return None
        release_id = release.pk
    missing = [name for name, value in (("predicted_class", predicted), ("release", release_id)) if not value]
    for name in missing:
        errors[f"{path}{name}"] = "Needed, because that inference is not kept here."
    if missing:
        return None
    confidence = row.get("confidence")
    return Label(
        workload=workload,
        release_id=release_id,
        device=device,
        time=row["time"],
        sample_ref=row.get("sample_ref") or (stored.sample_ref if stored else "") or "",
        predicted_class=predicted,
        true_class=row["true_class"],
        confidence=confidence if confidence is not None else (stored.confidence if stored else None),
        sampling=row.get("sampling") or Sampling.OTHER,
        inclusion_probability=row.get("inclusion_probability"),
    )


def default_span(now: datetime) -> tuple[datetime, datetime]:
    """The day that requests are drawn from unless a person says otherwise."""
    return now - timedelta(days=1), now
