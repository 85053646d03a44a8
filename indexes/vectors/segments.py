"""A segment: some vectors, the keys of their chunks and, above a size, an index over them. Never changed in place.

    NAME.npy          chunk keys, int64, by position
    NAME.f32, .f16    the vectors, row by row: float32 where all are compared, float16 where they re-rank candidates
    NAME.faiss        the index that proposes candidates (every kind but "exact")

All of it is memory-mapped. A replaced document's rows stay and are named in ``dropped`` until the segment is merged.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import faiss
import numpy as np

from indexes.vectors.kinds import EXACT, best_of, by_lists, kind_for, nearest
from indexes.vectors.measure import built
from indexes.vectors.rows import Memory, Rows, inner_products
from pipeline.disk import sync_file
from pipeline.document_numbers import DocumentNumbers, IdentityToken
from pipeline.questions import ORDINAL_BITS

#: Under a filter that leaves at most this many rows they are all compared: cheaper than proposing, and exact.
FEW_ROWS = 8_000
#: In a segment without an index, of a larger share than this all rows are compared and the others left out: that reads
#: them in a row and copies nothing (docs/decisions/0032).
GATHER_SHARE = 0.2
#: Candidates for k results: this many times k, but not fewer and not more over k than these.
WIDEN, AT_LEAST, AT_MOST_MORE = 8, 160, 400
#: Filters whose bitmaps a segment keeps.
FILTERS_KEPT = 16
#: Rows that are copied at a time.
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows that a search may return: ``mask`` a boolean per row, ``bits`` the same packed for FAISS."""

    mask: np.ndarray
    bits: np.ndarray
    count: int

    @classmethod
    def of(cls, mask: np.ndarray) -> Selection:
        return cls(mask, np.packbits(mask, bitorder="little"), int(np.count_nonzero(mask)))


@dataclass(frozen=True, eq=False)
class Segment:
    """``index`` is None for the kind "exact". ``dropped``: numbers of documents whose rows here are no longer valid."""

    name: str
    kind: str
    keys: np.ndarray
    rows: Memory
    index: faiss.Index | None = None
    dropped: DocumentNumbers = field(default_factory=DocumentNumbers)
    _lock: Lock = field(default_factory=Lock, repr=False)
    _selections: list[tuple[weakref.ref[IdentityToken], Selection | None]] = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return len(self.keys)

    def without(self, dropped: DocumentNumbers) -> Segment:
        """The same files with another list of documents that are gone."""
        made = Segment(self.name, self.kind, self.keys, self.rows, self.index, dropped)
        made.__dict__["documents"] = self.documents  # the keys are the same
        return made

    @cached_property
    def documents(self) -> DocumentNumbers:
        """Numbers of the documents that have rows here, dropped ones too."""
        return DocumentNumbers(self.keys >> ORDINAL_BITS)

    @cached_property
    def live(self) -> np.ndarray | None:
        """Boolean per row, or None where every row is valid."""
        return ~self.dropped.member(self.keys >> ORDINAL_BITS) if len(self.dropped) else None

    @cached_property
    def live_count(self) -> int:
        return len(self) if self.live is None else int(np.count_nonzero(self.live))

    def selected(self, allowed: DocumentNumbers | None) -> Selection | None:
        """The rows of the allowed documents that are valid; None for all rows. Kept while ``allowed`` lives."""
        if allowed is None:
            return self._valid
        with self._lock:
            kept = {mark: selection for ref, selection in self._selections if (mark := ref()) is not None}
        if allowed.token in kept:
            return kept[allowed.token]
        selection = kept[allowed.derived_from[0]] if self._is_as_before(allowed, kept) else self._select(allowed)
        with self._lock:
            alive = [each for each in self._selections if each[0]() is not None]
            self._selections[:] = [(weakref.ref(allowed.token), selection), *alive][:FILTERS_KEPT]
        return selection

    @cached_property
    def _valid(self) -> Selection | None:
        return None if self.live is None else Selection.of(self.live)

    def _is_as_before(self, allowed: DocumentNumbers, kept: Collection[IdentityToken]) -> bool:
        """Whether the set differs, in no document that is here, from one whose rows are known."""
        if allowed.derived_from is None or allowed.derived_from[0] not in kept:
            return False
        return not np.any(self.documents.member(allowed.derived_from[1]))

    def _select(self, allowed: DocumentNumbers) -> Selection | None:
        mask = allowed.member(self.keys >> ORDINAL_BITS)
        if self.live is not None:
            mask &= self.live
        return None if mask.all() else Selection.of(mask)

    def search(self, query: np.ndarray, k: int, allowed: DocumentNumbers | None) -> tuple[np.ndarray, np.ndarray]:
        """The best ``k`` of the allowed rows: (chunk keys, scores), in no order."""
        selection = self.selected(allowed)
        count = len(self) if selection is None else selection.count
        if not count:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        if self.index is None and count > GATHER_SHARE * len(self):
            scores = inner_products(self.rows.array, query)
            positions = np.arange(len(self)) if selection is None else np.flatnonzero(selection.mask)
            scores = scores if selection is None else scores[positions]
        elif selection is not None and (self.index is None or count <= max(FEW_ROWS, k)):
            positions, scores = self._compared(query, k, selection)
        else:
            positions, scores = self._proposed(query, k, selection)
        if len(scores) > k:
            best = np.argpartition(-scores, k - 1)[:k]
            positions, scores = positions[best], scores[best]
        return self.keys[positions], scores

    def _compared(self, query: np.ndarray, k: int, selection: Selection) -> tuple[np.ndarray, np.ndarray]:
        """Positions and scores of the selected rows, or of the best ``k``: all are compared. In a segment whose rows may stay in
        memory FAISS looks at every row's bit and compares where it lies; of a larger one they are copied together."""
        if self.index is not None and self.rows.may_stay:
            return best_of(self.rows.compared, query.reshape(1, -1), min(k, selection.count), selection.bits)
        positions = np.flatnonzero(selection.mask)
        copied = self.rows.copied(positions)
        if self.index is None:
            return positions, inner_products(copied.array, query)
        at, scores = best_of(copied.compared, query.reshape(1, -1), min(k, selection.count))
        return positions[at], scores

    def _proposed(self, query: np.ndarray, k: int, selection: Selection | None) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the best ``k``, by the stored rows, of those that the index proposes, some more; and their scores."""
        wanted = min(max(WIDEN * k, AT_LEAST), k + AT_MOST_MORE)
        bits, share = (None, 1.0) if selection is None else (selection.bits, selection.count / len(self))
        positions, scores = nearest(self._reranked, query.reshape(1, -1), wanted, bits, share)
        self.rows.were_read(positions)
        return positions[:k], scores[:k]

    @cached_property
    def _reranked(self) -> faiss.IndexRefine:
        return faiss.IndexRefine(self.index, self.rows.compared)


def make_segment(name: str, keys: np.ndarray, rows: np.ndarray, kind: str | None = None, large: str = "") -> Segment:
    """``kind`` None: what its size asks for; ``large``: what a large one gets, empty for the usual."""
    kind = kind or kind_for(len(rows), large)
    stored = np.ascontiguousarray(rows, dtype=np.float32 if kind == EXACT else np.float16)
    kind, index = built(kind, stored)
    if isinstance(index, faiss.IndexIVF):
        order = by_lists(index)
        keys, stored = keys[order], stored[order]
    return Segment(name, kind, keys.astype(np.int64), Memory(stored), index)


def files_of(name: str, kind: str) -> tuple[str, ...]:
    """The names of a segment's files."""
    return (f"{name}.npy", f"{name}.f32") if kind == EXACT else (f"{name}.npy", f"{name}.f16", f"{name}.faiss")


