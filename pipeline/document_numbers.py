"""A set of document numbers that stays small and fast at a million documents: the form in which filters are passed."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Set
from functools import cached_property
from typing import Any

import numpy as np
from pyroaring import FrozenBitMap


class IdentityToken:
    """A weak-referenceable key for one object."""

    __slots__ = ("__weakref__",)


class DocumentNumbers(Set[int]):
    """An immutable set of document numbers (0 to 2**32 - 1), stored as a compressed bitmap.

    Equal answers of the catalogue are the same object, so what is expensive to derive from a set (a mask over an
    index's rows) can be cached under its ``token``.
    """

    #: The `token` of the set that `updated` derived this one from, and the numbers that only one of the two has.
    derived_from: tuple[IdentityToken, DocumentNumbers] | None = None

    def __init__(self, numbers: Iterable[int] | np.ndarray | FrozenBitMap = ()) -> None:
        self._bitmap = numbers if isinstance(numbers, FrozenBitMap) else _bitmap(numbers)

    @classmethod
    def of(cls, numbers: Iterable[int]) -> DocumentNumbers:
        """Return ``numbers`` as DocumentNumbers: the same object if it is one already."""
        return numbers if isinstance(numbers, DocumentNumbers) else cls(numbers)

    @classmethod
    def _from_iterable(cls, numbers: Iterable[Any]) -> DocumentNumbers:  # type: ignore[override]  # integers only
        return cls(numbers)

    def __len__(self) -> int:
        return len(self._bitmap)

    def __iter__(self) -> Iterator[int]:
        return iter(self._bitmap)

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int | np.integer) and bool(0 <= number < 2**32) and int(number) in self._bitmap

    def __eq__(self, other: object) -> bool:
        return self._bitmap == other._bitmap if isinstance(other, DocumentNumbers) else super().__eq__(other)

    def __and__(self, other: Iterable[int]) -> DocumentNumbers:
        return DocumentNumbers(self._bitmap & DocumentNumbers.of(other)._bitmap)

    def __sub__(self, other: Iterable[int]) -> DocumentNumbers:
        other = DocumentNumbers.of(other)
        return DocumentNumbers(self._bitmap - other._bitmap) if other else self

    def __or__(self, other: Iterable[int]) -> DocumentNumbers:  # type: ignore[override]  # integers only
        return DocumentNumbers(self._bitmap | DocumentNumbers.of(other)._bitmap)

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        """Return True if the sets have no number in common."""
        return self._bitmap.isdisjoint(DocumentNumbers.of(other)._bitmap)

    def updated(self, checked: DocumentNumbers, still_visible: DocumentNumbers) -> DocumentNumbers:
        """Return this set with ``still_visible`` added and the rest of ``checked`` removed; the same object if nothing
        changes. The new set remembers this one in ``derived_from``."""
        removed = self & (checked - still_visible)
        added = still_visible - self
        if not removed and not added:
            return self
        result = (self - removed) | added
        result.derived_from = self.token, removed | added
        return result

    def __hash__(self) -> int:
        return hash(self._bitmap)

    def __repr__(self) -> str:
        return f"DocumentNumbers({len(self)} from {self._bitmap.min()} to {self._bitmap.max()})" if self else "{}"

    @cached_property
    def token(self) -> IdentityToken:
        """The identity of this object, for weak references; a set derived from this one keeps it alive."""
        return IdentityToken()

    @property
    def array(self) -> np.ndarray:
        """The numbers as a new array, int64, sorted."""
        return np.frombuffer(self._bitmap.to_array(), np.uint32).astype(np.int64)

    def member(self, documents: np.ndarray) -> np.ndarray:
        """Return a boolean array of the shape of ``documents`` (integers, also negative): which of them are members."""
        outside = len(self._mask) - 1  # the last entry is never set
        if len(documents) and (documents.min() < 0 or documents.max() > outside):
            documents = np.where((documents < 0) | (documents > outside), outside, documents)
        members: np.ndarray = self._mask[documents]
        return members

    @cached_property
    def _mask(self) -> np.ndarray:
        """A boolean per number up to the largest one: NumPy looks up a million rows in it at once."""
        mask = np.zeros(self._bitmap.max() + 2 if self else 1, dtype=bool)
        mask[self.array] = True
        return mask


def _bitmap(numbers: Iterable[int] | np.ndarray) -> FrozenBitMap:
    if not isinstance(numbers, np.ndarray):
        return FrozenBitMap(numbers)
    # An index has many rows per document: repeated neighbours go first, and an `array` is read without Python objects.
    distinct = numbers[np.append(True, numbers[1:] != numbers[:-1])[: len(numbers)]]
    return FrozenBitMap(array("I", distinct.astype(np.uint32).tobytes()))
