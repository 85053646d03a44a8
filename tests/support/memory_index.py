"""The specification of an index in plain Python: what `Lexical` and `Vectors` return for texts in memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from indexes.lexical.analysis import as_written, codes, folded, stems
from indexes.lexical.build import content_clauses
from indexes.lexical.completion import continues, is_completable, split
from indexes.lexical.match import admits, default_distance, highlights, is_misspellable, is_near
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk
from pipeline.function_words import ALL_FUNCTION_WORDS, language_of
from pipeline.ports import Snapshot
from pipeline.query import Clause, Query
from pipeline.questions import ORDINAL_BITS, Hit, chunk_key

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

    Words of a query match stems; prefixes and similar words match words as written. ``texts``: chunk key -> text;
    ``titles``: chunk key -> title with heading; ``names``: chunk key -> file name.
    """

    def __init__(
        self,
        texts: Mapping[int, str],
        titles: Mapping[int, str] | None = None,
        names: Mapping[int, str] | None = None,
    ) -> None:
        self._texts, self._titles, self._names = dict(texts), dict(titles or {}), dict(names or {})
        self._languages = {language_of(text) for text in texts.values()}
        self._stems = {key: self._stems_of(key) for key in {**self._texts, **self._titles}}
        self._written = {key: self._written_of(key) for key in self._stems}
        self._rarity_of = {id(terms): self._rarities(terms) for terms in (self._stems, self._written)}

    def __len__(self) -> int:
        return len(self._stems)

    def search(
        self, query: Query, k: int, allowed: Collection[int] | None, readable: Collection[int] | None = None
    ) -> list[Hit]:
        """Return the ``k`` best chunks of allowed documents, best first."""
        required = sum(clause.required for clause in query.clauses)
        stems, written = self._query_terms(query, allowed if readable is None else readable)
        hits = []
        for key in self._stems:
            if allowed is not None and key >> ORDINAL_BITS not in allowed:
                continue
            score = required + self._score(self._stems, key, stems) + self._score(self._written, key, written)
            if score > 0 and admits(query.clauses, *self.fields(key)):
                hits.append(Hit(key, score))
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk))[:k]

    def highlights(
        self, query: Query, text: str, readable: Collection[int] | None = None
    ) -> tuple[tuple[int, int], ...]:
        """Return (start, end) offsets of the query's words in ``text``."""
        return highlights(query, text, lambda word: self._occurs(self._variants(word), readable))

    def admits(self, query: Query, text: str, title: str, name: str) -> bool:
        """Return True if a passage has all that the query requires and nothing that it excludes."""
        return admits(query.clauses, text, title, name)

    def completions(self, typed: str, k: int, allowed: Collection[int] | None) -> list[tuple[str, Sequence[Hit]]]:
        """Return words that complete the last one of ``typed``, the most frequent first."""
        before, start = split(typed)
        if not is_completable(start):
            return []
        needed = {stem for word in before if word not in ALL_FUNCTION_WORDS for stem in stems(word)}
        hits_of: dict[str, list[Hit]] = {}
        for key, text in self._texts.items():
            if (allowed is None or key >> ORDINAL_BITS in allowed) and needed <= set(self._stems[key]):
                for word in {word for word in codes(text) if word.startswith(start) and word != start}:
                    hits_of.setdefault(word, []).append(Hit(key, 1.0))
        words = [(word, hits) for word, hits in hits_of.items() if word not in ALL_FUNCTION_WORDS]
        return sorted(words, key=lambda item: (-len(item[1]), item[0]))[:k]

    def titled(self, typed: str, k: int, allowed: Collection[int] | None) -> list[Hit]:
        """Return chunks whose title, heading or file name continues ``typed``."""
        keys = [key for key in self._stems if allowed is None or key >> ORDINAL_BITS in allowed]
        return [Hit(key, 1.0) for key in keys if any(continues(typed, t) is not None for t in self.fields(key)[1:])][:k]

    def fields(self, key: int) -> tuple[str, str, str]:
        """Return a chunk's text, title and file name."""
        return self._texts.get(key, ""), self._titles.get(key, ""), self._names.get(key, "")

    def _stems_of(self, key: int) -> list[str]:
        language = language_of(self._texts.get(key, ""))
        return [stem for field in self.fields(key) for stem in stems(field, language)]

    def _written_of(self, key: int) -> list[str]:
        return [word for field in self.fields(key) for word in as_written(field)]

    def _rarities(self, terms: Mapping[int, Sequence[str]]) -> dict[str, float]:
        counts = Counter(term for chunk_terms in terms.values() for term in set(chunk_terms))
        return {term: math.log(1 + (len(terms) - n + 0.5) / (n + 0.5)) for term, n in counts.items()}

    def _score(self, terms: Mapping[int, Sequence[str]], key: int, query_terms: Collection[str]) -> float:
        mean = sum(map(len, terms.values())) / max(1, len(terms))
        counts, length = Counter(terms[key]), len(terms[key])
        return sum(
            self._rarity_of[id(terms)][term] * n * (K1 + 1) / (n + K1 * (1 - B + B * length / mean))
            for term in query_terms
            if (n := counts[term])
        )

    def _variants(self, text: str) -> set[str]:
        return {stem for language in self._languages for stem in stems(text, language)}

    def _occurs(self, terms: set[str], readable: Collection[int] | None) -> bool:
        """Return True if one of the stems occurs in a readable chunk."""
        return any(
            not terms.isdisjoint(chunk_terms)
            for key, chunk_terms in self._stems.items()
            if readable is None or key >> ORDINAL_BITS in readable
        )

    def _query_terms(self, query: Query, readable: Collection[int] | None) -> tuple[set[str], set[str]]:
        """Return the terms to rank by: (stems, words as written)."""
        stem_terms: set[str] = set()
        written_terms: set[str] = set()
        for clause in content_clauses(query.clauses, tuple(self._languages)):
            if clause.sign == "-" or clause.ranged:
                continue
            if clause.kind == "word":
                stem_terms |= self._stem_terms(clause, readable)
            else:
                written_terms |= {term for term in self._rarity_of[id(self._written)] if _matches(clause, term)}
        return stem_terms, written_terms

    def _stem_terms(self, clause: Clause, readable: Collection[int] | None) -> set[str]:
        terms, word = self._variants(clause.text), folded(clause.text)
        if clause.required or not is_misspellable(word) or self._occurs(terms, readable):
            return terms
        stem, distance = stems(word)[0], default_distance(word)
        return {term for term in self._rarity_of[id(self._stems)] if is_near(stem, term, distance)}


