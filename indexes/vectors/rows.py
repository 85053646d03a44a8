"""Stored vectors, as they lie in memory or in a mapped file: what every score that counts is computed from."""

from __future__ import annotations

import mmap
from functools import cached_property
from pathlib import Path

import faiss
import numpy as np

#: Re-ranking touches pages all over the file, and the kernel maps their neighbours too: windows of 256 KiB or so (measured).
#: After so many windows they are given back to its cache; so many rows are read between two looks.
WINDOW_BITS, WINDOWS_RESIDENT, PIECE = 18, 256, 256


class Memory:
    """Stored vectors of a segment that was made just now: ``array`` (rows, dimension), float16 or float32."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def at(self, positions: np.ndarray) -> np.ndarray:
        """The rows at these positions (sorted) as float32."""
        return as_single(self.array[positions])

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
        self.dtype = np.dtype("<f4" if file.suffix == ".f32" else "<f2")
        with file.open("rb") as opened:
            self._map = mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ)
        super().__init__(np.frombuffer(self._map, self.dtype).reshape(-1, dimension))
        self._windows = 0

    def at(self, positions: np.ndarray) -> np.ndarray:
        rows = np.empty((len(positions), self.array.shape[1]), np.float32)
        for start in range(0, len(positions), PIECE):
            some = positions[start : start + PIECE]
            rows[start : start + PIECE] = as_single(self.array[some])
            self.were_read(some)
        return rows

    def were_read(self, positions: np.ndarray) -> None:
        touched = np.zeros((self.array.nbytes >> WINDOW_BITS) + 1, bool)
        touched[positions * self.array.strides[0] >> WINDOW_BITS] = True
        self._windows += np.count_nonzero(touched)
        if self._windows > WINDOWS_RESIDENT:
            self._windows = 0
            self._map.madvise(mmap.MADV_DONTNEED)  # they stay in the kernel's cache


def as_single(rows: np.ndarray) -> np.ndarray:
    """float16 as float32, three times as quick as numpy does it: sign, exponent and fraction are put in their places, and
    the difference of the exponents' biases is multiplied in. Finite values only; float32 is given back as it is."""
    if rows.dtype != np.float16:
        return rows
    bits = rows.view(np.uint16).astype(np.uint32)
    bits <<= 16
    shifted = (bits.view(np.int32) >> 3) & np.int32(-0x70000001)
    return shifted.view(np.float32) * np.float32(2.0 ** (127 - 15))


def inner_products(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Of every row with the query, both float32, in this thread alone: BLAS shares out even so little among all cores and
    waits for the last of them, which on a busy machine takes twenty times as long."""
    scores = np.empty(len(rows), np.float32)
    given = (faiss.swig_ptr(each) for each in (scores, query, rows))
    faiss.fvec_inner_products_ny(*given, rows.shape[1], len(rows))
    return scores
