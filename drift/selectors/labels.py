"""Reads of labels: the queue with what is next in it, how far it is, and the classes that people choose from."""

from collections.abc import Mapping

from django.db.models import Count, QuerySet

from drift.models import Label, LabelRequest
from fleet.models import Workload
from telemetry.models import ClassLabel

LOOKUPS = {
    "workload": "workload__slug",
    "release": "release__version",
    "hardware_target": "device__hardware_target__slug",
    "sampling": "sampling",
}
# So many classes get a button and a key of their own.
CLASSES_SHOWN = 9


def queue(params: Mapping[str, str]) -> QuerySet[LabelRequest]:
    """Open requests of a selection: random ones first, since only they give the unbiased rate; then the oldest."""
    given = {field: params[name] for name, field in LOOKUPS.items() if params.get(name)}
    found = LabelRequest.objects.filter(status=LabelRequest.Status.OPEN, **given)
    return found.select_related("workload", "release", "device__hardware_target").order_by("sampling", "time", "pk")


def counts(params: Mapping[str, str]) -> dict[str, int]:
    """How many requests of a selection are open, labelled and skipped."""
    given = {field: params[name] for name, field in LOOKUPS.items() if params.get(name)}
    found = dict(LabelRequest.objects.filter(**given).order_by().values_list("status").annotate(Count("pk")))
    return {status: found.get(status, 0) for status in LabelRequest.Status.values}


def classes(workload: Workload) -> list[str]:
    """The classes of a workload, those that labels name most often first."""
    used = (
        Label.objects.filter(workload=workload)
        .order_by()
        .values_list("true_class")
        .annotate(number=Count("pk"))
        .order_by("-number", "true_class")
    )
    names = [name for name, _ in used]
    known = ClassLabel.objects.filter(workload=workload).order_by("name").values_list("name", flat=True)
    return [*names, *(name for name in known if name not in set(names))]
