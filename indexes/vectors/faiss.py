"""Vectors in FAISS: a few immutable flat segments, searched together.

A segment is two files: NAME.faiss (IndexFlatIP, rows by position) and NAME.npy (their chunk keys). Positions rather than
FAISS ids keep the filter a plain bitmap. Nothing is ever changed in place: a replaced document's rows stay and are
named in ``dropped`` until the segment is merged.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import faiss
import numpy as np

from pipeline.questions import ORDINAL_BITS, Hit


@dataclass(frozen=True)
class Segment:
    """``dropped`` holds document numbers whose rows here are no longer valid."""

    name: str
    index: faiss.Index
    keys: np.ndarray
    dropped: frozenset[int] = field(default_factory=frozenset)

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def documents(self) -> np.ndarray:
        return self.keys >> ORDINAL_BITS

    @cached_property
    def live(self) -> np.ndarray | None:
        """Boolean per row, or None where every row is valid."""
        return ~np.isin(self.documents, as_array(self.dropped)) if self.dropped else None

    def rows(self) -> np.ndarray:
        """All vectors, shape (n, dimension)."""
        return self.index.reconstruct_n(0, self.index.ntotal)


class FaissVectors:
    """Implements `pipeline.ports.Vectors` over an immutable list of segments."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = tuple(segments)

    def __len__(self) -> int:
        return sum(int(s.live.sum()) if s.live is not None else len(s) for s in self._segments)

    def search(self, vector: np.ndarray, k: int, allowed: Collection[int] | None) -> list[Hit]:
        numbers = as_array(allowed) if allowed is not None else None
        query = np.ascontiguousarray(vector, dtype=np.float32).reshape(1, -1)
        hits = [hit for segment in self._segments for hit in _search(segment, query, k, numbers)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk))[:k]


def _search(segment: Segment, query: np.ndarray, k: int, allowed: np.ndarray | None) -> list[Hit]:
    mask = segment.live
    if allowed is not None:
        member = np.isin(segment.documents, allowed)
        mask = member if mask is None else mask & member
    params, bits = None, None
    if mask is not None:
        if not mask.any():
            return []
        bits = np.packbits(mask, bitorder="little")  # named: FAISS keeps only a pointer to it
        params = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(bits)))
    scores, positions = segment.index.search(query, min(k, len(segment)), params=params)
    return [
        Hit(int(segment.keys[at]), float(score)) for score, at in zip(scores[0], positions[0], strict=True) if at >= 0
    ]


def as_array(numbers: Collection[int]) -> np.ndarray:
    return np.fromiter(numbers, np.int64, len(numbers))


def make_segment(name: str, keys: np.ndarray, rows: np.ndarray) -> Segment:
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(np.ascontiguousarray(rows, dtype=np.float32))
    return Segment(name, index, keys.astype(np.int64))


def write_segment(segment: Segment, folder: Path) -> None:
    """Both files, durable. ``folder`` must not be visible to readers yet."""
    faiss.write_index(segment.index, str(folder / f"{segment.name}.faiss"))
    np.save(folder / f"{segment.name}.npy", segment.keys)
    for suffix in ("faiss", "npy"):
        with (folder / f"{segment.name}.{suffix}").open("rb") as file:
            os.fsync(file.fileno())


def read_segment(name: str, folder: Path, dropped: Collection[int] = ()) -> Segment:
    """Only for files whose digests were verified."""
    index = faiss.read_index(str(folder / f"{name}.faiss"))
    return Segment(name, index, np.load(folder / f"{name}.npy", allow_pickle=False), frozenset(dropped))


def merge(name: str, segments: Sequence[Segment]) -> Segment | None:
    """One segment of all valid rows; None when there are none."""
    keys = [s.keys if s.live is None else s.keys[s.live] for s in segments]
    rows = [s.rows() if s.live is None else s.rows()[s.live] for s in segments]
    all_keys = np.concatenate(keys)
    return make_segment(name, all_keys, np.concatenate(rows)) if len(all_keys) else None
