"""Nearest neighbours in Milvus."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from indexes.milvus.filter import DocumentFilter
from indexes.milvus.server import Server
from pipeline.document_numbers import DocumentNumbers
from pipeline.questions import Hit, Hits


class MilvusVectors:
    """Implements `pipeline.ports.Vectors`.

    ``chunks``: the collection; ``count``: chunks with a vector; ``complete``: every chunk has one.
    """

    def __init__(
        self, server: Server, chunks: str, document_filter: DocumentFilter, count: int, complete: bool
    ) -> None:
        self._server, self._chunks, self._filter = server, chunks, document_filter
        self._count, self._complete = count, complete

    def __len__(self) -> int:
        return self._count

    def search(self, vector: np.ndarray, k: int, allowed: Collection[int] | None) -> Sequence[Hit]:
        """Return the ``k`` nearest chunks of allowed documents, best first."""
        if not self._count:
            return []
        query = np.asarray(vector, np.float32).tolist()

        def nearest(expression: str, limit: int) -> Hits:
            parts = [part for part in (expression, "" if self._complete else "embedded == true") if part]
            return search_field(self._server, self._chunks, query, "vector", "IP", " and ".join(parts), limit)

        return self._filter.best(nearest, k, DocumentNumbers.of(allowed) if allowed is not None else None)


def search_field(
    server: Server, collection: str, query: object, field: str, metric: str, expression: str, limit: int
) -> Hits:
    """Search one field of a collection of chunks; returns at most ``limit`` hits, best first.

    ``query``: a vector, or for the metric "BM25" a text of tokens; ``expression``: a filter, empty for none.
    """
    options = {"anns_field": field, "limit": limit, "filter": expression, "search_params": {"metric_type": metric}}
    (rows,) = server.call("search", collection, [query], **options)
    keys = np.array([row["key"] for row in rows], np.int64)
    scores = np.array([row["distance"] for row in rows], np.float64)
    # milvus-lite returns BM25 scores with a minus sign; they are never negative
    return Hits(keys, np.abs(scores) if metric == "BM25" else scores)
