"""Full text in Tantivy: BM25 over stemmed words, exact codes, title and file name, figures in the text.

Texts are made to terms by analysis.py and handed over ready, one blank between two: the rules depend on the passage's
language, and Tantivy knows one analyser per field.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Sequence
from functools import lru_cache, partial
from pathlib import Path

import tantivy

from indexes.lexical.analysis import codes, language_of, parts, stems, written
from indexes.lexical.build import Builder
from indexes.lexical.limit import LimitedSearch
from indexes.lexical.match import admits, highlights
from indexes.lexical.typed import EXAMPLES, completions, titled
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk
from pipeline.errors import Misconfigured
from pipeline.numeric import numbers_and_dates
from pipeline.query import Query
from pipeline.questions import Hit, Hits, chunk_key

_TERMS = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()


def schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("chunk", fast=True)
    builder.add_unsigned_field("document", indexed=True)
    for field in ("text", "code", "title", "name"):
        builder.add_text_field(field, tokenizer_name="terms", index_option="position")
    for field in ("parts", "title_words", "name_words"):
        builder.add_text_field(field, tokenizer_name="terms", index_option="basic")
    builder.add_text_field("language", tokenizer_name="raw", index_option="basic")
    builder.add_float_field("numbers", indexed=True, fast=True)
    builder.add_integer_field("dates", indexed=True, fast=True)
    return builder.build()


SCHEMA = schema()


def open_index(folder: Path) -> tantivy.Index:
    """Open what is in ``folder``, or make an empty index there. Misconfigured("bad-index") for one of other fields, as
    another version of Mailroom made it."""
    try:
        index = tantivy.Index(SCHEMA, path=str(folder))
    except ValueError as error:
        raise Misconfigured("bad-index", f"The lexical index in {folder} cannot be used: {error}") from error
    index.register_tokenizer("terms", _TERMS)
    return index


def open_to_read(folder: Path) -> tantivy.Index:
    """As `open_index`, also where ``folder`` cannot be written: Tantivy wants a lock file beside what it opens, so there
    it is given links in a place of their own, which it needs no longer than the opening takes."""
    if os.access(folder, os.W_OK):
        return open_index(folder)
    with tempfile.TemporaryDirectory(prefix="mailroom-index-") as place:
        for file in folder.iterdir():
            (Path(place) / file.name).symlink_to(file.absolute())
        return open_index(Path(place))


def add_document(
    writer: tantivy.IndexWriter, number: int, chunks: Sequence[Chunk], title: str | None, name: str
) -> None:
    """Replace the document's passages."""
    remove_document(writer, number)
    for chunk in chunks:
        language = language_of(chunk.text)
        heading = " ".join(filter(None, (title, chunk.heading if chunk.heading != title else None)))
        row = tantivy.Document()
        row.add_unsigned("chunk", chunk_key(number, chunk.ordinal))
        row.add_unsigned("document", number)
        row.add_text("text", " ".join(stems(chunk.text, language)))
        as_written = codes(chunk.text)
        row.add_text("code", " ".join(as_written))
        row.add_text("parts", " ".join(parts(as_written)))
        row.add_text("title", _short(heading, language))
        row.add_text("name", _short(name, language))
        row.add_text("title_words", _words_of(heading))
        row.add_text("name_words", _words_of(name))
        row.add_text("language", language)
        numbers, dates = numbers_and_dates(chunk.text)
        for value in numbers:
            row.add_float("numbers", value)
        for day in dates:
            row.add_integer("dates", day)
        writer.add_document(row)


@lru_cache(maxsize=1024)
def _short(text: str, language: str) -> str:
    """Stems of a title or a name, which the passages of a document share."""
    return " ".join(stems(text, language))


@lru_cache(maxsize=1024)
def _words_of(text: str) -> str:
    """The same, as it is written."""
    return " ".join(written(text))


def remove_document(writer: tantivy.IndexWriter, number: int) -> None:
    # By query: the binding's delete by term makes a signed term, which matches nothing in an unsigned field.
    writer.delete_documents_by_query(tantivy.Query.term_query(SCHEMA, "document", number))


class TantivyLexical:
    """Implements `pipeline.ports.Lexical` over one immutable directory. ``numbers``: the documents in it."""

    def __init__(self, index: tantivy.Index, numbers: Collection[int]) -> None:
        self._searcher = index.searcher()
        self._limited = LimitedSearch(self._searcher, SCHEMA, DocumentNumbers.of(numbers))
        self._builder = Builder(self._searcher, SCHEMA)

    def __len__(self) -> int:
        return int(self._searcher.num_docs)

    def search(
        self, query: Query, k: int, allowed: Collection[int] | None, readable: Collection[int] | None = None
    ) -> Sequence[Hit]:
        numbers = _numbers(allowed)
        known = partial(self._knows, numbers if readable is None else _numbers(readable))
        asked = self._builder.build(query.clauses, known)
        return Hits(*self._limited.best(asked, k, numbers)) if asked is not None else []

    def highlights(
        self, query: Query, text: str, readable: Collection[int] | None = None
    ) -> tuple[tuple[int, int], ...]:
        return highlights(query, text, partial(self._knows, _numbers(readable)))

    def admits(self, query: Query, text: str, title: str, name: str) -> bool:
        return admits(query.clauses, text, title, name)

    def completions(self, typed: str, k: int, allowed: Collection[int] | None) -> list[tuple[str, Sequence[Hit]]]:
        numbers = _numbers(allowed)
        if numbers is not None and not len(numbers):
            return []
        found = completions(self._searcher, self._builder, typed, k, self._limited.only(numbers))
        terms = [(word, self._builder.term("code", word)) for word in found]
        return [(word, Hits(*self._limited.best(term, EXAMPLES, numbers, wide=0.01))) for word, term in terms]

    def titled(self, typed: str, k: int, allowed: Collection[int] | None) -> Sequence[Hit]:
        asked = titled(self._builder, typed)
        if asked is None:
            return []
        return Hits(*self._limited.best(asked, k, _numbers(allowed)))

    def _knows(self, readable: DocumentNumbers | None, word: str) -> bool:
        """Whether a word of letters stands in a readable text."""
        return self._builder.knows(word) and self._limited.holds(word, self._builder.holding, readable)


def _numbers(allowed: Collection[int] | None) -> DocumentNumbers | None:
    return DocumentNumbers.of(allowed) if allowed is not None else None
