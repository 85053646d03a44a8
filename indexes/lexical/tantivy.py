"""Full text in Tantivy: BM25 over stemmed words, exact codes, title and file name, and numbers and dates of the text.

Texts become terms in analysis.py and are passed on ready, one space between two: the rules depend on the chunk's
language, and Tantivy has one analyser per field.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import tantivy

from indexes.lexical.analysis import as_written, code_parts, codes, stems
from indexes.lexical.build import TantivyQueryBuilder
from indexes.lexical.completion import MAX_EXAMPLES, completions, titled
from indexes.lexical.filter import FilteredSearch
from indexes.lexical.match import admits, highlights
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk
from pipeline.errors import Misconfigured
from pipeline.function_words import language_of
from pipeline.numeric import numbers_and_dates
from pipeline.query import Query
from pipeline.questions import ORDINAL_BITS, Hit, chunk_key

#: The share from which on a completion's few examples are read with forbidden ones left out.
EXAMPLES_SHARE = 0.01
_TERMS = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()


def _schema() -> tantivy.Schema:
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


SCHEMA = _schema()


def open_index(folder: Path) -> tantivy.Index:
    """Open the index in ``folder``, or create an empty one there.

    Raises Misconfigured("bad-index") for one with other fields, which another version of Mailroom made.
    """
    try:
        index = tantivy.Index(SCHEMA, path=str(folder))
    except ValueError as error:
        raise Misconfigured("bad-index", f"The lexical index in {folder} cannot be used: {error}") from error
    index.register_tokenizer("terms", _TERMS)
    return index


def open_to_read(folder: Path) -> tantivy.Index:
    """Open an index as `open_index` does, also where ``folder`` cannot be written.

    Tantivy creates a lock file next to what it opens, so there it opens links in a folder of their own, which it needs
    no longer than the opening takes.
    """
    if os.access(folder, os.W_OK):
        return open_index(folder)
    with tempfile.TemporaryDirectory(prefix="mailroom-index-") as links:
        for file in folder.iterdir():
            (Path(links) / file.name).symlink_to(file.absolute())
        return open_index(Path(links))


def add_document(
    writer: tantivy.IndexWriter, number: int, chunks: Sequence[Chunk], title: str | None, name: str
) -> None:
    """Add or replace a document's chunks."""
    remove_document(writer, number)
    for chunk in chunks:
        writer.add_document(_row(number, chunk, title, name))


def _row(number: int, chunk: Chunk, title: str | None, name: str) -> tantivy.Document:
    language = language_of(chunk.text)
    heading = " ".join(filter(None, (title, chunk.heading if chunk.heading != title else None)))
    written = codes(chunk.text)
    row = tantivy.Document()
    row.add_unsigned("chunk", chunk_key(number, chunk.ordinal))
    row.add_unsigned("document", number)
    row.add_text("text", " ".join(stems(chunk.text, language)))
    row.add_text("code", " ".join(written))
    row.add_text("parts", " ".join(code_parts(written)))
    row.add_text("title", _stems_of(heading, language))
    row.add_text("name", _stems_of(name, language))
    row.add_text("title_words", _words_of(heading))
    row.add_text("name_words", _words_of(name))
    row.add_text("language", language)
    numbers, dates = numbers_and_dates(chunk.text)
    for value in numbers:
        row.add_float("numbers", value)
    for day in dates:
        row.add_integer("dates", day)
    return row


@lru_cache(maxsize=1024)  # the chunks of a document share their title and name
def _stems_of(text: str, language: str) -> str:
    return " ".join(stems(text, language))


@lru_cache(maxsize=1024)
def _words_of(text: str) -> str:
    return " ".join(as_written(text))


def remove_document(writer: tantivy.IndexWriter, number: int) -> None:
    """Remove a document's chunks. Idempotent."""
    # By query: the binding's delete by term makes a signed term, which matches nothing in an unsigned field.
    writer.delete_documents_by_query(tantivy.Query.term_query(SCHEMA, "document", number))


def some_documents(index: tantivy.Index, limit: int) -> list[int]:
    """Return the numbers of the documents of at most ``limit`` chunks of an index."""
    searcher = index.searcher()
    rows = searcher.search(tantivy.Query.all_query(), limit, count=False).hits
    keys: list[Any] = searcher.fast_field_values("chunk", [address for _, address in rows])
    return sorted({int(key) >> ORDINAL_BITS for key in keys})


class TantivyLexical:
    """Implements `pipeline.ports.Lexical` over one immutable directory. ``numbers``: the documents in it."""

    def __init__(self, index: tantivy.Index, numbers: Collection[int]) -> None:
        self._searcher = index.searcher()
        self._filtered = FilteredSearch(self._searcher, SCHEMA, DocumentNumbers.of(numbers))
        self._builder = TantivyQueryBuilder(self._searcher, SCHEMA)

    def __len__(self) -> int:
        return int(self._searcher.num_docs)

    def search(
        self, query: Query, k: int, allowed: Collection[int] | None, readable: Collection[int] | None = None
    ) -> Sequence[Hit]:
        """Return the ``k`` best chunks of allowed documents, best first."""
        numbers = _numbers(allowed)
        is_known = partial(self._is_known, numbers if readable is None else _numbers(readable))
        built = self._builder.build(query.clauses, is_known)
        return self._filtered.best(built, k, numbers) if built is not None else []

    def highlights(
        self, query: Query, text: str, readable: Collection[int] | None = None
    ) -> tuple[tuple[int, int], ...]:
        """Return (start, end) offsets of the query's words in ``text``."""
        return highlights(query, text, partial(self._is_known, _numbers(readable)))

    def admits(self, query: Query, text: str, title: str, name: str) -> bool:
        """Return True if a passage has all that the query requires and nothing that it excludes."""
        return admits(query.clauses, text, title, name)

    def completions(self, typed: str, k: int, allowed: Collection[int] | None) -> list[tuple[str, Sequence[Hit]]]:
        """Return words that complete the last one of ``typed``, the most frequent first."""
        numbers = _numbers(allowed)
        if numbers is not None and not len(numbers):
            return []
        words = completions(self._searcher, self._builder, typed, k, self._filtered.only(numbers))
        results: list[tuple[str, Sequence[Hit]]] = []
        for word in words:
            hits = self._filtered.best(self._builder.term("code", word), MAX_EXAMPLES, numbers, wide=EXAMPLES_SHARE)
            if len(hits):  # otherwise only removed documents have the word
                results.append((word, hits))
        return results

    def titled(self, typed: str, k: int, allowed: Collection[int] | None) -> Sequence[Hit]:
        """Return chunks whose title, heading or file name may continue ``typed``."""
        query = titled(self._builder, typed)
        return self._filtered.best(query, k, _numbers(allowed)) if query is not None else []

    def _is_known(self, readable: DocumentNumbers | None, word: str) -> bool:
        """Return True if a word of letters occurs in a readable document."""
        return self._builder.is_known(word) and self._filtered.has_word(word, self._builder.with_word, readable)


def _numbers(allowed: Collection[int] | None) -> DocumentNumbers | None:
    return DocumentNumbers.of(allowed) if allowed is not None else None
