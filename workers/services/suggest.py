"""Suggestions as somebody types: titles, headings and file names that go on so, then words that begin so.

The index proposes; every text comes from the catalogue, of documents that the caller may see now, and is looked at again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from indexes.lexical.analysis import words
from indexes.lexical.completion import continues, spelling_in
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk, Document
from pipeline.ports import Lexical
from pipeline.questions import ORDINAL_BITS, Caller, Filters

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue
    from pipeline.ports import IndexReader

#: Passages whose titles are looked at.
TITLE_DEPTH = 200
#: Longer titles are cut: a title that the parser took from a page may be a paragraph.
MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Suggestion:
    """``kind`` is "title", "heading", "name" (of a file) or "word"; ``document_id`` is a document that has it, None for words.
    The text of a word holds the complete words typed before it."""

    text: str
    kind: Literal["title", "heading", "name", "word"]
    document_id: str | None


class Suggestions:
    """Thread-safe if the catalogue and the reader are."""

    def __init__(self, catalogue: Catalogue, reader: IndexReader) -> None:
        self._catalogue, self._reader = catalogue, reader

    def of(self, caller: Caller, typed: str, limit: int) -> tuple[Suggestion, ...]:
        """At most ``limit``: titles whose first word goes on from ``typed``, then other titles, then words; at least a third
        is left to words where there are as many."""
        lexical = self._reader.snapshot().lexical
        allowed = self._catalogue.documents.visible(caller, Filters())
        if not allowed:
            return ()
        found = list(self._words(lexical, allowed, typed, limit))
        titles = self._titles(lexical, allowed, typed)[: limit - min(len(found), limit // 3)]
        return (*titles, *found)[:limit]

    def _titles(self, lexical: Lexical, allowed: DocumentNumbers, typed: str) -> list[Suggestion]:
        """Each text once, those that begin with ``typed`` first."""
        keys = [hit.chunk for hit in lexical.titled(typed, TITLE_DEPTH, allowed)]
        chunks = self._catalogue.chunks.by_key(keys)
        documents = self._catalogue.documents.by_number({key >> ORDINAL_BITS for key in chunks})
        held = [
            (documents[number], chunks[key])
            for key in keys
            if key in chunks and (number := key >> ORDINAL_BITS) in documents
        ]
        found: dict[str, tuple[int, Suggestion]] = {}
        for each in _named(pair for pair in held if pair[0].number in allowed):
            place = continues(typed, each.text)
            if place is not None:
                found.setdefault(" ".join(words(each.text)), (min(place, 1), each))
        return [each for _, each in sorted(found.values(), key=lambda pair: pair[0])]

    def _words(self, lexical: Lexical, allowed: DocumentNumbers, typed: str, limit: int) -> Iterator[Suggestion]:
        before = typed[: len(typed) - len(typed.split()[-1])].lstrip() if typed.split() else ""
        found = lexical.completions(typed, limit, allowed)
        keys = {hit.chunk for _, hits in found for hit in hits if hit.document_number in allowed}
        chunks = self._catalogue.chunks.by_key(keys)
        for word, hits in found:
            written = Counter(spelling_in(chunks[hit.chunk].text, word) for hit in hits if hit.chunk in chunks)
            written.pop(None, None)
            if written:
                yield Suggestion(before + written.most_common(1)[0][0], "word", None)


def _named(held: Iterable[tuple[Document, Chunk]]) -> Iterator[Suggestion]:
    for document, chunk in held:
        for text, kind in ((document.title, "title"), (chunk.heading, "heading"), (document.name, "name")):
            if text and text.strip():
                yield Suggestion(" ".join(text.split())[:MAX_TEXT], kind, document.id)
