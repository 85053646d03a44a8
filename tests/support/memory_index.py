"""The specification of an index in plain Python: what `Lexical` and `Vectors` return for texts in memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from indexes.lexical.analysis import as_written, codes, content_words, folded, language_of, stems
from indexes.lexical.completion import FUNCTION_WORDS, continues, is_completable, split
from indexes.lexical.match import admits, default_distance, highlights, is_misspellable, is_near
from pipeline.query import Clause, Query
from pipeline.questions import ORDINAL_BITS, Hit

K1, B = 1.2, 0.75


class MemoryVectors:
    """Exact inner products. ``keys``: chunk keys, int64 of shape (n,); ``rows``: float32 of shape (n, dimension)."""

    def __init__(self, keys: np.ndarray, rows: np.ndarray) -> None:
        self._keys, self._rows = keys, rows

    def __len__(self) -> int:
        return len(self._keys)

    def search(self, vector: np.ndarray, k: int, allowed: Collection[int] | None) -> list[Hit]:
        """Return the ``k`` nearest chunks of allowed documents, best first."""
        scores = self._rows @ vector
        positions = np.arange(len(self._keys))
        if allowed is not None:
            numbers = np.fromiter(allowed, np.int64, len(allowed))
            positions = positions[np.isin(self._keys >> ORDINAL_BITS, numbers)]
        best = positions[np.argsort(-scores[positions], kind="stable")[:k]]
        return [Hit(int(self._keys[i]), float(scores[i])) for i in best]


class MemoryLexical:
    """BM25: Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009).

    ``texts``: chunk key -> text; ``titles``: chunk key -> title with heading; ``names``: chunk key -> file name.
    """

    def __init__(
        self,
        texts: Mapping[int, str],
        titles: Mapping[int, str] | None = None,
        names: Mapping[int, str] | None = None,
    ) -> None:
        self._texts, self._titles, self._names = dict(texts), dict(titles or {}), dict(names or {})
        self._terms = {key: self._terms_of(key) for key in {**self._texts, **self._titles}}
        self._languages = {language_of(text) for text in texts.values()}
        self._chunks_with = Counter(term for terms in self._terms.values() for term in set(terms))
        self._mean_length = sum(map(len, self._terms.values())) / max(1, len(self._terms))

    def __len__(self) -> int:
        return len(self._terms)

    def search(
        self, query: Query, k: int, allowed: Collection[int] | None, readable: Collection[int] | None = None
    ) -> list[Hit]:
        """Return the ``k`` best chunks of allowed documents, best first."""
        required = sum(clause.required for clause in query.clauses)
        readable = allowed if readable is None else readable
        query_terms = {term for clause in self._content(query.clauses) for term in self._query_terms(clause, readable)}
        hits = []
        for key, terms in self._terms.items():
            if allowed is not None and key >> ORDINAL_BITS not in allowed:
                continue
            score = required + sum(self._weight(term, terms) for term in query_terms if term in terms)
            if score > 0 and admits(query.clauses, *self._fields(key)):
                hits.append(Hit(key, score))
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk))[:k]

    def highlights(
        self, query: Query, text: str, readable: Collection[int] | None = None
    ) -> tuple[tuple[int, int], ...]:
        """Return (start, end) offsets of the query's words in ``text``."""
        return highlights(query, text, lambda word: self._is_known(word, readable))

    def admits(self, query: Query, text: str, title: str, name: str) -> bool:
        """Return True if a passage has all that the query requires and nothing that it excludes."""
        return admits(query.clauses, text, title, name)

    def completions(self, typed: str, k: int, allowed: Collection[int] | None) -> list[tuple[str, Sequence[Hit]]]:
        """Return words that complete the last one of ``typed``, the most frequent first."""
        before, start = split(typed)
        if not is_completable(start):
            return []
        needed = {stem for word in before if word not in FUNCTION_WORDS for stem in stems(word)}
        hits_of: dict[str, list[Hit]] = {}
        for key, text in self._texts.items():
            if (allowed is None or key >> ORDINAL_BITS in allowed) and needed <= set(self._terms[key]):
                for word in {word for word in codes(text) if word.startswith(start) and word != start}:
                    hits_of.setdefault(word, []).append(Hit(key, 1.0))
        words = [(word, hits) for word, hits in hits_of.items() if word not in FUNCTION_WORDS]
        return sorted(words, key=lambda item: (-len(item[1]), item[0]))[:k]

    def titled(self, typed: str, k: int, allowed: Collection[int] | None) -> list[Hit]:
        """Return chunks whose title or file name continues ``typed``."""
        keys = [key for key in self._terms if allowed is None or key >> ORDINAL_BITS in allowed]
        return [Hit(key, 1.0) for key in keys if any(continues(typed, t) is not None for t in self._fields(key)[1:])][
            :k
        ]

    def _fields(self, key: int) -> tuple[str, str, str]:
        return self._texts.get(key, ""), self._titles.get(key, ""), self._names.get(key, "")

    def _terms_of(self, key: int) -> list[str]:
        """Return the chunk's stems, and its words as written where that differs."""
        language = language_of(self._texts.get(key, ""))
        text = "\n".join(filter(None, self._fields(key)))
        terms = stems(text, language)
        return [*terms, *(word for word in as_written(text) if word not in terms)]

    def _is_known(self, word: str, readable: Collection[int] | None) -> bool:
        return self._occurs({stem for language in self._languages for stem in stems(word, language)}, readable)

    def _occurs(self, terms: set[str], readable: Collection[int] | None) -> bool:
        """Return True if one of the terms occurs in a readable chunk."""
        return any(
            not terms.isdisjoint(chunk_terms)
            for key, chunk_terms in self._terms.items()
            if readable is None or key >> ORDINAL_BITS in readable
        )

    def _content(self, clauses: Sequence[Clause]) -> list[Clause]:
        words = [clause.text for clause in clauses if clause.kind == "word"]
        content = content_words(words, language_of(" ".join(words)))
        return [c for c in clauses if c.sign != "-" and (c.kind != "word" or c.text in content)]

    def _query_terms(self, clause: Clause, readable: Collection[int] | None) -> set[str]:
        text, vocabulary = folded(clause.text), self._chunks_with.keys()
        if clause.kind == "prefix":
            return {term for term in vocabulary if term.startswith(text)}
        if clause.kind == "like":
            distance = clause.distance or default_distance(text)
            return {term for term in vocabulary if is_near(text, term, distance)}
        terms = {term for language in self._languages for term in stems(text, language)}
        terms |= {code for code in codes(text) if not code.isalpha()}
        if is_misspellable(text) and not self._occurs(terms, readable):
            return {term for term in vocabulary if is_near(stems(text)[0], term, default_distance(text))}
        return terms

    def _weight(self, term: str, terms: list[str]) -> float:
        chunks = self._chunks_with[term]
        rarity = math.log(1 + (len(self) - chunks + 0.5) / (chunks + 0.5))
        count = Counter(terms)[term]
        return rarity * count * (K1 + 1) / (count + K1 * (1 - B + B * len(terms) / self._mean_length))
