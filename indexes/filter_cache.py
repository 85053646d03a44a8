"""What an index derives from a filter, kept for as long as the filter lives."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from pipeline.document_numbers import DocumentNumbers

#: Filters whose values are kept.
SIZE = 16

T = TypeVar("T")


class FilterCache(Generic[T]):
    """Keeps one value per set of allowed documents (the same answer of the catalogue is the same object)."""

    def __init__(self) -> None:
        self._entries: list[tuple[weakref.ref[DocumentNumbers], T]] = []
        self._lock = Lock()

    def get(self, allowed: DocumentNumbers, derive: Callable[[DocumentNumbers], T]) -> T:
        """Return the value of a filter; ``derive`` computes it where none is kept."""
        with self._lock:
            for ref, value in self._entries:
                if ref() is allowed:
                    return value
        value = derive(allowed)
        with self._lock:
            alive = [entry for entry in self._entries if entry[0]() is not None]
            self._entries = [(weakref.ref(allowed), value), *alive][:SIZE]
        return value
