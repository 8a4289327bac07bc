"""Work of many threads done together: whoever finds nothing under way does his own piece, and all that waits with it.

Nobody waits for others to come, so a lone request takes as long as before. While some threads are at work for their
groups, the next group gathers; when one of them is done, the first of those who wait leads on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar


class Entry(Protocol):
    """A piece of work."""

    @property
    def key(self) -> Hashable:
        """Two pieces with the same key are not done together."""

    @property
    def weight(self) -> int:
        """What it counts for in a group."""


E = TypeVar("E", bound=Entry)
R = TypeVar("R")


class _Ticket(Generic[E, R]):
    """A thread's piece of work. `turn` is released when it is done, or when it is the thread's turn to lead."""

    __slots__ = ("entry", "is_done", "outcome", "turn")

    def __init__(self, entry: E) -> None:
        self.entry = entry
        self.turn = threading.Lock()
        self.turn.acquire()
        self.is_done = False
        self.outcome: R | BaseException


class Gathering(Generic[E, R]):
    """Does pieces of work in groups.

    Args:
        work: does a group's work; an outcome for each piece, in their order, an exception among them where one failed.
        most: pieces in a group.
        most_weight: what the pieces of a group weigh together, unless it is a single one.
        groups: groups that may be under way at a time.
    """

    def __init__(
        self, work: Callable[[Sequence[E]], Sequence[R | BaseException]], *, most: int, most_weight: int, groups: int
    ) -> None:
        self._work, self._most, self._most_weight, self._groups = work, most, most_weight, groups
        self._lock = threading.Lock()
        self._waiting: list[_Ticket[E, R]] = []
        self._under_way = 0

    def take(self, entry: E) -> R:
        """Have a piece of work done, by this thread or by another one.

        Raises:
            BaseException: what the work raised, for all, or put in the place of this piece's outcome.
        """
        ticket: _Ticket[E, R] = _Ticket(entry)
        with self._lock:
            leads = self._under_way < self._groups
            if leads:
                self._under_way += 1
            else:
                self._waiting.append(ticket)
        if not leads:
            ticket.turn.acquire()
        if not ticket.is_done:
            self._lead(ticket)
        if isinstance(ticket.outcome, BaseException):
            raise ticket.outcome
        return ticket.outcome

    def _lead(self, first: _Ticket[E, R]) -> None:
        """Do the work of a group that begins with one's own piece, and name who leads next."""
        group = self._group_of(first)
        try:
            outcomes: Sequence[R | BaseException] = self._work([ticket.entry for ticket in group])
        except BaseException as error:
            outcomes = [error] * len(group)
        with self._lock:
            heir = self._waiting.pop(0) if self._waiting else None
            if heir is None:
                self._under_way -= 1
        if heir is not None:
            heir.turn.release()
        for ticket, outcome in zip(group, outcomes, strict=True):
            ticket.outcome, ticket.is_done = outcome, True
            ticket.turn.release()

    def _group_of(self, first: _Ticket[E, R]) -> list[_Ticket[E, R]]:
        """A piece and whatever of those that wait fits to it."""
        group, left = [first], []
        keys, weight = {first.entry.key}, first.entry.weight
        with self._lock:
            for ticket in self._waiting:
                key, further = ticket.entry.key, ticket.entry.weight
                if key in keys or len(group) == self._most or weight + further > self._most_weight:
                    left.append(ticket)
                    continue
                group.append(ticket)
                keys.add(key)
                weight += further
            self._waiting = left
        return group
