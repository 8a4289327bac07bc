"""Streams assembled from columns hold what PostgreSQL reads back."""

import uuid

import numpy as np
import pytest
from django.db import connection

from telemetry.binary_copy import Field, copy_stream

pytestmark = pytest.mark.django_db

TABLE = """
CREATE TEMPORARY TABLE copied (
  i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, b bool, t timestamptz, y bytea, x text, j jsonb, u uuid, one int4
) ON COMMIT DROP
"""
NAMES = ["i2", "i4", "i8", "f4", "f8", "b", "t", "y", "x", "j", "u", "one"]


def copied(fields: list[Field], n: int) -> list[tuple]:
    """The rows that the server makes of a stream."""
    names, stream = copy_stream(fields, n)
    with connection.cursor() as cursor:
        cursor.execute(TABLE)
        with cursor.copy(f"COPY copied ({', '.join(names)}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(stream)
        shown = {"t": "extract(epoch FROM t) * 1000000", "j": "j::text"}
        cursor.execute(f"SELECT {', '.join(shown.get(name, name) for name in NAMES)} FROM copied")
        return cursor.fetchall()


@pytest.mark.parametrize("n", [1, 4, 5, 300], ids=["one row", "few rows", "more rows", "many rows"])
@pytest.mark.parametrize("nulls", [0.0, 0.4, 1.0], ids=["no nulls", "some nulls", "nulls only"])
def test_every_type_and_null_comes_back(n, nulls):
    rng = np.random.default_rng([n, int(nulls * 10)])
    null = {name: rng.random(n) < nulls for name in NAMES}
    texts = ["".join(rng.choice(list("aé漢"), rng.integers(0, 9))) for _ in range(n)]
    values = {
        "i2": rng.integers(-(2**15), 2**15, n),
        "i4": rng.integers(-(2**31), 2**31, n),
        "i8": rng.integers(-(2**63), 2**63, n),
        "f4": rng.normal(size=n).astype(np.float32),
        "f8": rng.normal(size=n),
        "b": rng.random(n) < 0.5,
        "t": rng.integers(0, 2 * 10**15, n),
        "y": [rng.bytes(int(rng.integers(0, 40))) for _ in range(n)],
        "x": [text.encode() for text in texts],
        "j": [b'{"a": %d}' % i for i in range(n)],
        "u": [uuid.UUID(bytes=rng.bytes(16)).bytes for _ in range(n)],
    }
    types = ["int2", "int4", "int8", "float4", "float8", "bool", "timestamptz", "bytea", "text", "jsonb", "uuid"]
    fields = [Field("one", "int4", 7)]
    for name, type_ in zip(NAMES, types, strict=False):
        if isinstance(values[name], list):
            masked = [None if gone else value for gone, value in zip(null[name], values[name], strict=True)]
            fields.append(Field(name, type_, masked))
        else:
            fields.append(Field(name, type_, values[name], null[name]))
    back = {"y": bytes, "x": str.encode, "j": str.encode, "u": lambda u: u.bytes}
    for row, got in enumerate(copied(fields, n)):
        for name, value in zip(NAMES[:-1], got, strict=False):
            if null[name][row]:
                assert value is None, name
            elif name in back:
                assert back[name](value) == values[name][row], name
            else:
                assert float(value) == pytest.approx(float(values[name][row]), rel=1e-7), name
        assert got[-1] == 7


def test_infinities_are_values_and_not_nulls():
    values = np.array([np.inf, -np.inf, 0.0, 1.0, 2.0])
    assert [row[4] for row in copied([Field("f8", "float8", values)], 5)] == values.tolist()
