"""Roll-up rows in memory, column by column: how rows of any tier are merged into fewer rows, exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from telemetry import columns, histograms
from telemetry.histograms import HistogramRows


@dataclass(frozen=True)
class Rollups:
    """Rows of a roll-up tier.

    Attributes:
        keys: name -> shape (rows,) int64; `bucket` is in microseconds since the epoch.
        numbers: name -> shape (rows,), int64 for counts and float64 for the rest; nan is a missing minimum or maximum.
        histograms: name -> one histogram per row; `class_counts` among them, with class ids as its bins.

    Only the value columns that were asked for are present.
    """

    keys: Mapping[str, NDArray[np.int64]]
    numbers: Mapping[str, NDArray]
    histograms: Mapping[str, HistogramRows]
    n_rows: int

    @classmethod
    def empty(cls, keys: Sequence[str], values: Sequence[str]) -> Rollups:
        """No rows, with the given columns."""
        return cls(
            {name: np.zeros(0, dtype=np.int64) for name in keys},
            {name: np.zeros(0, dtype=_dtype(name)) for name in values if _is_number(name)},
            {name: HistogramRows.empty(0) for name in values if not _is_number(name)},
            0,
        )

    def with_keys(self, **keys: NDArray) -> Rollups:
        """The same rows with keys added or replaced."""
        return Rollups(
            {**self.keys, **{name: np.asarray(key, dtype=np.int64) for name, key in keys.items()}},
            self.numbers,
            self.histograms,
            self.n_rows,
        )

    def append(self, other: Rollups) -> Rollups:
        """These rows followed by the other's; both have the same columns."""
        return Rollups(
            {name: np.concatenate((key, other.keys[name])) for name, key in self.keys.items()},
            {name: np.concatenate((value, other.numbers[name])) for name, value in self.numbers.items()},
            {
                name: HistogramRows.concatenated((rows, other.histograms[name]))
                for name, rows in self.histograms.items()
            },
            self.n_rows + other.n_rows,
        )

    @classmethod
    def concatenated(cls, parts: Sequence[Rollups]) -> Rollups:
        """The rows of all parts, which have the same columns; each part's histograms are summed up first."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        return cls(
            {name: np.concatenate([part.keys[name] for part in parts]) for name in first.keys},
            {name: np.concatenate([part.numbers[name] for part in parts]) for name in first.numbers},
            {
                name: HistogramRows.concatenated([part.histograms[name].summed() for part in parts])
                for name in first.histograms
            },
            sum(part.n_rows for part in parts),
        )

    def groups_by(self, *names: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Groups of rows with equal keys, ordered by key: one row of each group, and the group of each row."""
        # each key as a code, and the codes as one number: sorting numbers is far cheaper than sorting rows
        combined = np.zeros(self.n_rows, dtype=np.int64)
        for name in names:
            unique, code = np.unique(self.keys[name], return_inverse=True)
            combined = combined * max(unique.size, 1) + code
        _, example, group = np.unique(combined, return_index=True, return_inverse=True)
        return example, group

    def merged_by(self, *names: str) -> Rollups:
        """Rows with equal keys made one, ordered by those keys; other keys are dropped."""
        example, group = self.groups_by(*names)
        merged = self.merged_into(group, example.size)
        return merged.with_keys(**{name: self.keys[name][example] for name in names})

    def merged_into(self, group: NDArray, n_groups: int) -> Rollups:
        """Row r merged into row `group[r]` of the result, which has no keys; groups without rows hold zeros."""
        numbers = {name: _merge_number(name, value, group, n_groups) for name, value in self.numbers.items()}
        merged = {name: rows.regroup(group, n_groups) for name, rows in self.histograms.items()}
        return Rollups({}, numbers, merged, n_groups)

    def rows(self, table: tuple[columns.Column, ...]) -> Iterator[tuple]:
        """Rows as COPY writes them into a table, with `bucket` still in microseconds."""
        lists: list[list] = []
        for column in table:
            if column.name in self.keys:
                lists.append(self.keys[column.name].tolist())
            elif column.merge == "histogram":
                lists.append(self.histograms[column.name].pack())
            elif column.merge == "classes":
                lists.append(histograms.pack_classes(self.histograms[column.name]))
            else:
                values = self.numbers[column.name]
                nullable = column.nullable and np.isnan(values).any()
                listed = values.tolist()
                lists.append([None if value != value else value for value in listed] if nullable else listed)
        return zip(*lists, strict=True)


def _is_number(name: str) -> bool:
    return columns.ROLLUP_VALUE[name].merge in ("sum", "min", "max")


def _dtype(name: str) -> type:
    return np.int64 if columns.ROLLUP_VALUE[name].type == "int8" else np.float64


def _merge_number(name: str, value: NDArray, group: NDArray, n_groups: int) -> NDArray:
    match columns.ROLLUP_VALUE[name].merge:
        case "sum":
            merged = np.zeros(n_groups, dtype=value.dtype)
            np.add.at(merged, group, value)
            return merged
        case "min":
            merged = np.full(n_groups, np.nan)
            np.fmin.at(merged, group, value)
            return merged
        case _:
            merged = np.full(n_groups, np.nan)
            np.fmax.at(merged, group, value)
            return merged
