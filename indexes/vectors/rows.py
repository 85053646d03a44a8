"""Stored vectors, as they lie in memory or in a mapped file: what every score that counts is computed from."""

from __future__ import annotations

import mmap
import os
import weakref
from functools import cached_property
from pathlib import Path

import faiss
import numpy as np

#: Re-ranking touches pages all over the file, and the kernel maps their neighbours too: windows of 256 KiB or so (measured).
#: After so many windows they are given back to its cache.
WINDOW_BITS, WINDOWS_RESIDENT = 18, 512


class Memory:
    """Stored vectors of a segment that was made just now: ``array`` (rows, dimension), float16 or float32. ``may_stay``: whether
    reading all of them leaves no more in this process than it may hold."""

    may_stay = True

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def copied(self, positions: np.ndarray) -> Memory:
        """The rows at these positions, as they are stored."""
        return Memory(self.array[positions])

    def were_read(self, positions: np.ndarray) -> None:
        """Told of every row that was read where it lies."""

    @cached_property
    def compared(self) -> faiss.IndexScalarQuantizer:
        """Rows of float16 as an index that compares them where they lie, without a copy: FAISS calls the format QT_fp16."""
        rows, dimension = self.array.shape
        index = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        # A view of what this object keeps alive. `create_view` says the same, but wants an owner that Python cannot make.
        codes, index.ntotal = index.codes, rows
        codes.is_owned, codes.view_data, codes.view_size = False, faiss.swig_ptr(self._bytes), self._bytes.size
        codes.c_ptr, codes.c_size = codes.view_data, codes.view_size
        assert index.codes.size() == rows * index.code_size
        return index

    @cached_property
    def _bytes(self) -> np.ndarray:
        return self.array.view(np.uint8).reshape(-1)


class Rows(Memory):
    """Stored vectors, mapped from a file, whose pages do not pile up in this process."""

    def __init__(self, file: Path, dimension: int) -> None:
        dtype = np.dtype("<f4" if file.suffix == ".f32" else "<f2")
        self._file = os.open(file, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self._map = mmap.mmap(self._file, 0, prot=mmap.PROT_READ)
        super().__init__(np.frombuffer(self._map, dtype).reshape(-1, dimension))
        self._resident = np.zeros((self.array.nbytes >> WINDOW_BITS) + 1, bool)  # windows that were read

    @property
    def may_stay(self) -> bool:
        return len(self._resident) <= WINDOWS_RESIDENT

    def copied(self, positions: np.ndarray) -> Memory:
        if self.may_stay:
            return super().copied(positions)
        # Read, not mapped: mapping a page with its neighbours for each of some thousand rows takes many times as long.
        size = self.array.strides[0]
        rows = b"".join([os.pread(self._file, size, at) for at in (positions * size).tolist()])
        return Memory(np.frombuffer(rows, self.array.dtype).reshape(len(positions), -1))

    def were_read(self, positions: np.ndarray) -> None:
        self._resident[positions * self.array.strides[0] >> WINDOW_BITS] = True
        if np.count_nonzero(self._resident) > WINDOWS_RESIDENT:
            self._resident[:] = False
            self._map.madvise(mmap.MADV_DONTNEED)  # they stay in the kernel's cache


def inner_products(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Of every row with the query, both float32, in this thread alone: BLAS shares out even so little among all cores and
    waits for the last of them, which on a busy machine takes twenty times as long."""
    scores = np.empty(len(rows), np.float32)
    given = (faiss.swig_ptr(each) for each in (scores, query, rows))
    faiss.fvec_inner_products_ny(*given, rows.shape[1], len(rows))
    return scores