def write_segment(segment: Segment, folder: Path) -> None:
    """All files, durable. ``folder`` must not be visible to readers yet."""
    np.save(folder / f"{segment.name}.npy", segment.keys)
    rows = folder / files_of(segment.name, segment.kind)[1]
    if not rows.exists():  # a merger has written them already
        segment.rows.array.tofile(rows)
    if segment.index is not None:
        faiss.write_index(segment.index, str(folder / f"{segment.name}.faiss"))
    for name in files_of(segment.name, segment.kind):
        sync_file(folder / name)


def read_segment(name: str, kind: str, dimension: int, folder: Path, dropped: Sequence[int] = ()) -> Segment:
    """Only for files whose digests were verified. Nothing is read before it is searched."""
    keys = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    rows = Rows(folder / files_of(name, kind)[1], dimension)
    index = None if kind == EXACT else faiss.read_index(str(folder / f"{name}.faiss"), faiss.IO_FLAG_MMAP_IFC)
    return Segment(name, kind, keys, rows, index, DocumentNumbers(dropped))


def merge(name: str, segments: Sequence[Segment], folder: Path, large: str = "") -> Segment | None:
    """One segment of all valid rows, written to ``folder``; None when there are none. The rows go from file to file.
    ``large``: the kind that a large one gets, empty for the usual."""
    kept = [(s, slice(None) if s.live is None else np.flatnonzero(s.live)) for s in segments]
    keys = np.concatenate([np.asarray(s.keys[at]) for s, at in kept])
    if not len(keys):
        return None
    kind = kind_for(len(keys), large)
    file = folder / files_of(name, kind)[1]
    with file.open("wb") as out:
        for segment, at in kept:
            _copy_rows(segment, at, np.dtype("<f4" if kind == EXACT else "<f2"), out)
    dimension = segments[0].rows.array.shape[1]
    rows = Rows(file, dimension)
    kind, index = built(kind, rows.array)
    if isinstance(index, faiss.IndexIVF):
        order = by_lists(index)
        keys, rows = keys[order], _in_order(rows, order, file)
    write_segment(Segment(name, kind, keys, rows, index), folder)
    return read_segment(name, kind, dimension, folder)


def _copy_rows(segment: Segment, at: slice | np.ndarray, dtype: np.dtype, out: BinaryIO) -> None:
    positions = np.arange(len(segment))[at]
    for start in range(0, len(positions), _BLOCK):
        np.ascontiguousarray(segment.rows.array[positions[start : start + _BLOCK]], dtype=dtype).tofile(out)


def _in_order(rows: Rows, order: np.ndarray, file: Path) -> Rows:
    """The file written anew in another order, read back."""
    sorted_file = file.with_suffix(f"{file.suffix}.sorted")
    with sorted_file.open("wb") as out:
        for start in range(0, len(order), _BLOCK):
            rows.array[order[start : start + _BLOCK]].tofile(out)
    dimension = rows.array.shape[1]
    sorted_file.rename(file)
    return Rows(file, dimension)
