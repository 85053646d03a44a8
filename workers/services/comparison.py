"""Comparison of two embedding models: the same queries on the indexes of both."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.answer import Finder
from pipeline.documents import EmbeddingModel
from pipeline.errors import Refused
from pipeline.evaluate import percentile
from pipeline.questions import ADMINISTRATOR, SearchRequest
from workers.services.active_embedder import Embedders
from workers.services.rebuild import candidate_folder, is_ready

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue
    from indexes.places import Indexes
    from pipeline.ports import IndexReader


@dataclass(frozen=True, slots=True)
class ModelHits:
    """The hits of one model: ``tops`` are the chunk keys of the best hits for each query.

    Times are milliseconds of a search, the embedding of the query included.
    """

    model: str
    tops: tuple[tuple[int, ...], ...]
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """Hits for the same queries, of the model that serves (first) and of a candidate."""

    queries: tuple[str, ...]
    sides: tuple[ModelHits, ModelHits]
    k: int

    @property
    def shares(self) -> list[float]:
        """The share of the best hits that both models have, for each query; 1 if both have none."""
        pairs = zip(self.sides[0].tops, self.sides[1].tops, strict=True)
        return [len(set(a) & set(b)) / max(len(a), len(b), 1) if a or b else 1.0 for a, b in pairs]

    @property
    def overlap(self) -> float:
        """The mean of `shares`."""
        return sum(self.shares) / len(self.shares)

    @property
    def same_first(self) -> float:
        """The share of queries for which both have the same best hit."""
        pairs = zip(self.sides[0].tops, self.sides[1].tops, strict=True)
        return sum(a[:1] == b[:1] for a, b in pairs) / len(self.queries)

    def most_different(self, count: int) -> list[tuple[str, float]]:
        """Return the queries with the smallest shares, smallest first."""
        return sorted(zip(self.queries, self.shares, strict=True), key=lambda pair: pair[1])[:count]

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as JSON for the command line."""
        latency = [{"model": s.model, "p50_ms": round(s.p50_ms, 2), "p95_ms": round(s.p95_ms, 2)} for s in self.sides]
        mean = {"overlap": round(self.overlap, 4), "same_first": round(self.same_first, 4), "k": self.k}
        return {**mean, "models": latency, "queries": dict(zip(self.queries, self.shares, strict=True))}


class EmbedderComparison:
    """Runs the same queries on the index that serves and on a candidate model's index."""

    def __init__(self, catalogue: Catalogue, indexes: Indexes, reader: IndexReader, embedders: Embedders) -> None:
        self._catalogue, self._indexes, self._reader, self._embedders = catalogue, indexes, reader, embedders

    def compare(self, candidate: EmbeddingModel, requests: Sequence[SearchRequest], k: int) -> ModelComparison:
        """Return the ``k`` best hits of both models for each request, whatever page a request asks for.

        Raises Refused("conflict") before the candidate's index is ready, or if an index is empty.
        """
        root = self._indexes.root
        if not is_ready(root, candidate):
            raise Refused(
                "conflict", f"The index of {candidate.model} is not ready; see `mailroom index model status`."
            )
        requests = [replace(request, k=k, offset=0) for request in requests]
        serving = self._side(self._reader, self._embedders.serving_model(), requests)
        other = self._side(self._indexes.reader(candidate_folder(root, candidate.digest)), candidate, requests)
        return ModelComparison(tuple(request.query for request in requests), (serving, other), k)

    def _side(self, reader: IndexReader, model: EmbeddingModel, requests: Sequence[SearchRequest]) -> ModelHits:
        if not len(reader.snapshot().numbers):
            raise Refused(
                "conflict", f"The index of {model.model} holds nothing that can be read; see `mailroom index status`."
            )
        finder = Finder(self._catalogue.documents, self._catalogue.chunks, reader, self._embedders.load(model))
        finder.search(ADMINISTRATOR, requests[0])  # files and model are opened by the first
        tops, times = [], []
        for request in requests:
            started = time.perf_counter()
            result = finder.search(ADMINISTRATOR, request)
            times.append(1000 * (time.perf_counter() - started))
            tops.append(tuple(passage.chunk for passage in result.passages))
        return ModelHits(model.model, tuple(tops), percentile(times, 0.5), percentile(times, 0.95))
