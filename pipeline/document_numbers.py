"""A set of document numbers that stays small and quick at a million documents: what filters are passed around as."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from functools import cached_property

import numpy as np


class IdentityToken:
    """Nothing but itself."""

    __slots__ = ("__weakref__",)


class DocumentNumbers(Set[int]):
    """Immutable; behaves as a frozenset of integers. ``array``: sorted, unique, int64, not to be written to.

    Whoever derives something costly from it (a bitmap over an index's rows) may keep it for as long as this very object
    lives, or its ``mark``: the same answer of the catalogue is the same object.
    """

    #: the `mark` of the set that `updated` derived this one from, and the numbers that only one of the two has
    derived_from: tuple[IdentityToken, np.ndarray] | None = None

    def __init__(self, numbers: Iterable[int] | np.ndarray = ()) -> None:
        values = numbers if isinstance(numbers, np.ndarray) else np.fromiter(numbers, np.int64)
        array = np.array(values, dtype=np.int64)  # a copy: the caller may change the original
        # Checked first: most are sorted and unique already, and sorting a million takes as long as a search.
        self.array: np.ndarray = array if np.all(array[1:] > array[:-1]) else np.unique(array)
        self.array.setflags(write=False)

    @classmethod
    def of(cls, numbers: Iterable[int]) -> DocumentNumbers:
        """Return ``numbers`` as DocumentNumbers: the same object if it is one already."""
        return numbers if isinstance(numbers, DocumentNumbers) else cls(numbers)

    @classmethod
    def _from_iterable(cls, numbers: Iterable[int]) -> DocumentNumbers:
        return cls(numbers)

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[int]:
        return iter(self.array.tolist())

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int | np.integer) or number < 0:
            return False
        return number < len(self._bits) and bool(self._bits[number])

    def __and__(self, other: Iterable[int]) -> DocumentNumbers:
        return DocumentNumbers(self.array[DocumentNumbers.of(other).member(self.array)])

    def __sub__(self, other: Iterable[int]) -> DocumentNumbers:
        other = DocumentNumbers.of(other)
        return DocumentNumbers(self.array[~other.member(self.array)]) if len(other) else self

    def __or__(self, other: Iterable[int]) -> DocumentNumbers:
        other = DocumentNumbers.of(other)
        if not len(self) or not len(other):
            return self if len(self) else other
        both = np.concatenate([self.array, other.array])
        both.sort(kind="stable")  # two sorted runs: merged in one pass
        return DocumentNumbers(both[np.concatenate([[True], both[1:] > both[:-1]])])

    def updated(self, checked: DocumentNumbers, still_visible: DocumentNumbers) -> DocumentNumbers:
        """Return this set with ``kept`` added and the rest of ``checked`` removed; the same object if nothing changes.
        A million numbers cost a copy; ``before`` records which set the new one was derived from."""
        here = self.member(checked.array)
        gone = checked.array[here & ~still_visible.member(checked.array)]
        come = still_visible.array[~self.member(still_visible.array)]
        if not len(gone) and not len(come):
            return self
        array = np.delete(self.array, np.searchsorted(self.array, gone))
        result = DocumentNumbers._sorted(np.insert(array, np.searchsorted(array, come), come))
        result.derived_from = self.token, np.concatenate([gone, come])
        return result

    @classmethod
    def _sorted(cls, array: np.ndarray) -> DocumentNumbers:
        """Wrap an array that is sorted, unique and not shared."""
        result = cls.__new__(cls)
        result.array = array
        result.array.setflags(write=False)
        return result

    def __hash__(self) -> int:
        return self._hash()

    def __repr__(self) -> str:
        return (
            f"DocumentNumbers({len(self)} from {self.array[0]} to {self.array[-1]})"
            if len(self)
            else "DocumentNumbers()"
        )

    @cached_property
    def token(self) -> IdentityToken:
        """The identity of this object, for weak references; it lives on with a set derived from this one."""
        return IdentityToken()

    def member(self, documents: np.ndarray) -> np.ndarray:
        """Boolean per entry of ``documents`` (integers of any sign)."""
        outside = len(self._bits) - 1  # the last bit is never set
        if len(documents) and (documents.min() < 0 or documents.max() > outside):
            documents = np.where((documents < 0) | (documents > outside), outside, documents)
        return self._bits[documents]

    @cached_property
    def _bits(self) -> np.ndarray:
        bits = np.zeros(int(self.array[-1]) + 2 if len(self.array) else 1, dtype=bool)
        bits[self.array] = True
        return bits
