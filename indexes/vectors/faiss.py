"""Vectors in FAISS: immutable segments, searched together."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from indexes.vectors.segments import Segment
from pipeline.document_numbers import DocumentNumbers
from pipeline.questions import Hit, Hits


class FaissVectors:
    """Implements `pipeline.ports.Vectors` over an immutable list of segments."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = tuple(segments)

    def __len__(self) -> int:
        return sum(segment.live_count for segment in self.segments)

    def search(self, vector: np.ndarray, k: int, allowed: Collection[int] | None) -> Sequence[Hit]:
        """Return the ``k`` nearest chunks of allowed documents, best first; of equal ones the lower key first."""
        if not self.segments:
            return []
        numbers = DocumentNumbers.of(allowed) if allowed is not None else None
        query = np.ascontiguousarray(vector, dtype=np.float32).reshape(-1)
        results = [segment.search(query, k, numbers) for segment in self.segments]
        keys = np.concatenate([keys for keys, _ in results])
        scores = np.concatenate([scores for _, scores in results])
        best = np.argsort(-scores, kind="stable")[:k]  # fast where they are sorted already
        if np.any(scores[best[1:]] == scores[best[:-1]]):
            best = np.lexsort((keys, -scores))[:k]  # so that pages are stable
        return Hits(keys[best], scores[best])
