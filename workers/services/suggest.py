"""Suggestions while somebody types: titles, headings and file names that continue the text, then words that complete
it.

The index proposes. Every text comes from the catalogue, of documents that the caller may read now, and is checked
again.
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

#: Hits whose titles are checked.
TITLE_DEPTH = 200
#: Characters of a title: one that the parser took from a page may be a paragraph.
MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A continuation of what was typed: a title, a heading, the name of a file, or a word.

    ``document_id`` is a document that has it, None for words. The text of a word includes the complete words typed
    before.
    """

    text: str
    kind: Literal["title", "heading", "name", "word"]
    document_id: str | None


class Suggestions:
    """Suggests continuations of what somebody types. Thread-safe if the catalogue and the reader are."""

    def __init__(self, catalogue: Catalogue, reader: IndexReader) -> None:
        self._catalogue, self._reader = catalogue, reader

    def find(self, caller: Caller, typed: str, limit: int) -> tuple[Suggestion, ...]:
        """Return up to ``limit`` suggestions: titles that begin with ``typed``, then other titles, then words.

        At least a third of them are words if there are as many.
        """
        lexical = self._reader.snapshot().lexical
        allowed = self._catalogue.documents.visible(caller, Filters())
        if not allowed:
            return ()
        completions = list(self._words(lexical, allowed, typed, limit))
        titles = self._titles(lexical, allowed, typed)[: limit - min(len(completions), limit // 3)]
        return (*titles, *completions)[:limit]

    def _titles(self, lexical: Lexical, allowed: DocumentNumbers, typed: str) -> list[Suggestion]:
        """Return titles, headings and names, each text once, those that begin with ``typed`` first."""
        keys = [hit.chunk for hit in lexical.titled(typed, TITLE_DEPTH, allowed)]
        chunks = self._catalogue.chunks.by_key(keys)
        documents = self._catalogue.documents.by_number({key >> ORDINAL_BITS for key in chunks})
        pairs = [
            (documents[number], chunks[key])
            for key in keys
            if key in chunks and (number := key >> ORDINAL_BITS) in documents and number in allowed
        ]
        ranked: dict[str, tuple[int, Suggestion]] = {}
        for suggestion in titles_of(pairs):
            position = continues(typed, suggestion.text)
            if position is not None:
                ranked.setdefault(" ".join(words(suggestion.text)), (min(position, 1), suggestion))
        return [suggestion for _, suggestion in sorted(ranked.values(), key=lambda pair: pair[0])]

    def _words(self, lexical: Lexical, allowed: DocumentNumbers, typed: str, limit: int) -> Iterator[Suggestion]:
        before = typed[: len(typed) - len(typed.split()[-1])].lstrip() if typed.split() else ""
        completions = lexical.completions(typed, limit, allowed)
        keys = {hit.chunk for _, hits in completions for hit in hits if hit.document_number in allowed}
        chunks = self._catalogue.chunks.by_key(keys)
        for word, hits in completions:
            forms = (spelling_in(chunks[hit.chunk].text, word) for hit in hits if hit.chunk in chunks)
            counts = Counter(form for form in forms if form is not None)
            if counts:
                yield Suggestion(before + counts.most_common(1)[0][0], "word", None)


def titles_of(pairs: Iterable[tuple[Document, Chunk]]) -> Iterator[Suggestion]:
    """Yield the title, the heading and the name of each pair that has them."""
    for document, chunk in pairs:
        titles: tuple[tuple[str | None, Literal["title", "heading", "name"]], ...] = (
            (document.title, "title"),
            (chunk.heading, "heading"),
            (document.name, "name"),
        )
        for text, kind in titles:
            if text and text.strip():
                yield Suggestion(" ".join(text.split())[:MAX_TEXT], kind, document.id)
