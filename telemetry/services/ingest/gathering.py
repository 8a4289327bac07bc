"""Work of many threads done together: whoever comes while nothing is under way does his own and all that waits.

Nobody waits for others to come, so a lone request takes as long as before. While one thread is at work for its group,
the next group gathers; when it is done, the first of those who wait leads on.
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
    """Does pieces of work in groups, one group at a time.

    Args:
        work: does a group's work; an outcome for each piece, in their order, an exception among them where one failed.
        most: pieces in a group.
        most_weight: what the pieces of a group weigh together, unless it is a single one.
    """

    def __init__(
        self, work: Callable[[Sequence[E]], Sequence[R | BaseException]], *, most: int, most_weight: int
    ) -> None:
        self._work, self._most, self._most_weight = work, most, most_weight
        self._lock = threading.Lock()
        self._waiting: list[_Ticket[E, R]] = []
        self._is_led = False

    def take(self, entry: E) -> R:
        """Have a piece of work done, by this thread or by another one.

        Raises:
            BaseException: what the work raised, for all, or put in the place of this piece's outcome.
        """
        ticket: _Ticket[E, R] = _Ticket(entry)
        with self._lock:
            self._waiting.append(ticket)
            leads, self._is_led = not self._is_led, True
        if not leads:
            ticket.turn.acquire()
        if not ticket.is_done:
            self._lead()
        if isinstance(ticket.outcome, BaseException):
            raise ticket.outcome
        return ticket.outcome

    def _lead(self) -> None:
        """Do the work of a group, to which the one who leads belongs as the first that waits."""
        group = self._next_group()
        try:
            outcomes: Sequence[R | BaseException] = self._work([ticket.entry for ticket in group])
        except BaseException as error:
            outcomes = [error] * len(group)
        with self._lock:
            heir = self._waiting[0] if self._waiting else None
            self._is_led = heir is not None
        if heir is not None:
            heir.turn.release()
        for ticket, outcome in zip(group, outcomes, strict=True):
            ticket.outcome, ticket.is_done = outcome, True
            ticket.turn.release()

    def _next_group(self) -> list[_Ticket[E, R]]:
        """Take the first that waits, and with it whatever fits."""
        group: list[_Ticket[E, R]] = []
        left: list[_Ticket[E, R]] = []
        keys: set[Hashable] = set()
        weight = 0
        with self._lock:
            for ticket in self._waiting:
                key, further = ticket.entry.key, ticket.entry.weight
                fits = len(group) < self._most and weight + further <= self._most_weight
                if group and (key in keys or not fits):
                    left.append(ticket)
                    continue
                group.append(ticket)
                keys.add(key)
                weight += further
            self._waiting = left
        return group
