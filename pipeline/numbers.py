"""A set of document numbers that stays small and quick at a million documents: what filters are passed around as."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from functools import cached_property

import numpy as np


class Numbers(Set[int]):
    """Immutable; behaves as a frozenset of integers. ``array``: sorted, unique, int64, not to be written to.

    Whoever derives something costly from it (a bitmap over an index's rows) may keep it for as long as this very object
    lives: the same answer of the catalogue is the same object.
    """

    def __init__(self, numbers: Iterable[int] | np.ndarray = ()) -> None:
        given = numbers if isinstance(numbers, np.ndarray) else np.fromiter(numbers, np.int64)
        array = np.array(given, dtype=np.int64)  # a copy: the giver may change his own
        # A look first: most are sorted and unique already, and sorting a million takes as long as a search.
        self.array: np.ndarray = array if np.all(array[1:] > array[:-1]) else np.unique(array)
        self.array.setflags(write=False)

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Numbers:
        """The same object where it is one already."""
        return numbers if isinstance(numbers, Numbers) else cls(numbers)

    @classmethod
    def _from_iterable(cls, numbers: Iterable[int]) -> Numbers:
        return cls(numbers)

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[int]:
        return iter(self.array.tolist())

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int | np.integer) or number < 0:
            return False
        return number < len(self._bits) and bool(self._bits[number])

    def __and__(self, other: Iterable[int]) -> Numbers:
        return Numbers(self.array[Numbers.of(other).member(self.array)])

    def __sub__(self, other: Iterable[int]) -> Numbers:
        other = Numbers.of(other)
        return Numbers(self.array[~other.member(self.array)]) if len(other) else self

    def __or__(self, other: Iterable[int]) -> Numbers:
        other = Numbers.of(other)
        if not len(self) or not len(other):
            return self if len(self) else other
        both = np.concatenate([self.array, other.array])
        both.sort(kind="stable")  # two sorted runs: merged in one pass
        return Numbers(both[np.concatenate([[True], both[1:] > both[:-1]])])

    def __hash__(self) -> int:
        return self._hash()

    def __repr__(self) -> str:
        return f"Numbers({len(self)} from {self.array[0]} to {self.array[-1]})" if len(self) else "Numbers()"

    def member(self, documents: np.ndarray) -> np.ndarray:
        """Boolean per entry of ``documents`` (integers of any sign)."""
        outside = len(self._bits) - 1  # the last bit is never set
        at = np.where((documents < 0) | (documents > outside), outside, documents)
        return self._bits[at]

    @cached_property
    def _bits(self) -> np.ndarray:
        bits = np.zeros(int(self.array[-1]) + 2 if len(self.array) else 1, dtype=bool)
        bits[self.array] = True
        return bits
