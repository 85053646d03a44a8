"""Stored vectors, in memory or in a mapped file: every score that counts is computed from them."""

from __future__ import annotations

import mmap
import os
import weakref
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from pipeline.errors import Misconfigured

#: Re-ranking touches pages all over the file, and the kernel maps their neighbours too: windows of about 256 KiB
#: (measured). After this many windows they are released to its cache.
WINDOW_BITS, WINDOWS_RESIDENT = 18, 512


def check_vectors(number: int, vectors: np.ndarray | None, chunks: int, dimension: int) -> None:
    """Raise Misconfigured("bad-index") unless vectors are None, or finite and of shape (chunks, dimension)."""
    if vectors is not None and (vectors.shape != (chunks, dimension) or not np.isfinite(vectors).all()):
        raise Misconfigured("bad-index", f"document {number}: vectors {vectors.shape} do not fit its chunks")


class MemoryRows:
    """Stored vectors of a new segment: ``array`` of shape (rows, dimension), float16 or float32."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    @property
    def may_stay(self) -> bool:
        """True where reading every row leaves no more in this process than it may hold."""
        return True

    def copied(self, positions: np.ndarray) -> MemoryRows:
        """Return the rows at these positions, in their stored format."""
        return MemoryRows(self.array[positions])

    def mark_read(self, positions: np.ndarray) -> None:
        """Note that these rows were read where they are stored."""

    @cached_property
    def index(self) -> faiss.IndexScalarQuantizer:
        """Rows of float16 as a FAISS index that compares them where they are stored, without a copy (QT_fp16)."""
        rows, dimension = self.array.shape
        index = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        # A view of what this object keeps alive. `create_view` would do this, but needs an owner that Python cannot
        # make.
        codes: Any = index.codes  # whose type stub lacks the fields
        index.ntotal = rows
        codes.is_owned, codes.view_data, codes.view_size = False, faiss.swig_ptr(self._bytes), self._bytes.size
        codes.c_ptr, codes.c_size = codes.view_data, codes.view_size
        assert index.codes.size() == rows * index.code_size
        return index

    @cached_property
    def _bytes(self) -> np.ndarray:
        return self.array.view(np.uint8).reshape(-1)


class MappedRows(MemoryRows):
    """Stored vectors mapped from a file (.f32 or .f16), whose pages do not accumulate in this process."""

    def __init__(self, file: Path, dimension: int) -> None:
        dtype = np.dtype("<f4" if file.suffix == ".f32" else "<f2")
        self._file = os.open(file, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self._map = mmap.mmap(self._file, 0, prot=mmap.PROT_READ)
        super().__init__(np.frombuffer(self._map, dtype).reshape(-1, dimension))
        self._resident = np.zeros((self.array.nbytes >> WINDOW_BITS) + 1, bool)  # windows that were read

    @property
    def may_stay(self) -> bool:
        """True for a file of few windows."""
        return len(self._resident) <= WINDOWS_RESIDENT

    def copied(self, positions: np.ndarray) -> MemoryRows:
        """Return the rows at these positions, in their stored format."""
        if self.may_stay:
            return super().copied(positions)
        # Read, not mapped: mapping a page with its neighbours for each of some thousand rows takes many times as long.
        size = self.array.strides[0]
        content = b"".join([os.pread(self._file, size, offset) for offset in (positions * size).tolist()])
        return MemoryRows(np.frombuffer(content, self.array.dtype).reshape(len(positions), -1))

    def mark_read(self, positions: np.ndarray) -> None:
        """Note that these rows were read; release the pages to the kernel's cache where there are too many."""
        self._resident[positions * self.array.strides[0] >> WINDOW_BITS] = True
        if np.count_nonzero(self._resident) > WINDOWS_RESIDENT:
            self._resident[:] = False
            self._map.madvise(mmap.MADV_DONTNEED)


def inner_products(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the inner product of every row with the query, float32 of shape (rows,), computed in this thread alone.

    BLAS shares out even so little work among all cores and waits for the last of them, which on a busy machine takes
    twenty times as long. ``rows`` and ``query``: float32, contiguous.
    """
    scores = np.empty(len(rows), np.float32)
    pointers = (faiss.swig_ptr(array) for array in (scores, query, rows))
    functions: Any = faiss  # whose type stub lacks this one
    functions.fvec_inner_products_ny(*pointers, rows.shape[1], len(rows))
    return scores
