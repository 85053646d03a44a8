"""The specification of Lexical: BM25 over stemmed words in memory, and the index that holds nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from indexes.lexical.analysis import codes, content_words, folded, language_of, stems, written
from indexes.lexical.match import admits, highlights, is_misspellable, is_near, letters_off
from indexes.lexical.typed import FUNCTION_WORDS, continues, is_completable, split
from pipeline.query import Clause, Query
from pipeline.questions import ORDINAL_BITS, Hit

K1, B = 1.2, 0.75


class NothingLexical:
    """Before the first generation."""

    def __len__(self) -> int:
        return 0

    def search(
        self, query: Query, k: int, allowed: Collection[int] | None, readable: Collection[int] | None = None
    ) -> list[Hit]:
        return []

    def highlights(
        self, query: Query, text: str, readable: Collection[int] | None = None
    ) -> tuple[tuple[int, int], ...]:
        return ()

    def admits(self, query: Query, text: str, title: str, name: str) -> bool:
        return admits(query.clauses, text, title, name)

    def completions(self, typed: str, k: int, allowed: Collection[int] | None) -> list[tuple[str, Sequence[Hit]]]:
        return []

    def titled(self, typed: str, k: int, allowed: Collection[int] | None) -> list[Hit]:
        return []


class MemoryLexical:
    """``texts`` maps chunk keys to texts, ``titles`` to titles with headings and file names. Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009)."""

    def __init__(self, texts: Mapping[int, str], titles: Mapping[int, str] | None = None) -> None:
        self._texts, self._titles = dict(texts), dict(titles or {})
        held = {key: "\n".join(filter(None, (self._text(key), self._title(key)))) for key in {**texts, **self._titles}}
        self._terms = {key: _terms(text) for key, text in held.items()}
        self._languages = {language_of(text) for text in texts.values()}
        self._holding = Counter(term for terms in self._terms.values() for term in set(terms))
        self._vocabulary = self._holding.keys()
        self._mean = sum(map(len, self._terms.values())) / max(1, len(self._terms))

    def __len__(self) -> int:
        return len(self._terms)

    def search(
        self, query: Query, k: int, allowed: Collection[int] | None, readable: Collection[int] | None = None
    ) -> list[Hit]:
        clauses = query.clauses
        required = sum(clause.required for clause in clauses)
        readable = allowed if readable is None else readable
        wanted = {term for clause in self._content(clauses) for term in self._wanted(clause, readable)}
        hits = []
        for key, terms in self._terms.items():
            if allowed is not None and key >> ORDINAL_BITS not in allowed:
                continue
            score = required + sum(self._weight(term, terms) for term in wanted if term in terms)
            if score > 0 and admits(clauses, self._text(key), self._title(key)):
                hits.append(Hit(key, score))
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk))[:k]

    def highlights(
        self, query: Query, text: str, readable: Collection[int] | None = None
    ) -> tuple[tuple[int, int], ...]:
        return highlights(query, text, lambda word: self._knows(word, readable))

    def admits(self, query: Query, text: str, title: str, name: str) -> bool:
        return admits(query.clauses, text, title, name)

    def completions(self, typed: str, k: int, allowed: Collection[int] | None) -> list[tuple[str, Sequence[Hit]]]:
        before, start = split(typed)
        if not is_completable(start):
            return []
        needed = {stem for word in before if word not in FUNCTION_WORDS for stem in stems(word)}
        having: dict[str, list[Hit]] = {}
        for key, text in self._texts.items():
            if (allowed is None or key >> ORDINAL_BITS in allowed) and needed <= set(self._terms[key]):
                for word in {word for word in codes(text) if word.startswith(start) and word != start}:
                    having.setdefault(word, []).append(Hit(key, 1.0))
        found = [(word, hits) for word, hits in having.items() if word not in FUNCTION_WORDS]
        return sorted(found, key=lambda each: (-len(each[1]), each[0]))[:k]

    def titled(self, typed: str, k: int, allowed: Collection[int] | None) -> list[Hit]:
        kept = [key for key in self._titles if allowed is None or key >> ORDINAL_BITS in allowed]
        return [Hit(key, 1.0) for key in kept if continues(typed, self._titles[key]) is not None][:k]

    def _text(self, key: int) -> str:
        return self._texts.get(key, "")

    def _title(self, key: int) -> str:
        return self._titles.get(key, "")

    def _knows(self, word: str, readable: Collection[int] | None) -> bool:
        return self._stands({stem for each in self._languages for stem in stems(word, each)}, readable)

    def _stands(self, terms: set[str], readable: Collection[int] | None) -> bool:
        """Whether one of them stands in a readable text."""
        return any(
            not terms.isdisjoint(held)
            for key, held in self._terms.items()
            if readable is None or key >> ORDINAL_BITS in readable
        )

    def _content(self, clauses: Sequence[Clause]) -> list[Clause]:
        words = [c.text for c in clauses if c.kind == "word"]
        kept = content_words(words, language_of(" ".join(words)))
        return [c for c in clauses if c.sign != "-" and (c.kind != "word" or c.text in kept)]

    def _wanted(self, clause: Clause, readable: Collection[int] | None) -> set[str]:
        text = folded(clause.text)
        if clause.kind == "prefix":
            return {word for word in self._vocabulary if word.startswith(text)}
        if clause.kind == "like":
            return {w for w in self._vocabulary if is_near(text, w, clause.distance or letters_off(text))}
        found = {term for each in self._languages for term in stems(text, each)} | {
            code for code in codes(text) if not code.isalpha()
        }
        if is_misspellable(text) and not self._stands(found, readable):
            found = {w for w in self._vocabulary if is_near(stems(text)[0], w, letters_off(text))}
        return found

    def _weight(self, term: str, terms: list[str]) -> float:
        holding = self._holding[term]
        rarity = math.log(1 + (len(self) - holding + 0.5) / (holding + 0.5))
        count = Counter(terms)[term]
        return rarity * count * (K1 + 1) / (count + K1 * (1 - B + B * len(terms) / self._mean))


def _terms(text: str) -> list[str]:
    """Stems, and the words as they are written where that differs."""
    found = stems(text, language_of(text))
    return [*found, *(word for word in written(text) if word not in found)]
