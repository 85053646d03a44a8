"""Full text in Milvus: its BM25 over stems and over codes, its text match for what is required.

As with Tantivy, texts become terms in analysis.py and are stored ready. Words of the title and the file name that do
not occur in the text are ranked with it, so that none counts twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from indexes.lexical.analysis import as_written, code_parts, codes, stems, words
from indexes.lexical.build import CODE_BOOST
from indexes.lexical.completion import MAX_EXAMPLES, MAX_WORDS, is_completable, split
from indexes.lexical.match import admits, highlights
from indexes.milvus.build import MilvusQuery, MilvusQueryBuilder
from indexes.milvus.filter import DocumentFilter
from indexes.milvus.schema import CHUNKS, WORDS
from indexes.milvus.server import MAX_ROWS, Server
from indexes.milvus.tokens import figure_field, joined, token
from indexes.milvus.vectors import search_field
from indexes.milvus.vocabulary import Vocabulary
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk
from pipeline.function_words import ALL_FUNCTION_WORDS, language_of
from pipeline.numeric import numbers_and_dates
from pipeline.query import Query
from pipeline.questions import Hit, Hits

#: Chunks in which the frequency of a word's completions is counted.
SAMPLE = 200


class MilvusLexical:
    """Implements `pipeline.ports.Lexical`. ``count``: the chunks; ``languages``: those of the index."""

    def __init__(
        self,
        server: Server,
        names: Mapping[str, str],
        document_filter: DocumentFilter,
        count: int,
        languages: Sequence[str],
    ) -> None:
        self._server, self._chunks, self._filter, self._count = server, names[CHUNKS], document_filter, count
        self._vocabulary = Vocabulary(server, names[WORDS])
        self._builder = MilvusQueryBuilder(self._vocabulary, languages)
        self._occurring_words: tuple[Collection[int] | None, dict[str, bool]] = (None, {})

    def __len__(self) -> int:
        return self._count

    def search(
        self, query: Query, k: int, allowed: Collection[int] | None, readable: Collection[int] | None = None
    ) -> Sequence[Hit]:
        """Return the ``k`` best chunks of allowed documents, best first."""
        if not self._count:
            return []
        is_known = partial(self._is_known, allowed if readable is None else readable)
        return self._best(self._builder.build(query.clauses, is_known), k, allowed)

    def completions(self, typed: str, k: int, allowed: Collection[int] | None) -> list[tuple[str, Sequence[Hit]]]:
        """Return words that complete the last one of ``typed``, the most frequent first."""
        before, start = split(typed)
        candidates = self._vocabulary.starting_with(start) if self._count and is_completable(start) else []
        words_by_token = {token(word): word for word in candidates if word != start and word not in ALL_FUNCTION_WORDS}
        if not words_by_token:
            return []
        hits = self._best(self._builder.completions(before, tuple(words_by_token)), SAMPLE, allowed)
        keys_by_word: dict[str, list[int]] = {}
        for row in self._rows(hits, ["code"]):
            for word_token in words_by_token.keys() & set(row["code"].split()):
                keys_by_word.setdefault(words_by_token[word_token], []).append(row["key"])
        most_frequent = sorted(keys_by_word.items(), key=lambda item: (-len(item[1]), item[0]))[:k]
        return [(word, _equal_hits(keys[:MAX_EXAMPLES])) for word, keys in most_frequent]

    def titled(self, typed: str, k: int, allowed: Collection[int] | None) -> Sequence[Hit]:
        """Return chunks whose title, heading or file name may continue ``typed``."""
        complete = words(typed)[-MAX_WORDS:] if self._count else []
        last = "" if typed[-1:].isspace() or not complete else complete.pop()
        return self._best(self._builder.titled(complete, last), k, allowed) if complete or last else []

    def _best(self, query: MilvusQuery, k: int, allowed: Collection[int] | None) -> Hits:
        if query.impossible:
            return _equal_hits([])

        def ranked(expression: str, limit: int) -> Hits:
            return self._ranked(query, " and ".join(filter(None, (expression, query.expression))), limit)

        return self._filter.best(ranked, k, DocumentNumbers.of(allowed) if allowed is not None else None)

    def highlights(
        self, query: Query, text: str, readable: Collection[int] | None = None
    ) -> tuple[tuple[int, int], ...]:
        """Return (start, end) offsets of the query's words in ``text``."""
        return highlights(query, text, partial(self._is_known, readable))

    def admits(self, query: Query, text: str, title: str, name: str) -> bool:
        """Return True if a passage has all that the query requires and nothing that it excludes."""
        return admits(query.clauses, text, title, name)

    def _is_known(self, readable: Collection[int] | None, word: str) -> bool:
        """Return True if a word of letters occurs in a readable chunk; kept while the same set is passed."""
        if not self._count or not self._builder.is_known(word):
            return False
        if readable is None:
            return True
        documents, occurs = self._occurring_words
        if documents is not readable:
            documents, occurs = self._occurring_words = readable, {}
        if word not in occurs:
            occurs[word] = len(self._best(self._builder.with_word(word), 1, readable)) > 0
        return occurs[word]

    def _ranked(self, query: MilvusQuery, expression: str, limit: int) -> Hits:
        """Return the best hits; read more of them where chunks are dropped whose words are in another order."""
        reading = limit
        while True:
            hits = self._scored(query, expression, reading)
            accepted = hits
            if query.fields_to_check:
                keys = {row["key"] for row in self._rows(hits, query.fields_to_check) if query.accepts(row)}
                mask = np.array([key in keys for key in hits.keys.tolist()], bool)
                accepted = Hits(hits.keys[mask], hits.scores[mask])
            if len(accepted) >= limit or len(hits) < reading or reading >= MAX_ROWS:
                return Hits(accepted.keys[:limit], accepted.scores[:limit])
            reading = min(MAX_ROWS, 4 * reading)

    def _scored(self, query: MilvusQuery, expression: str, limit: int) -> Hits:
        """Add both rankings; chunks with what is required but no word to rank by come last."""
        scores: dict[int, float] = {}
        for tokens, field, boost in ((query.text, "text_bm25", 1.0), (query.code, "code_bm25", CODE_BOOST)):
            if tokens:
                hits = search_field(self._server, self._chunks, " ".join(tokens), field, "BM25", expression, limit)
                for key, score in hits.score_of.items():
                    scores[key] = scores.get(key, 0.0) + boost * score + len(query.required)
        if query.required and len(scores) < limit:
            rows = self._server.call("query", self._chunks, filter=expression, output_fields=["key"], limit=limit)
            scores |= {row["key"]: float(len(query.required)) for row in rows if row["key"] not in scores}
        keys, values = np.fromiter(scores.keys(), np.int64), np.fromiter(scores.values(), np.float64)
        order = np.lexsort((keys, -values))[:limit]
        return Hits(keys[order], values[order])

    def _rows(self, hits: Hits, fields: Sequence[str]) -> list[dict[str, Any]]:
        """Read the keys and these fields of the hits' chunks."""
        if not len(hits):
            return []
        rows: list[dict[str, Any]] = self._server.call(
            "get", self._chunks, ids=hits.keys.tolist(), output_fields=["key", *fields]
        )
        return rows


def _equal_hits(keys: Sequence[int]) -> Hits:
    return Hits(np.array(keys, np.int64), np.ones(len(keys)))


def fields_of(chunk: Chunk, title: str | None, name: str) -> tuple[dict[str, str], str]:
    """Return a chunk's text fields by name, and its language."""
    language = language_of(chunk.text)
    heading = " ".join(filter(None, (title, chunk.heading if chunk.heading != title else None)))
    text_stems, title_stems, name_stems = (stems(text, language) for text in (chunk.text, heading, name))
    written = codes(chunk.text)
    written += dict.fromkeys(code for code in [*codes(name), *codes(heading)] if code not in written)
    additional = [stem for stem in dict.fromkeys([*title_stems, *name_stems]) if stem not in set(text_stems)]
    fields = {
        "text": joined(text_stems, additional),
        "code": joined([*written, *code_parts(written)]),
        "title": joined(title_stems, as_written(heading)),
        "name": joined(name_stems, as_written(name)),
        "figures": figure_field(*numbers_and_dates(chunk.text)),
    }
    return fields, language
