"""A segment: vectors, the keys of their chunks and, above a size, an index over them. Never changed in place.

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

from indexes.vectors.kinds import EXACT, best_of, kind_for, nearest, sort_by_list
from indexes.vectors.measure import build_measured
from indexes.vectors.rows import MappedRows, MemoryRows, inner_products
from pipeline.disk import sync_file
from pipeline.document_numbers import DocumentNumbers, IdentityToken
from pipeline.questions import ORDINAL_BITS

#: Under a filter that leaves at most this many rows they are all compared: cheaper than proposing, and exact.
FEW_ROWS = 8_000
#: In a segment without an index, where more than this share is selected all rows are compared and the others left out:
#: that reads them in sequence and copies nothing (docs/decisions/0032).
GATHER_SHARE = 0.2
#: Candidates for k results: this many times k, at least `MIN_CANDIDATES`, at most `MAX_MORE` above k.
WIDEN, MIN_CANDIDATES, MAX_MORE = 8, 160, 400
#: Filters whose bitmaps a segment keeps.
FILTERS_KEPT = 16
#: Rows that are copied at a time.
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows that a search may return: ``mask`` one boolean per row, ``bits`` the same packed for FAISS."""

    mask: np.ndarray
    bits: np.ndarray
    count: int

    @classmethod
    def of(cls, mask: np.ndarray) -> Selection:
        """Pack a mask of one boolean per row."""
        return cls(mask, np.packbits(mask, bitorder="little"), int(np.count_nonzero(mask)))


@dataclass(frozen=True, eq=False)
class Segment:
    """Vectors that are searched together.

    ``keys``: int64 of shape (rows,); ``index``: None for the kind "exact"; ``dropped``: documents whose rows are no
    longer valid.
    """

    name: str
    kind: str
    keys: np.ndarray
    rows: MemoryRows
    index: faiss.Index | None = None
    dropped: DocumentNumbers = field(default_factory=DocumentNumbers)
    _lock: Lock = field(default_factory=Lock, repr=False)
    _selections: list[tuple[weakref.ref[IdentityToken], Selection | None]] = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return len(self.keys)

    def without(self, dropped: DocumentNumbers) -> Segment:
        """Return the same files with another list of dropped documents."""
        segment = Segment(self.name, self.kind, self.keys, self.rows, self.index, dropped)
        segment.__dict__["documents"] = self.documents  # the keys are the same
        return segment

    @cached_property
    def documents(self) -> DocumentNumbers:
        """Documents that have rows here, dropped ones included."""
        return DocumentNumbers(self.keys >> ORDINAL_BITS)

    @cached_property
    def live(self) -> np.ndarray | None:
        """One boolean per row, or None where every row is valid."""
        return ~self.dropped.member(self.keys >> ORDINAL_BITS) if len(self.dropped) else None

    @cached_property
    def live_count(self) -> int:
        """How many rows are valid."""
        return len(self) if self.live is None else int(np.count_nonzero(self.live))

    def selection(self, allowed: DocumentNumbers | None) -> Selection | None:
        """Return the valid rows of the allowed documents; None for all rows. Kept while ``allowed`` lives."""
        if allowed is None:
            return self._valid
        with self._lock:
            recent = {token: selection for ref, selection in self._selections if (token := ref()) is not None}
        if allowed.token in recent:
            return recent[allowed.token]
        previous = self._unaffected_origin(allowed, recent)
        if previous is not None:
            selection = recent[previous]
        else:
            mask = allowed.member(self.keys >> ORDINAL_BITS)
            if self.live is not None:
                mask &= self.live
            selection = None if mask.all() else Selection.of(mask)
        with self._lock:
            alive = [entry for entry in self._selections if entry[0]() is not None]
            self._selections[:] = [(weakref.ref(allowed.token), selection), *alive][:FILTERS_KEPT]
        return selection

    @cached_property
    def _valid(self) -> Selection | None:
        return None if self.live is None else Selection.of(self.live)

    def _unaffected_origin(self, allowed: DocumentNumbers, recent: Collection[IdentityToken]) -> IdentityToken | None:
        """Return the known set that ``allowed`` was derived from, if they differ in no document of this segment."""
        if allowed.derived_from is None:
            return None
        origin, difference = allowed.derived_from
        return origin if origin in recent and self.documents.isdisjoint(difference) else None

    def search(self, query: np.ndarray, k: int, allowed: DocumentNumbers | None) -> tuple[np.ndarray, np.ndarray]:
        """Return (chunk keys, scores) of the best ``k`` allowed rows, in no order. ``query``: float32 (dimension,)."""
        selection = self.selection(allowed)
        count = len(self) if selection is None else selection.count
        if not count:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        if self.index is None and count > GATHER_SHARE * len(self):
            scores = inner_products(self.rows.array, query)
            positions = np.arange(len(self)) if selection is None else np.flatnonzero(selection.mask)
            scores = scores if selection is None else scores[positions]
        elif selection is not None and (self.index is None or count <= max(FEW_ROWS, k)):
            positions, scores = self._compare(query, k, selection)
        else:
            positions, scores = self._propose(query, k, selection)
        if len(scores) > k:
            best = np.argpartition(-scores, k - 1)[:k]
            positions, scores = positions[best], scores[best]
        return self.keys[positions], scores

    def _compare(self, query: np.ndarray, k: int, selection: Selection) -> tuple[np.ndarray, np.ndarray]:
        """Compare all selected rows; return positions and scores of these, or of the best ``k``.

        In a segment whose rows may stay in memory FAISS checks every row's bit and compares rows where they are
        stored; of a larger one the rows are copied together.
        """
        if self.index is not None and self.rows.may_stay:
            return best_of(self.rows.index, query.reshape(1, -1), min(k, selection.count), selection.bits)
        positions = np.flatnonzero(selection.mask)
        copied = self.rows.copied(positions)
        if self.index is None:
            return positions, inner_products(copied.array, query)
        best, scores = best_of(copied.index, query.reshape(1, -1), min(k, selection.count))
        return positions[best], scores

    def _propose(self, query: np.ndarray, k: int, selection: Selection | None) -> tuple[np.ndarray, np.ndarray]:
        """Let the index propose candidates; return positions and scores of the best ``k`` by the stored rows."""
        count = min(max(WIDEN * k, MIN_CANDIDATES), k + MAX_MORE)
        bits, share = (None, 1.0) if selection is None else (selection.bits, selection.count / len(self))
        positions, scores = nearest(self._refined, query.reshape(1, -1), count, bits, share)
        self.rows.mark_read(positions)
        return positions[:k], scores[:k]

    @cached_property
    def _refined(self) -> faiss.IndexRefine:
        return faiss.IndexRefine(self.index, self.rows.index)


