"""Search and question answering: the path of a query, readable from top to bottom.

search: who may see what (from the catalogue, before retrieval, deny by default) -> vector hits + lexical hits from one
immutable snapshot -> fusion -> passages whose texts come from the catalogue -> rerank, if a reranker is configured.
ask: search -> read (quote only) -> check every quote -> an answer, or "not found" with the nearest passages.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from pipeline import facets
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk, Head
from pipeline.errors import Refused
from pipeline.facets import Facet, Facets
from pipeline.fuse import fuse, rerank
from pipeline.gather import Found, Gathered
from pipeline.ingest import passage_text
from pipeline.ports import Embedder, Lexical, Reranker, Vectors
from pipeline.query import Clause, meaning, parse, spelling, strict
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
#: Facets are counted over this many of the best passages: up to this number the counts are exact.
FACET_DEPTH = 50_000
#: Texts fetched at a time while a page fills, at least and at most; between these, 1.5 times the missing number.
FEWEST_TEXTS, MOST_TEXTS = 16, 128
#: Passages that the reader looks at.
READ_PASSAGES = 12
NOT_FOUND = "Not found in your documents."


class ReadableDocuments(Protocol):
    """Which documents a caller may read, and their facets: see `indexes.catalogue.documents.DocumentStore`."""

    def visible(self, caller: Caller, filters: Filters) -> DocumentNumbers: ...

    def facets(
        self,
        caller: Caller,
        filters: Filters,
        names: Sequence[str],
        limit: int = 20,
        among: DocumentNumbers | None = None,
    ) -> tuple[Facet, ...]: ...


class ChunkTexts(Protocol):
    """The texts behind the hits: see `indexes.catalogue.chunks.ChunkStore`."""

    def with_documents(self, keys: Collection[int]) -> dict[int, tuple[Chunk, Head]]: ...


class Index(Protocol):
    """A snapshot of the index, as `indexes.reader.Snapshot`."""

    generation: str
    embedder: str
    vectors: Vectors
    lexical: Lexical


class IndexReader(Protocol):
    """`indexes.reader.IndexReader`."""

    stale: bool

    def snapshot(self) -> Index: ...


@dataclass(frozen=True, slots=True)
class Reranking:
    """A reranker, how many of the best passages it reads again, and whether it does so by default."""

    reranker: Reranker
    passages: int = 20
    unasked: bool = True


@dataclass(frozen=True, slots=True)
class Visibility:
    """The documents that a caller may read, and those of them that the filters keep: the same object without filters."""

    readable: DocumentNumbers
    allowed: DocumentNumbers


class Finder:
    """Search and answers for one installation. Thread-safe when its parts are. Without ``reranking`` the fused ranking is
    final. ``embedder_of`` returns, by digest, the model of an index that was not built with ``embedder``; without it such
    an index is searched by words alone."""

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
        self._second_look = reranking

    def search(self, caller: Caller, request: SearchRequest) -> SearchResult:
        """Return a page of passages that the caller may read. Raises Refused for a request out of bounds or a bad query."""
        check(request)
        clauses = parse(request.query, request.plain)
        index = self._reader.snapshot()
        sight = self._sight(caller, request.filters)
        parts = self._retrieve(index, request, clauses, sight) if sight.allowed else {}
        hits = fuse(parts, spelling(clauses))
        end = request.offset + request.k
        gathered = Gathered(request, None if request.plain or not strict(clauses) else index.lexical)
        # A query of codes and phrases asks for a spelling; a reranker would judge the meaning.
        look = self._look(request) if spelling(clauses) < 1.0 else None
        # The ranking never depends on the page asked for, or a passage would be on two pages or on none.
        unread = self._gather(gathered, hits, parts, sight.allowed, max(end, look.passages) if look else end)
        ranked = _reranked(look, request.query, gathered.found) if look else gathered.found
        texts = (hit.chunk.text for hit in ranked[request.offset : end])
        marks = [index.lexical.highlights(request.query, text, request.plain, sight.readable) for text in texts]
        page = [hit.passage(marked) for hit, marked in zip(ranked[request.offset : end], marks, strict=True)]
        whole = not unread and all(len(hits) < MAX_DEPTH for hits in parts.values())
        return SearchResult(tuple(page), len(ranked), whole, index.generation, self._reader.stale)

    def validate(self, caller: Caller, request: SearchRequest, names: Sequence[str] = (), limit: int = 20) -> None:
        """Raise Refused as a search with these facets would, without searching."""
        check(request)
        facets.check(names, limit)
        parse(request.query, request.plain)
        self._documents.visible(caller, request.filters)

    def facets(self, caller: Caller, request: SearchRequest, names: Sequence[str], limit: int = 20) -> Facets:
        """Count facet values over the documents that the caller may read, that pass the filters and that contain the query's
        words, up to FACET_DEPTH passages. With mode "vector", or if no document has the words, count over the documents
        of the nearest passages."""
        check(request)
        facets.check(names, limit)
        clauses = parse(request.query, request.plain)
        index = self._reader.snapshot()
        sight = self._sight(caller, request.filters)
        worded, hits = request.mode != "vector", Hits.of(())
        if worded and sight.allowed:
            hits = Hits.of(self._worded(index, request, FACET_DEPTH, sight))
        if sight.allowed and not len(hits) and not strict(clauses):
            worded = False
            hits = fuse(self._retrieve(index, request, clauses, sight))
        numbers = DocumentNumbers(hits.keys >> ORDINAL_BITS)
        counted = self._documents.facets(caller, request.filters, names, limit, numbers)
        return Facets(counted, len(numbers), worded and len(hits) < FACET_DEPTH)

    def ask(self, caller: Caller, question: str, filters: Filters | None = None, k: int = 5) -> Answer:
        """Return quotes that answer the question, or answered=False with the ``k`` nearest passages."""
        request = SearchRequest(question, READ_PASSAGES, filters=filters or Filters(), plain=True)
        passages = self.search(caller, request).passages
        quotes, confidence = read(question, passages, self._embedder)
        quotes = check_quotes(quotes, passages)
        if not quotes or confidence < FLOOR:
            return Answer(question, False, NOT_FOUND, (), passages[:k], confidence)
        return Answer(question, True, " ".join(q.text for q in quotes), quotes, passages[:k], confidence)

    def _sight(self, caller: Caller, filters: Filters) -> Visibility:
        readable = self._documents.visible(caller, Filters())
        return Visibility(readable, self._documents.visible(caller, filters) if filters != Filters() else readable)

    def _worded(self, index: Index, request: SearchRequest, depth: int, sight: Visibility) -> Sequence[Hit]:
        return index.lexical.search(request.query, depth, sight.allowed, request.plain, sight.readable)

    def _retrieve(
        self, index: Index, request: SearchRequest, clauses: Sequence[Clause], sight: Visibility
    ) -> dict[str, list[Hit]]:
        """Ranked hits by part. The filter goes into each index; it is not applied afterwards."""
        parts: dict[str, list[Hit]] = {}
        if request.mode != "vector":
            parts["lexical"] = self._worded(index, request, MAX_DEPTH, sight)
        words = meaning(clauses)
        embedder = self._embedder if index.embedder in ("", self._embedder.digest) else None
        if words and request.mode != "lexical" and (embedder := embedder or self._embedder_of(index.embedder)):
            vector = embedder.embed([words])[0]
            parts["vector"] = index.vectors.search(vector, MAX_DEPTH, sight.allowed)
        return parts

    def _gather(
        self,
        gathered: Gathered,
        hits: Sequence[Hit],
        parts: Mapping[str, list[Hit]],
        allowed: DocumentNumbers,
        wanted: int,
    ) -> bool:
        """Read until there are ``wanted`` passages or some more; returns whether hits are left unread. Texts come from the
        catalogue: what was deleted or forbidden since the snapshot is dropped here."""
        worth_reading = gathered.worth_reading(hits)
        while (missing := wanted - len(gathered.found)) > 0:
            batch = list(islice(worth_reading, min(MOST_TEXTS, max(FEWEST_TEXTS, 3 * missing // 2))))
            if not batch:
                return False
            keys = [hit.chunk for hit in batch]
            texts = self._chunks.with_documents(keys)
            scores = {part: Hits.of(ranking).among(keys).score_of for part, ranking in parts.items()}
            for hit in batch:
                if hit.chunk in texts and hit.document_number in allowed:
                    explained = {
                        part: chunk_scores[hit.chunk]
                        for part, chunk_scores in scores.items()
                        if hit.chunk in chunk_scores
                    }
                    gathered.add(Found(hit, *texts[hit.chunk], {**explained, "fused": hit.score}))
        return next(worth_reading, None) is not None

    def _look(self, request: SearchRequest) -> Reranking | None:
        """The reranking for this request, if any. Raises Refused("bad-request") if it requires one and none is configured."""
        if request.rerank and self._second_look is None:
            raise Refused("bad-request", "rerank: no reranker serves here; the setting models.reranker names one.")
        look = self._second_look
        enabled = look is not None and (look.unasked if request.rerank is None else request.rerank)
        return look if enabled else None


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
    return tuple(q for q in quotes if any(_stands(q, p) for p in passages if p.document_id == q.document_id))


def _reranked(look: Reranking, query: str, found: list[Found]) -> list[Found]:
    """Rerank the best passages, question and passage read together. The hit's score stays the fused one."""
    head, tail = found[: look.passages], found[look.passages :]
    again = look.reranker.scores(query, [passage_text(hit.chunk.heading, hit.chunk.text) for hit in head])
    places = rerank([passage.hit.score for passage in head], again.tolist())
    return [replace(head[i], scores={**head[i].scores, "rerank": float(again[i])}) for i in places] + tail


def _stands(quote: Quote, passage: Passage) -> bool:
    start, end = quote.start - passage.start, quote.end - passage.start
    return 0 <= start < end <= len(passage.text) and passage.text[start:end] == quote.text
