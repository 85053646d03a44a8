"""Hits to passages, best first: a few per document, and none that repeats a better one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pipeline.documents import Chunk, Head
from pipeline.fuse import NearDuplicates, few_per_document
from pipeline.ports import Lexical
from pipeline.query import Query
from pipeline.questions import Hit, Passage, SearchRequest


@dataclass(slots=True)
class ResolvedHit:
    """A hit with its chunk and document from the catalogue.

    ``scores`` are the parts of its score; ``duplicates`` the ids of other documents with the same content or a nearly
    equal passage.
    """

    hit: Hit
    chunk: Chunk
    document: Head
    scores: Mapping[str, float]
    duplicates: tuple[str, ...] = ()

    def passage(self, highlights: tuple[tuple[int, int], ...]) -> Passage:
        """Return the passage that the caller gets, with ``highlights`` as (start, end) offsets into its text."""
        chunk, document = self.chunk, self.document
        return Passage(
            document_id=document.id,
            document_name=document.name,
            chunk=self.hit.chunk,
            ordinal=chunk.ordinal,
            text=chunk.text,
            start=chunk.start,
            end=chunk.end,
            page_first=chunk.page_first,
            page_last=chunk.page_last,
            heading=chunk.heading,
            score=self.hit.score,
            highlights=highlights,
            scores=self.scores,
            label=document.label,
            source=document.source,
            path=document.path,
            received_at=document.received_at,
            duplicates=self.duplicates,
        )


class HitCollector:
    """Collects the hits of one search in ``hits``, within the request's limits.

    ``lexical`` checks vector hits against what the query requires; None if the query requires and excludes nothing.
    """

    def __init__(self, request: SearchRequest, query: Query, lexical: Lexical | None) -> None:
        self.hits: list[ResolvedHit] = []
        self._request, self._query, self._lexical = request, query, lexical
        self._count_by_document: Counter[int] = Counter()
        self._near_duplicates: NearDuplicates[int] = NearDuplicates()
        self._first_by_content: dict[str, ResolvedHit] = {}
        #: numbers of the documents that stand for others of the same content
        self.representatives: set[int] = set()

    def worth_reading(self, hits: Iterable[Hit]) -> Iterator[Hit]:
        """Yield the hits whose texts are needed: without a check, those beyond a document's limit are not."""
        return few_per_document(hits, self._request.per_document) if self._lexical is None else iter(hits)

    def add(self, hit: ResolvedHit) -> None:
        """Collect a hit, unless its document has enough, the query excludes it, it repeats a better one, or another
        document with the same content is shown."""
        number = hit.document.number
        if self._count_by_document[number] >= self._request.per_document or not self._is_admitted(hit):
            return
        if self._request.collapse and (better := self._better(hit)) is not None:
            if hit.document.id not in (better.document.id, *better.duplicates):
                better.duplicates = (*better.duplicates, hit.document.id)
            return
        self._first_by_content.setdefault(hit.document.content_hash, hit)
        self._count_by_document[number] += 1
        self.hits.append(hit)

    def _better(self, hit: ResolvedHit) -> ResolvedHit | None:
        """Return the collected hit that stands for this one, if there is one."""
        first = self._first_by_content.get(hit.document.content_hash)
        if first is not None and first.document.number != hit.document.number:
            self.representatives.add(first.document.number)
            return first
        place = self._near_duplicates.find(len(self.hits), hit.chunk.text)
        return None if place is None else self.hits[place]

    def _is_admitted(self, hit: ResolvedHit) -> bool:
        if self._lexical is None or "lexical" in hit.scores:
            return True
        title = " ".join(filter(None, (hit.document.title, hit.chunk.heading)))
        return self._lexical.admits(self._query, hit.chunk.text, title, hit.document.name)
