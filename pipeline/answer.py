"""Search and question answering: the path of a query, readable from top to bottom.

search: who may see what (from the catalogue, before retrieval, deny by default) -> vector hits + lexical hits from one
immutable snapshot -> fusion -> passages whose texts come from the catalogue, each content once -> rerank, if a reranker
is configured.
ask: search -> read (quote only) -> check every quote -> an answer, or "not found" with the nearest passages.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import numpy as np

from pipeline import facets
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk, Head
from pipeline.errors import Refused
from pipeline.facets import Facet, Facets
from pipeline.fuse import fuse, rerank_order
from pipeline.gather import HitCollector, ResolvedHit
from pipeline.ports import Embedder, IndexReader, Reranker, Snapshot
from pipeline.query import Query, parse
from pipeline.questions import (
    ORDINAL_BITS,
    Answer,
    Caller,
    Filters,
    Hit,
    Hits,
    Passage,
    Quote,
    SearchRequest,
    SearchResult,
)
from pipeline.read import FLOOR, read

MODES = ("hybrid", "lexical", "vector")
MAX_K = 100
MAX_DEPTH = 1000
#: Retrievals of one search at most.
MAX_ROUNDS = 10
#: Facets are counted over this many of the best passages: up to this number the counts are exact.
FACET_DEPTH = 50_000
#: Texts fetched at a time while a page fills, at least and at most; between these, 1.5 times the missing number.
FEWEST_TEXTS, MOST_TEXTS = 16, 128
#: Passages that the reader looks at.
READ_PASSAGES = 12
NOT_FOUND = "Not found in your documents."


class ReadableDocuments(Protocol):
    """Finds the documents that a caller may read and counts their facets: see
    `indexes.catalogue.documents.DocumentStore`."""

    def visible(self, caller: Caller, filters: Filters) -> DocumentNumbers:
        """Return the numbers of the searchable documents that the caller may read and that pass the filters."""

    def same_content(self, numbers: Collection[int]) -> DocumentNumbers:
        """Return the numbers of all other documents with the content of one of these."""

    def facets(
        self,
        caller: Caller,
        filters: Filters,
        names: Sequence[str],
        limit: int = 20,
        among: DocumentNumbers | None = None,
    ) -> tuple[Facet, ...]:
        """Count the values of the named facets over the documents ``among`` that pass; ``limit`` values each."""


class ChunkTexts(Protocol):
    """Reads the texts of hits: see `indexes.catalogue.chunks.ChunkStore`."""

    def with_documents(self, keys: Collection[int]) -> dict[int, tuple[Chunk, Head]]:
        """Return the chunks that exist, by key, with their documents."""


@dataclass(frozen=True, slots=True)
class Reranking:
    """A reranker, how many of the best passages it reads, and whether it does so if the request does not say."""

    reranker: Reranker
    passages: int = 20
    by_default: bool = True

    def apply(self, query: str, hits: list[ResolvedHit]) -> list[ResolvedHit]:
        """Return the hits with the best ones reranked. The hit's score stays the fused one."""
        head, tail = hits[: self.passages], hits[self.passages :]
        scores = self.reranker.scores(query, [hit.chunk.text_with_heading for hit in head])
        order = rerank_order([hit.hit.score for hit in head], scores.tolist())
        return [replace(head[i], scores={**head[i].scores, "rerank": float(scores[i])}) for i in order] + tail


@dataclass(frozen=True, slots=True)
class Visibility:
    """The documents that a caller may read, and those of them that pass the filters: the same object without
    filters."""

    readable: DocumentNumbers
    allowed: DocumentNumbers


