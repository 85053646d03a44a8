"""The specification of Vectors: exact inner products over arrays."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from pipeline.questions import ORDINAL_BITS, Hit


class MemoryVectors:
    """``keys``: int64 of shape (n,), chunk keys. ``rows``: float32 of shape (n, dimension)."""

    def __init__(self, keys: np.ndarray, rows: np.ndarray) -> None:
        self._keys, self._rows = keys, rows

    def __len__(self) -> int:
        return len(self._keys)

    def search(self, vector: np.ndarray, k: int, allowed: Collection[int] | None) -> list[Hit]:
        scores = self._rows @ vector
        keep = np.arange(len(self._keys))
        if allowed is not None:
            keep = keep[np.isin(self._keys >> ORDINAL_BITS, np.fromiter(allowed, np.int64, len(allowed)))]
        best = keep[np.argsort(-scores[keep], kind="stable")[:k]]
        return [Hit(int(self._keys[i]), float(scores[i])) for i in best]
