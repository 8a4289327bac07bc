"""Tables as files: every list as CSV with the rows of the JSON answer, all pages of them, and any table as JSON."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from rest_framework import renderers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.problems import CONTENT_TYPE

CHUNK_ROWS = 1000
# A spreadsheet would run text that begins so as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class _Line:
    """A file for csv.writer that hands each line back."""

    def write(self, line: str) -> str:
        return line


def cell(value: Any) -> Any:
    """A value as one cell: lists joined by semicolons, objects as JSON, text that looks like a formula quoted."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    if isinstance(value, list | tuple):
        if any(isinstance(item, dict) for item in value):
            return json.dumps(value, ensure_ascii=False, default=str)
        return ";".join(str(item) for item in value)
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


def lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The header and one line per row."""
    writer = csv.writer(_Line())
    yield writer.writerow(columns)
    for row in rows:
        yield writer.writerow([cell(row.get(column)) for column in columns])


def csv_response(name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> StreamingHttpResponse:
    """A download of rows as `<name>.csv`."""
    return StreamingHttpResponse(
        lines(columns, rows),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )


def json_response(
    name: str, rows: Iterable[Any], *, about: Mapping[str, Any] | None = None, rows_name: str = "rows"
) -> StreamingHttpResponse:
    """A download of rows as `<name>.json`, streamed: an array, or with `about` an object of that and then the rows."""
    return StreamingHttpResponse(
        _json_lines(rows, about, rows_name),
        content_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}.json"'},
    )


def _json_lines(rows: Iterable[Any], about: Mapping[str, Any] | None, rows_name: str) -> Iterator[str]:
    if about is not None:
        yield "{" + "".join(f"{_json(key)}: {_json(value)}, " for key, value in about.items()) + f"{_json(rows_name)}: "
    separator = "[\n"
    for row in rows:
        yield separator + _json(row)
        separator = ",\n"
    yield ("[]" if separator == "[\n" else "\n]") + ("" if about is None else "}") + "\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, cls=DjangoJSONEncoder)


def table_response(
    form: str, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]
) -> StreamingHttpResponse | None:
    """The rows of a page's table as the file that `format=csv` or `format=json` asks for; None for anything else."""
    if form == "csv":
        return csv_response(name, columns, rows)
    if form == "json":
        return json_response(name, ({column: row.get(column) for column in columns} for row in rows))
    return None


def in_chunks(queryset: QuerySet) -> Iterator[list]:
    """All rows by descending key in pieces, a query each, so that a large table neither blocks nor fills memory."""
    queryset = queryset.order_by("-pk")
    last = None
    while rows := list(queryset[:CHUNK_ROWS] if last is None else queryset.filter(pk__lt=last)[:CHUNK_ROWS]):
        yield rows
        last = rows[-1].pk
        if len(rows) < CHUNK_ROWS:
            return


class CSVRenderer(renderers.BaseRenderer):
    """Makes `?format=csv` and `Accept: text/csv` negotiable; `CSVList` does the work, this renders what it leaves."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> str | bytes:
        """One row or a list of rows; a refusal stays problem+json."""
        response = (renderer_context or {}).get("response")
        if response is not None and response.status_code >= 400:
            response.headers["Content-Type"] = CONTENT_TYPE
            return renderers.JSONRenderer().render(data)
        rows = data if isinstance(data, list) else [data]
        columns = list(dict.fromkeys(column for row in rows for column in row))
        return "".join(lines(columns, rows))


class CSVList:
    """A list view whose rows also come as CSV, by `?format=csv`, by `.csv` in the address, or by `Accept: text/csv`."""

    renderer_classes = [renderers.JSONRenderer, CSVRenderer]
    # Columns for CSV in order; the serializer's fields where empty.
    csv_columns: Sequence[str] = ()

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response | StreamingHttpResponse:
        """A page of rows as JSON, or all rows as CSV."""
        if request.accepted_renderer.format != "csv":
            return super().list(request, *args, **kwargs)
        queryset = self.filter_queryset(self.get_queryset())
        columns = self.csv_columns or list(self.get_serializer().fields)
        rows = (row for chunk in in_chunks(queryset) for row in self.get_serializer(chunk, many=True).data)
        return csv_response(self.basename_of_table(), columns, rows)

    def basename_of_table(self) -> str:
        """The name of the file."""
        return str(self.queryset.model._meta.verbose_name_plural).replace(" ", "-").lower()