class Finder:
    """Search and answers for one installation. Thread-safe if its parts are.

    Without ``reranking`` the fused ranking is final. ``embedder_of`` returns, by digest, the model of an index that was
    not built with ``embedder``; if it returns None, such an index is searched by words alone.
    """

    def __init__(
        self,
        documents: ReadableDocuments,
        chunks: ChunkTexts,
        reader: IndexReader,
        embedder: Embedder,
        reranking: Reranking | None = None,
        embedder_of: Callable[[str], Embedder | None] = lambda digest: None,
    ) -> None:
        self._documents, self._chunks, self._reader, self._embedder = documents, chunks, reader, embedder
        self._embedder_of = embedder_of
        self._reranking = reranking

    def search(self, caller: Caller, request: SearchRequest) -> SearchResult:
        """Return a page of passages that the caller may read. Raises Refused for a request out of bounds or a bad
        query."""
        check(request)
        query = parse(request.query, request.plain)
        index = self._reader.snapshot()
        visibility = self._visibility(caller, request.filters)
        end = request.offset + request.k
        collector = HitCollector(request, query, None if request.plain or not query.strict else index.lexical)
        # A query of codes and phrases asks for a spelling; a reranker would judge the meaning.
        reranking = self._reranking_for(request) if query.spelling < 1.0 else None
        # The ranking never depends on the requested page, or a passage would be on two pages or on none.
        depth = max(end, reranking.passages) if reranking else end
        is_exact = self._fill(collector, index, request, query, visibility, depth)
        ranked = reranking.apply(request.query, collector.hits) if reranking else collector.hits
        passages = tuple(
            hit.passage(index.lexical.highlights(query, hit.chunk.text, visibility.readable))
            for hit in ranked[request.offset : end]
        )
        return SearchResult(passages, len(ranked), is_exact, index.generation, self._reader.stale)

    def validate(self, caller: Caller, request: SearchRequest, names: Sequence[str] = (), limit: int = 20) -> None:
        """Raise Refused as a search with these facets would, without searching."""
        check(request)
        facets.check(names, limit)
        parse(request.query, request.plain)
        self._documents.visible(caller, request.filters)

    def facets(self, caller: Caller, request: SearchRequest, names: Sequence[str], limit: int = 20) -> Facets:
        """Count facet values over the documents that the caller may read, that pass the filters and that contain the
        query's words, up to FACET_DEPTH passages. With mode "vector", or if no document has the words, count over the
        documents of the nearest passages."""
        check(request)
        facets.check(names, limit)
        query = parse(request.query, request.plain)
        index = self._reader.snapshot()
        visibility = self._visibility(caller, request.filters)
        by_words, hits = request.mode != "vector", Hits.of(())
        if by_words and visibility.allowed:
            hits = Hits.of(index.lexical.search(query, FACET_DEPTH, visibility.allowed, visibility.readable))
        if visibility.allowed and not len(hits) and not query.strict:
            by_words = False
            hits = fuse(self._retrieve(index, request, query, visibility))
        numbers = DocumentNumbers(hits.keys >> ORDINAL_BITS)
        counts = self._documents.facets(caller, request.filters, names, limit, numbers)
        return Facets(counts, len(numbers), by_words and len(hits) < FACET_DEPTH)

    def ask(self, caller: Caller, question: str, filters: Filters | None = None, k: int = 5) -> Answer:
        """Return quotes that answer the question, or answered=False with the ``k`` nearest passages."""
        request = SearchRequest(question, READ_PASSAGES, filters=filters or Filters(), plain=True)
        passages = self.search(caller, request).passages
        quotes, confidence = read(question, passages, self._embedder)
        quotes = check_quotes(quotes, passages)
        if not quotes or confidence < FLOOR:
            return Answer(question, False, NOT_FOUND, (), passages[:k], confidence)
        return Answer(question, True, " ".join(q.text for q in quotes), quotes, passages[:k], confidence)

    def _visibility(self, caller: Caller, filters: Filters) -> Visibility:
        readable = self._documents.visible(caller, Filters())
        return Visibility(readable, self._documents.visible(caller, filters) if filters != Filters() else readable)

    def _retrieve(
        self, index: Snapshot, request: SearchRequest, query: Query, visibility: Visibility
    ) -> dict[str, Sequence[Hit]]:
        """Return ranked hits by part. Each index applies the filter itself, before ranking."""
        parts: dict[str, Sequence[Hit]] = {}
        if request.mode != "vector":
            parts["lexical"] = index.lexical.search(query, MAX_DEPTH, visibility.allowed, visibility.readable)
        embedder = self._embedder if index.embedder in ("", self._embedder.digest) else None
        if query.meaning and request.mode != "lexical" and (embedder := embedder or self._embedder_of(index.embedder)):
            vector = embedder.embed([query.meaning])[0]
            parts["vector"] = index.vectors.search(vector, MAX_DEPTH, visibility.allowed)
        return parts

    def _fill(
        self,
        collector: HitCollector,
        index: Snapshot,
        request: SearchRequest,
        query: Query,
        visibility: Visibility,
        depth: int,
    ) -> bool:
        """Collect up to ``depth`` hits or some more; return True if these are all that there are.

        Where one content is in more places than an index returns, its copies would leave no room for other hits: then
        the rest is retrieved without the copies of what is collected already, and follows it.
        """
        read = np.zeros(0, np.int64)
        for _ in range(MAX_ROUNDS):
            parts = self._retrieve(index, request, query, visibility) if visibility.allowed else {}
            hits = fuse(parts, query.spelling)
            is_complete = self._collect(collector, hits[~np.isin(hits.keys, read)], parts, visibility.allowed, depth)
            is_cut_off = any(len(hits) >= MAX_DEPTH for hits in parts.values())
            if not (is_cut_off and collector.representatives and len(collector.hits) < depth):
                return is_complete and not is_cut_off
            read = np.concatenate([read, hits.keys])
            copies = self._documents.same_content(collector.representatives) & visibility.allowed
            if not copies:
                break
            visibility = Visibility(visibility.readable, visibility.allowed - copies)
        return False

    def _collect(
        self,
        collector: HitCollector,
        hits: Sequence[Hit],
        parts: Mapping[str, Sequence[Hit]],
        allowed: DocumentNumbers,
        depth: int,
    ) -> bool:
        """Read texts until ``depth`` hits or some more are collected; return False if hits are left unread. Texts come
        from the catalogue: what was deleted or forbidden since the snapshot is dropped here."""
        worth_reading = collector.worth_reading(hits)
        while (missing := depth - len(collector.hits)) > 0:
            batch = list(islice(worth_reading, min(MOST_TEXTS, max(FEWEST_TEXTS, 3 * missing // 2))))
            if not batch:
                return True
            keys = [hit.chunk for hit in batch]
            texts = self._chunks.with_documents(keys)
            scores_by_part = {part: Hits.of(ranking).among(keys).score_of for part, ranking in parts.items()}
            for hit in batch:
                if hit.chunk in texts and hit.document_number in allowed:
                    scores = {part: by[hit.chunk] for part, by in scores_by_part.items() if hit.chunk in by}
                    collector.add(ResolvedHit(hit, *texts[hit.chunk], {**scores, "fused": hit.score}))
        return next(worth_reading, None) is None

    def _reranking_for(self, request: SearchRequest) -> Reranking | None:
        """Return the reranking for this request, if any.

        Raises Refused("contradictory") if the request requires one and none is configured.
        """
        if request.rerank and self._reranking is None:
            raise Refused("contradictory", "rerank: no reranker serves here; the setting models.reranker names one.")
        if self._reranking is None:
            return None
        enabled = self._reranking.by_default if request.rerank is None else request.rerank
        return self._reranking if enabled else None


def check(request: SearchRequest) -> None:
    """Raise Refused("bad-request") for a request out of bounds."""
    if request.mode not in MODES:
        raise Refused("bad-request", f"mode is {request.mode!r}; it is one of {', '.join(MODES)}.")
    if not 1 <= request.per_document <= MAX_K:
        raise Refused("bad-request", f"per_document is 1 to {MAX_K}.")
    if not 1 <= request.k <= MAX_K or not 0 <= request.offset <= MAX_DEPTH - request.k:
        raise Refused("bad-request", f"k is 1 to {MAX_K}, and offset + k at most {MAX_DEPTH}.")


def check_quotes(quotes: Sequence[Quote], passages: Sequence[Passage]) -> tuple[Quote, ...]:
    """Return only the quotes whose text matches a passage exactly at the stated position."""
    return tuple(q for q in quotes if any(_is_verbatim(q, p) for p in passages if p.document_id == q.document_id))


def _is_verbatim(quote: Quote, passage: Passage) -> bool:
    start, end = quote.start - passage.start, quote.end - passage.start
    return 0 <= start < end <= len(passage.text) and passage.text[start:end] == quote.text
