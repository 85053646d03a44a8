"""THE PATH OUT. What happens to a question, readable top to bottom.

search: who may see what (from the catalogue, before retrieval, deny by default) -> vector hits + lexical hits from one
immutable snapshot -> fusion -> passages whose texts come from the catalogue.
ask: search -> read (quote only) -> check every quote -> an answer, or "not found" with the nearest passages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from pipeline.documents import Chunk, Document
from pipeline.errors import Refused
from pipeline.ports import Documents, Embedder, Lexical, Passages, Vectors
from pipeline.questions import Answer, Caller, Filters, Hit, Passage, Quote, SearchRequest, SearchResult
from pipeline.read import FLOOR, read

MODES = ("hybrid", "lexical", "vector")
MAX_K = 100
MAX_DEPTH = 1000
#: Texts fetched at a time while a page fills.
TEXTS = 128
#: Reciprocal rank fusion's constant: Cormack, Clarke and Büttcher (SIGIR 2009).
RRF_K = 60
#: More passages of one document than this crowd the others out of a page.
PER_DOCUMENT = 3
#: Passages that the reader looks at.
READ_PASSAGES = 12
NOT_FOUND = "Not found in your documents."


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


class Finder:
    """Search and answers for one installation. Thread-safe when its parts are."""

    def __init__(self, documents: Documents, passages: Passages, reader: IndexReader, embedder: Embedder) -> None:
        self._documents, self._passages, self._reader, self._embedder = documents, passages, reader, embedder

    def search(self, caller: Caller, request: SearchRequest) -> SearchResult:
        """A page of passages that the caller may read. Raises Refused for a request out of bounds or a bad query."""
        check(request)
        index = self._reader.snapshot()
        allowed = self._documents.visible(caller, request.filters)
        parts = self._retrieve(index, request, MAX_DEPTH, allowed) if allowed else {}
        fused = fuse(parts)
        end = request.offset + request.k
        passages, unread = self._passages_of(fused, parts, allowed, end)
        page = [_highlighted(p, index, request.query) for p in passages[request.offset : end]]
        exact = not unread and all(len(hits) < MAX_DEPTH for hits in parts.values())
        return SearchResult(tuple(page), len(passages), exact, index.generation, self._reader.stale)

    def ask(self, caller: Caller, question: str, filters: Filters | None = None, k: int = 5) -> Answer:
        """Quotes that answer, or found=False with the ``k`` nearest passages."""
        plain = question.replace('"', " ").replace("+", " ").replace("-", "‐")
        request = SearchRequest(plain, READ_PASSAGES, filters=filters or Filters())
        passages = self.search(caller, request).passages
        quotes, confidence = read(question, passages, self._embedder)
        quotes = check_quotes(quotes, passages)
        if not quotes or confidence < FLOOR:
            return Answer(question, False, NOT_FOUND, (), passages[:k], confidence)
        return Answer(question, True, " ".join(q.text for q in quotes), quotes, passages[:k], confidence)

    def _retrieve(
        self, index: Index, request: SearchRequest, depth: int, allowed: frozenset[int]
    ) -> dict[str, list[Hit]]:
        """Ranked hits by part. The filter goes into each index; it is not applied afterwards."""
        parts: dict[str, list[Hit]] = {}
        if request.mode != "vector":
            parts["lexical"] = index.lexical.search(request.query, depth, allowed)
        if request.mode != "lexical" and index.embedder in ("", self._embedder.digest):
            vector = self._embedder.embed([request.query])[0]
            parts["vector"] = index.vectors.search(vector, depth, allowed)
        return parts

    def _passages_of(
        self,
        fused: Sequence[tuple[int, float]],
        parts: Mapping[str, list[Hit]],
        allowed: frozenset[int],
        wanted: int,
    ) -> tuple[list[Passage], bool]:
        """The first ``wanted`` passages or some more, and whether hits are left unread. Texts come from the catalogue:
        what was deleted or forbidden since the snapshot is dropped here, and a document gives no more than its share.

        The ranking never depends on the page asked for, or a passage would be on two pages or on none."""
        scores = {part: {hit.chunk: hit.score for hit in hits} for part, hits in parts.items()}
        hits = _few_per_document([Hit(key, score) for key, score in fused])
        passages: list[Passage] = []
        read_to = 0
        while read_to < len(hits) and len(passages) < wanted:
            batch = hits[read_to : read_to + TEXTS]
            read_to += len(batch)
            chunks = self._passages.chunks([hit.chunk for hit in batch])
            documents = self._documents.by_number({hit.document_number for hit in batch})
            for hit in batch:
                document = documents.get(hit.document_number)
                if hit.chunk in chunks and document is not None and hit.document_number in allowed:
                    explained = {part: held[hit.chunk] for part, held in scores.items() if hit.chunk in held}
                    passages.append(_passage(hit, chunks[hit.chunk], document, {**explained, "fused": hit.score}))
        return passages, read_to < len(hits)


def check(request: SearchRequest) -> None:
    """Raises Refused("bad-request") for a request out of bounds."""
    if request.mode not in MODES:
        raise Refused("bad-request", f"mode is {request.mode!r}; it is one of {', '.join(MODES)}.")
    if not 1 <= request.k <= MAX_K or not 0 <= request.offset <= MAX_DEPTH - request.k:
        raise Refused("bad-request", f"k is 1 to {MAX_K}, and offset + k at most {MAX_DEPTH}.")


def fuse(parts: Mapping[str, list[Hit]]) -> list[tuple[int, float]]:
    """Reciprocal rank fusion: (chunk key, score), best first; ties by key, so that pages are stable."""
    scores: dict[int, float] = {}
    for hits in parts.values():
        for rank, hit in enumerate(hits, 1):
            scores[hit.chunk] = scores.get(hit.chunk, 0.0) + 1.0 / (RRF_K + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def check_quotes(quotes: Sequence[Quote], passages: Sequence[Passage]) -> tuple[Quote, ...]:
    """Only quotes that stand, letter for letter, where they say."""
    return tuple(q for q in quotes if any(_stands(q, p) for p in passages if p.document_id == q.document_id))


def _stands(quote: Quote, passage: Passage) -> bool:
    start, end = quote.start - passage.start, quote.end - passage.start
    return 0 <= start < end <= len(passage.text) and passage.text[start:end] == quote.text


def _few_per_document(hits: Sequence[Hit]) -> list[Hit]:
    seen: Counter[int] = Counter()
    kept = []
    for hit in hits:
        seen[hit.document_number] += 1
        if seen[hit.document_number] <= PER_DOCUMENT:
            kept.append(hit)
    return kept


def _highlighted(passage: Passage, index: Index, query: str) -> Passage:
    return replace(passage, highlights=index.lexical.highlights(query, passage.text))


def _passage(hit: Hit, chunk: Chunk, document: Document, scores: Mapping[str, float]) -> Passage:
    return Passage(
        document_id=document.id,
        document_name=document.name,
        chunk=hit.chunk,
        ordinal=chunk.ordinal,
        text=chunk.text,
        start=chunk.start,
        end=chunk.end,
        page_first=chunk.page_first,
        page_last=chunk.page_last,
        heading=chunk.heading,
        score=hit.score,
        scores=scores,
        label=document.label,
        source=document.source,
        path=document.path,
        received_at=document.received_at,
    )