def _matches(clause: Clause, word: str) -> bool:
    text = folded(clause.text)
    if clause.kind == "prefix":
        return word.startswith(text)
    return is_near(text, word, clause.distance or default_distance(text))


class MemoryIndex:
    """An index that publishes at once: what a writer was called with is what `snapshot` shows."""

    def __init__(self) -> None:
        self.documents: dict[int, StoredDocument] = {}

    def add(self, number: int, document: StoredDocument) -> None:
        """Add or replace a document."""
        self.documents[number] = document

    def remove(self, number: int) -> None:
        """Remove a document. Idempotent."""
        self.documents.pop(number, None)

    def snapshot(self) -> Snapshot:
        """Return the specification of a snapshot of these documents."""
        texts, titles, names, rows = {}, {}, {}, {}
        for number, document in self.documents.items():
            for place, chunk in enumerate(document.chunks):
                key = chunk_key(number, chunk.ordinal)
                texts[key], names[key] = chunk.text, document.name
                heading = chunk.heading if chunk.heading != document.title else None
                titles[key] = " ".join(filter(None, (document.title, heading)))
                if document.vectors is not None:
                    rows[key] = document.vectors[place]
        vectors = MemoryVectors(np.array(list(rows), np.int64), np.array(list(rows.values()), np.float32))
        without = sum(document.vectors is None for document in self.documents.values())
        numbers = DocumentNumbers(self.documents)
        return Snapshot("", "", vectors, MemoryLexical(texts, titles, names), numbers, without_vectors=without)


@dataclass(frozen=True)
class StoredDocument:
    """What a writer's `add` takes of one document."""

    chunks: tuple[Chunk, ...]
    vectors: np.ndarray | None
    title: str | None
    name: str
