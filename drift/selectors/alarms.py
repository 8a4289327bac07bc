"""Reads of alarms for pages: filtered lists, counts by state, the incident of one alarm."""

from collections.abc import Mapping

from django.db.models import Case, Count, IntegerField, QuerySet, Value, When

from drift.models import Alarm

_SEVERITY_ORDER = Case(
    When(severity=Alarm.Severity.CRITICAL, then=Value(0)),
    When(severity=Alarm.Severity.WARNING, then=Value(1)),
    default=Value(2),
    output_field=IntegerField(),
)
# Parameter of a query string -> field of Alarm; the API filters by the same names.
LOOKUPS = {
    "state": "state",
    "kind": "kind",
    "severity": "severity",
    "workload": "workload__slug",
    "release": "release__version",
    "hardware_target": "hardware_target__slug",
    "device": "device__serial",
}


def alarms(params: Mapping[str, str]) -> QuerySet[Alarm]:
    """Alarms that match every given filter, the most severe first, the newest first among equals."""
    found = Alarm.objects.select_related("workload", "release", "hardware_target", "device", "assignee")
    given = {field: params[name] for name, field in LOOKUPS.items() if params.get(name)}
    return found.filter(**given).order_by(_SEVERITY_ORDER, "-raised_at", "-id")


def open_alarms(params: Mapping[str, str]) -> QuerySet[Alarm]:
    """Alarms that nobody closed, whatever `state` the query string names."""
    return alarms({name: value for name, value in params.items() if name != "state"}).exclude(state=Alarm.State.CLOSED)


def counts_by_state(params: Mapping[str, str]) -> dict[str, int]:
    """How many alarms of the selection are open, acknowledged and closed."""
    selection = alarms({name: value for name, value in params.items() if name != "state"})
    found = dict(selection.order_by().values_list("state").annotate(Count("id")))
    return {state: found.get(state, 0) for state in Alarm.State.values}
