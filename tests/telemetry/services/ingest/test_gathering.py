"""Work of many threads is done in groups, each piece once and with its own outcome."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier, Event, Semaphore

import pytest

from telemetry.services.ingest.gathering import Gathering


@dataclass(frozen=True)
class Piece:
    """A piece of work that is its own outcome."""

    name: str
    key: int
    weight: int = 1


class Watched(list):
    """A list that counts what is appended to it."""

    def __init__(self) -> None:
        super().__init__()
        self.appended = Semaphore(0)

    def append(self, item) -> None:
        super().append(item)
        self.appended.release()


class Bench:
    """A gathering whose first piece is under way until all others wait."""

    def __init__(self, outcome: Callable[[Piece], object] = lambda piece: piece.name, **limits) -> None:
        self.groups: list[list[str]] = []
        self._outcome, self._begun, self._may_end = outcome, Event(), Event()
        self._waiting = Watched()
        self.gathering = Gathering(self._work, **({"most": 100, "most_weight": 100, "groups": 1} | limits))

    def _work(self, pieces: Sequence[Piece]) -> list:
        if not self.groups:
            self.gathering._waiting = self._waiting
            self._begun.set()
            assert self._may_end.wait(timeout=30)
        self.groups.append([piece.name for piece in pieces])
        return [self._outcome(piece) for piece in pieces]

    def run(self, first: Piece, *others: Piece) -> list[Future]:
        """The first piece in a thread of its own, the others in theirs while it is under way, in order."""
        with ThreadPoolExecutor(1 + len(others)) as pool:
            running = [pool.submit(self.gathering.take, first)]
            assert self._begun.wait(timeout=30)
            for piece in others:
                running.append(pool.submit(self.gathering.take, piece))
                assert self._waiting.appended.acquire(timeout=30)
            self._may_end.set()
        return running


def test_a_lone_piece_is_done_at_once():
    gathering = Gathering(lambda pieces: [piece.name for piece in pieces], most=9, most_weight=9, groups=1)
    assert gathering.take(Piece("a", 1)) == "a"
    assert gathering.take(Piece("b", 1)) == "b"


def test_what_comes_meanwhile_is_done_together_and_each_gets_its_own_outcome():
    bench = Bench()
    running = bench.run(Piece("a", 1), Piece("b", 2), Piece("c", 3), Piece("d", 4))
    assert bench.groups == [["a"], ["b", "c", "d"]]
    assert [future.result() for future in running] == ["a", "b", "c", "d"]


def test_as_many_groups_are_under_way_at_once_as_may_be():
    both = Barrier(2)

    def work(pieces: Sequence[Piece]) -> list[str]:
        both.wait(timeout=30)
        return [piece.name for piece in pieces]

    gathering = Gathering(work, most=9, most_weight=9, groups=2)
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(gathering.take, (Piece("a", 1), Piece("b", 1)))) == ["a", "b"]


def test_two_pieces_with_one_key_are_done_one_after_the_other():
    bench = Bench()
    running = bench.run(Piece("a", 1), Piece("b", 2), Piece("c", 2), Piece("d", 3), Piece("e", 2))
    assert bench.groups == [["a"], ["b", "d"], ["c"], ["e"]]
    assert [future.result() for future in running] == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("limits", "weights", "groups"),
    [
        ({"most": 2}, (1, 1, 1), [["b", "c"], ["d"]]),
        ({"most_weight": 10}, (6, 6, 4), [["b", "d"], ["c"]]),
        # by itself it is done however much it weighs
        ({"most_weight": 10}, (11, 11, 1), [["b"], ["c"], ["d"]]),
    ],
)
def test_a_group_has_no_more_than_it_may(limits, weights, groups):
    bench = Bench(**limits)
    others = [Piece(name, key, weight) for key, (name, weight) in enumerate(zip("bcd", weights, strict=True))]
    bench.run(Piece("a", 9), *others)
    assert bench.groups == [["a"], *groups]


def test_a_failed_piece_fails_alone_and_a_failed_group_as_one():
    def outcome(piece: Piece) -> object:
        if piece.name == "b":
            return KeyError(piece.name)
        return piece.name

    bench = Bench(outcome)
    first, failed, other = bench.run(Piece("a", 1), Piece("b", 2), Piece("c", 3))
    assert (first.result(), other.result()) == ("a", "c")
    with pytest.raises(KeyError):
        failed.result()

    def refuse(piece: Piece) -> object:
        if len(bench.groups) == 2:
            raise OSError("disk full")
        return piece.name

    bench = Bench(refuse)
    first, *others = bench.run(Piece("a", 1), Piece("b", 2), Piece("c", 3))
    assert first.result() == "a"
    for future in others:
        with pytest.raises(OSError, match="disk full"):
            future.result()
    assert bench.gathering.take(Piece("d", 4)) == "d"
