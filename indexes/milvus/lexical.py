"""Full text in Milvus: its BM25 over stems and over codes, its text match for what is required.

As with Tantivy texts are made to terms by analysis.py and handed over ready. Words of the title and the file name that do not
stand in the text are ranked with it, so that none counts twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import numpy as np

from indexes.lexical.analysis import codes, language_of, parts, stems, words, written
from indexes.lexical.build import CODE_BOOST
from indexes.lexical.match import admits, highlights
from indexes.lexical.typed import EXAMPLES, FUNCTION_WORDS, MAX_WORDS, is_completable, split
from indexes.milvus.build import Asked, Builder
from indexes.milvus.limit import Limit
from indexes.milvus.schema import PASSAGES, WORDS
from indexes.milvus.server import MOST, Server
from indexes.milvus.terms import figure_field, joined, token
from indexes.milvus.vectors import found
from indexes.milvus.words import Words
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk
from pipeline.numeric import numbers_and_dates
from pipeline.query import Query
from pipeline.questions import Hit, Hits

#: Passages in which the frequency of a word's continuations is counted.
SAMPLE = 200


class MilvusLexical:
    """Implements `pipeline.ports.Lexical`. ``count``: the passages; ``languages``: those of the index."""

    def __init__(
        self, server: Server, names: Mapping[str, str], limit: Limit, count: int, languages: Sequence[str]
    ) -> None:
        self._server, self._passages, self._limit, self._count = server, names[PASSAGES], limit, count
        self._builder = Builder(Words(server, names[WORDS]), languages)
        self._words_of: tuple[Collection[int] | None, dict[str, bool]] = (None, {})

    def __len__(self) -> int:
        return self._count

    def search(
        self, query: Query, k: int, allowed: Collection[int] | None, readable: Collection[int] | None = None
    ) -> Sequence[Hit]:
        known = partial(self._knows, allowed if readable is None else readable)
        asked = self._builder.build(query.clauses, known) if self._count else Asked(nothing=True)
        return self._best(asked, k, allowed)

    def completions(self, typed: str, k: int, allowed: Collection[int] | None) -> list[tuple[str, Sequence[Hit]]]:
        before, start = split(typed)
        held = self._builder.beginning(start) if self._count and is_completable(start) else []
        wanted = {token(word): word for word in held if word != start and word not in FUNCTION_WORDS}
        if not wanted:
            return []
        hits = self._best(self._builder.completed(before, tuple(wanted)), SAMPLE, allowed)
        having: dict[str, list[int]] = {}
        for key, code in self._field("code", hits).items():
            for each in wanted.keys() & set(code.split()):
                having.setdefault(wanted[each], []).append(key)
        frequent = sorted(having.items(), key=lambda each: (-len(each[1]), each[0]))[:k]
        return [(word, Hits(np.array(keys[:EXAMPLES]), np.ones(len(keys[:EXAMPLES])))) for word, keys in frequent]

    def titled(self, typed: str, k: int, allowed: Collection[int] | None) -> Sequence[Hit]:
        found = words(typed)[-MAX_WORDS:] if self._count else []
        last = "" if typed[-1:].isspace() or not found else found.pop()
        return self._best(self._builder.titled(found, last), k, allowed) if found or last else []

    def _best(self, asked: Asked, k: int, allowed: Collection[int] | None) -> Hits:
        if asked.nothing:
            return Hits([], [])

        def ranked(expression: str, limit: int) -> Hits:
            return self._ranked(asked, " and ".join(filter(None, (expression, asked.expression))), limit)

        return self._limit.best(ranked, k, DocumentNumbers.of(allowed) if allowed is not None else None)

    def highlights(
        self, query: Query, text: str, readable: Collection[int] | None = None
    ) -> tuple[tuple[int, int], ...]:
        return highlights(query, text, partial(self._knows, readable))

    def admits(self, query: Query, text: str, title: str, name: str) -> bool:
        return admits(query.clauses, text, title, name)

    def _knows(self, readable: Collection[int] | None, word: str) -> bool:
        """Whether a word of letters stands in a readable text; what was asked of a set is kept as long as it is the one."""
        if not self._count or not self._builder.knows(word):
            return False
        if readable is None:
            return True
        numbers, words = self._words_of
        if numbers is not readable:
            numbers, words = self._words_of = readable, {}
        if word not in words:
            words[word] = len(self._best(self._builder.holding(word), 1, readable)) > 0
        return words[word]

    def _ranked(self, asked: Asked, expression: str, limit: int) -> Hits:
        """Read further where passages fall away whose words are not in the order asked for."""
        read = limit
        while True:
            hits = self._scored(asked, expression, read)
            good = self._in_order(asked, hits)
            if len(good) >= limit or len(hits) < read or read >= MOST:
                return good[:limit]
            read = min(MOST, 4 * read)

    def _scored(self, asked: Asked, expression: str, limit: int) -> Hits:
        """By both rankings together; what is required and has none of the words to rank by comes last."""
        scores: dict[int, float] = {}
        for tokens, field, boost in ((asked.text, "text_bm25", 1.0), (asked.code, "code_bm25", CODE_BOOST)):
            if tokens:
                hits = found(self._server, self._passages, " ".join(tokens), field, "BM25", expression, limit)
                for key, score in hits.score_of.items():
                    scores[key] = scores.get(key, 0.0) + boost * score + len(asked.required)
        if asked.required and len(scores) < limit:
            rows = self._server.call("query", self._passages, filter=expression, output_fields=["key"], limit=limit)
            scores |= {row["key"]: float(len(asked.required)) for row in rows if row["key"] not in scores}
        keys, values = np.fromiter(scores.keys(), np.int64), np.fromiter(scores.values(), np.float64)
        order = np.lexsort((keys, -values))[:limit]
        return Hits(keys[order], values[order])

    def _in_order(self, asked: Asked, hits: Hits) -> Hits:
        if not asked.looked_at or not len(hits):
            return hits
        fields = ["key", *asked.looked_at]
        rows = self._server.call("get", self._passages, ids=hits.keys.tolist(), output_fields=fields)
        good = {row["key"] for row in rows if asked.admits(row)}
        return hits[np.array([key in good for key in hits.keys.tolist()], bool)]

    def _field(self, name: str, hits: Hits) -> dict[int, str]:
        """A field of the passages, by key."""
        if not len(hits):
            return {}
        rows = self._server.call("get", self._passages, ids=hits.keys.tolist(), output_fields=["key", name])
        return {row["key"]: row[name] for row in rows}


def fields_of(chunk: Chunk, title: str | None, name: str) -> tuple[dict[str, str], str]:
    """A passage's fields of text, and its language."""
    language = language_of(chunk.text)
    heading = " ".join(filter(None, (title, chunk.heading if chunk.heading != title else None)))
    text, titles, named = (stems(each, language) for each in (chunk.text, heading, name))
    as_written, around = codes(chunk.text), [*codes(name), *codes(heading)]
    as_written += dict.fromkeys(each for each in around if each not in as_written)
    more = [each for each in dict.fromkeys([*titles, *named]) if each not in set(text)]
    fields = {
        "text": joined(text, more),
        "code": joined([*as_written, *parts(as_written)]),
        "title": joined(titles, written(heading)),
        "name": joined(named, written(name)),
        "figures": figure_field(*numbers_and_dates(chunk.text)),
    }
    return fields, language
