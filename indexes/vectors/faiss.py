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
        if not self.segments:
            return []
        numbers = DocumentNumbers.of(allowed) if allowed is not None else None
        query = np.ascontiguousarray(vector, dtype=np.float32).reshape(-1)
        found = [segment.search(query, k, numbers) for segment in self.segments]
        keys = np.concatenate([each[0] for each in found])
        scores = np.concatenate([each[1] for each in found])
        best = np.argsort(-scores, kind="stable")[:k]  # quick where they are sorted already
        if np.any(scores[best[1:]] == scores[best[:-1]]):
            best = np.lexsort((keys, -scores))[:k]  # of equal ones the lower key first, so that pages are stable
        return Hits(keys[best], scores[best])
