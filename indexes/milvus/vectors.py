"""Nearest neighbours in Milvus."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from indexes.milvus.limit import Limit
from indexes.milvus.server import Server
from pipeline.document_numbers import DocumentNumbers
from pipeline.questions import Hit, Hits


class MilvusVectors:
    """Implements `pipeline.ports.Vectors`. ``count``: the passages with vectors; ``bare``: whether there are others."""

    def __init__(self, server: Server, passages: str, limit: Limit, count: int, bare: bool) -> None:
        self._server, self._passages, self._limit = server, passages, limit
        self._count, self._bare = count, bare

    def __len__(self) -> int:
        return self._count

    def search(self, vector: np.ndarray, k: int, allowed: Collection[int] | None) -> Sequence[Hit]:
        if not self._count:
            return Hits([], [])
        asked = np.asarray(vector, np.float32).tolist()

        def near(expression: str, limit: int) -> Hits:
            parts = [part for part in (expression, "bare == false" if self._bare else "") if part]
            return found(self._server, self._passages, asked, "vector", "IP", " and ".join(parts), limit)

        return self._limit.best(near, k, DocumentNumbers.of(allowed) if allowed is not None else None)


def found(server: Server, collection: str, asked: object, field: str, metric: str, expression: str, limit: int) -> Hits:
    """One search, best first. milvus-lite gives BM25 scores with a minus sign; they are never negative."""
    given = {"anns_field": field, "limit": limit, "filter": expression, "search_params": {"metric_type": metric}}
    (hits,) = server.call("search", collection, [asked], **given)
    scores = np.array([hit["distance"] for hit in hits], np.float64)
    return Hits([hit["key"] for hit in hits], np.abs(scores) if metric == "BM25" else scores)
