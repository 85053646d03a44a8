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
        self.array: np.ndarray = np.unique(np.asarray(given, dtype=np.int64))
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
        return Numbers(np.intersect1d(self.array, Numbers.of(other).array, assume_unique=True))

    def __sub__(self, other: Iterable[int]) -> Numbers:
        return Numbers(np.setdiff1d(self.array, Numbers.of(other).array, assume_unique=True))

    def __or__(self, other: Iterable[int]) -> Numbers:
        return Numbers(np.union1d(self.array, Numbers.of(other).array))

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
