"""Reads of kept retrospectives: the list with the verdict of every look, without the looks themselves."""

from django.db.models import F, Func, JSONField, QuerySet
from django.db.models.fields.json import KeyTransform

from drift.models import Retrospective


def retrospectives() -> QuerySet[Retrospective]:
    """Kept runs, newest first, each with `verdicts`: one per look, oldest first; None while there is no result;
    and `failures`, how many draws failed, of a run of history against itself.

    The result itself, which can be megabytes, stays in the database.
    """
    verdicts = Func(
        F("result"),
        template="jsonb_path_query_array(%(expressions)s, '$.looks[*].verdict')",
        output_field=JSONField(),
    )
    failures = KeyTransform("failures", "result")
    return (
        Retrospective.objects.select_related("created_by")
        .defer("result")
        .annotate(verdicts=verdicts, failures=failures)
    )
