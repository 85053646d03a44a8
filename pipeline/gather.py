"""Hits become passages, best first: few of one document, none that repeats a better one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pipeline.documents import Chunk, Head
from pipeline.fuse import NearDuplicates, few_per_document
from pipeline.ports import Lexical
from pipeline.questions import Hit, Passage, SearchRequest


@dataclass(slots=True)
class Found:
    """A hit with what the catalogue tells of it. ``scores`` are its parts; ``duplicates`` the ids of other documents with a
    passage that says nearly the same."""

    hit: Hit
    chunk: Chunk
    document: Head
    scores: Mapping[str, float]
    duplicates: tuple[str, ...] = ()

    def passage(self, highlights: tuple[tuple[int, int], ...]) -> Passage:
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


class Gathered:
    """``judge`` holds what the words did not find against what the query requires; None where it requires nothing."""

    def __init__(self, request: SearchRequest, judge: Lexical | None) -> None:
        self.found: list[Found] = []
        self._request, self._judge = request, judge
        self._of_document: Counter[int] = Counter()
        self._sayings = NearDuplicates()

    def worth_reading(self, hits: Iterable[Hit]) -> Iterator[Hit]:
        """Where every hit counts, those past a document's share need not be read."""
        return few_per_document(hits, self._request.per_document) if self._judge is None else iter(hits)

    def add(self, each: Found) -> None:
        """Take it, or leave it."""
        number = each.document.number
        if self._of_document[number] >= self._request.per_document or not self._is_admitted(each):
            return
        if self._request.collapse and (other := self._sayings.find(len(self.found), each.chunk.text)) is not None:
            _note_duplicate(self.found[other], each.document)
            return
        self._of_document[number] += 1
        self.found.append(each)

    def _is_admitted(self, each: Found) -> bool:
        if self._judge is None or "lexical" in each.scores:
            return True
        title = " ".join(filter(None, (each.document.title, each.chunk.heading)))
        return self._judge.admits(self._request.query, each.chunk.text, title, each.document.name)


def _note_duplicate(kept: Found, document: Head) -> None:
    if document.id != kept.document.id and document.id not in kept.duplicates:
        kept.duplicates = (*kept.duplicates, document.id)