def make_segment(name: str, keys: np.ndarray, rows: np.ndarray, kind: str | None = None, large: str = "") -> Segment:
    """Build a segment in memory of float32 ``rows`` (n, dimension) with int64 ``keys`` (n,).

    ``kind`` None: what its size requires; ``large``: the kind of a large one, empty for the usual one.
    """
    kind = kind or kind_for(len(rows), large)
    stored = np.ascontiguousarray(rows, dtype=np.float32 if kind == EXACT else np.float16)
    kind, index = build_measured(kind, stored)
    if isinstance(index, faiss.IndexIVF):
        order = sort_by_list(index)
        keys, stored = keys[order], stored[order]
    return Segment(name, kind, keys.astype(np.int64), MemoryRows(stored), index)


def files_of(name: str, kind: str) -> tuple[str, ...]:
    """Return the names of a segment's files: keys, rows and, if there is one, the index."""
    return (f"{name}.npy", f"{name}.f32") if kind == EXACT else (f"{name}.npy", f"{name}.f16", f"{name}.faiss")


def write_segment(segment: Segment, folder: Path) -> None:
    """Write all files durably. ``folder`` must not be visible to readers yet."""
    np.save(folder / f"{segment.name}.npy", segment.keys)
    rows = folder / files_of(segment.name, segment.kind)[1]
    if not rows.exists():  # a merge has written them already
        segment.rows.array.tofile(rows)
    if segment.index is not None:
        faiss.write_index(segment.index, str(folder / f"{segment.name}.faiss"))
    for name in files_of(segment.name, segment.kind):
        sync_file(folder / name)


def read_segment(name: str, kind: str, dimension: int, folder: Path, dropped: Sequence[int] = ()) -> Segment:
    """Map a segment's files, whose digests must have been verified. Nothing is read before it is searched."""
    keys = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    rows = MappedRows(folder / files_of(name, kind)[1], dimension)
    index = None if kind == EXACT else faiss.read_index(str(folder / f"{name}.faiss"), faiss.IO_FLAG_MMAP_IFC)
    return Segment(name, kind, keys, rows, index, DocumentNumbers(dropped))


def merge(name: str, segments: Sequence[Segment], folder: Path, large: str = "") -> Segment | None:
    """Merge all valid rows into one segment, written to ``folder``; None where there are none.

    The rows go from file to file. ``large``: the kind of a large segment, empty for the usual one.
    """
    keys = np.concatenate([s.keys if s.live is None else s.keys[s.live] for s in segments])
    if not len(keys):
        return None
    kind = kind_for(len(keys), large)
    file = folder / files_of(name, kind)[1]
    with file.open("wb") as out:
        for segment in segments:
            positions = np.arange(len(segment)) if segment.live is None else np.flatnonzero(segment.live)
            _copy_rows(segment.rows.array, positions, np.dtype("<f4" if kind == EXACT else "<f2"), out)
    dimension = segments[0].rows.array.shape[1]
    rows = MappedRows(file, dimension)
    kind, index = build_measured(kind, rows.array)
    if isinstance(index, faiss.IndexIVF):
        order = sort_by_list(index)
        keys, rows = keys[order], _reordered(rows, order, file)
    write_segment(Segment(name, kind, keys, rows, index), folder)
    return read_segment(name, kind, dimension, folder)


def _copy_rows(rows: np.ndarray, positions: np.ndarray, dtype: np.dtype, out: BinaryIO) -> None:
    for start in range(0, len(positions), _BLOCK):
        np.ascontiguousarray(rows[positions[start : start + _BLOCK]], dtype=dtype).tofile(out)


def _reordered(rows: MappedRows, order: np.ndarray, file: Path) -> MappedRows:
    """Rewrite the file in another order, and map it again."""
    sorted_file = file.with_suffix(f"{file.suffix}.sorted")
    with sorted_file.open("wb") as out:
        _copy_rows(rows.array, order, rows.array.dtype, out)
    dimension = rows.array.shape[1]
    sorted_file.rename(file)
    return MappedRows(file, dimension)
