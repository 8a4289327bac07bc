"""CSV: cells that a spreadsheet must not run, lists and objects in one cell, and chunks that cover all rows."""

import csv
import io

import pytest

from fleet.models import Region
from fleet.tables import cell, csv_response, in_chunks, lines


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (True, "true"),
        (0, 0),
        (-1.5, -1.5),
        ("plain", "plain"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        (["a", "b"], "a;b"),
        ([], ""),
        ({"b": 1, "a": 2}, '{"a": 2, "b": 1}'),
        ([{"a": 1}], '[{"a": 1}]'),
    ],
)
def test_each_kind_of_value_becomes_one_cell(value, expected):
    assert cell(value) == expected


def test_text_with_quotes_commas_and_lines_survives_a_round_trip():
    rows = [{"a": 'say "hi", all', "b": "two\nlines"}, {"a": "ü"}]
    text = "".join(lines(["a", "b"], rows))
    assert list(csv.DictReader(io.StringIO(text))) == [rows[0], {"a": "ü", "b": ""}]


def test_a_table_without_rows_still_has_its_header():
    assert b"".join(csv_response("empty", ["a", "b"], [])) == b"a,b\r\n"


@pytest.mark.django_db
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7])
def test_chunks_cover_every_row_once(count, now, monkeypatch):
    monkeypatch.setattr("fleet.tables.CHUNK_ROWS", 2)
    Region.objects.bulk_create(Region(slug=f"r{n}", name="r", created_at=now) for n in range(count))
    seen = [row.slug for chunk in in_chunks(Region.objects.all()) for row in chunk]
    assert sorted(seen) == [f"r{n}" for n in range(count)]
