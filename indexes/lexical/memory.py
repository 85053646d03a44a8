"""The specification of Lexical: BM25 over stemmed words in memory, and the index that holds nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping

from indexes.lexical.query import Clause, parse
from indexes.lexical.tantivy import ANALYSERS, highlights
from pipeline.questions import ORDINAL_BITS, Hit

K1, B = 1.2, 0.75


class NothingLexical:
    """Before the first generation."""

    def __len__(self) -> int:
        return 0

    def search(self, query: str, k: int, allowed: Collection[int] | None) -> list[Hit]:
        parse(query)
        return []

    def highlights(self, query: str, text: str) -> tuple[tuple[int, int], ...]:
        return ()


class MemoryLexical:
    """``texts`` maps chunk keys to texts. Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009)."""

    def __init__(self, texts: Mapping[int, str]) -> None:
        self._terms = {key: ANALYSERS["text"].analyze(text) for key, text in texts.items()}
        self._mean = sum(map(len, self._terms.values())) / max(1, len(self._terms))

    def __len__(self) -> int:
        return len(self._terms)

    def search(self, query: str, k: int, allowed: Collection[int] | None) -> list[Hit]:
        clauses = parse(query)
        hits = []
        for key, terms in self._terms.items():
            if allowed is not None and key >> ORDINAL_BITS not in allowed:
                continue
            score = self._score(clauses, terms)
            if score > 0:
                hits.append(Hit(key, score))
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk))[:k]

    def highlights(self, query: str, text: str) -> tuple[tuple[int, int], ...]:
        return highlights(query, text)

    def _score(self, clauses: tuple[Clause, ...], terms: list[str]) -> float:
        total = 0.0
        for clause in clauses:
            wanted = ANALYSERS["text"].analyze(clause.text)
            occurs = _stands(wanted, terms)
            if (clause.sign == "-" and occurs) or (clause.sign == "+" and not occurs):
                return 0.0
            if occurs and clause.sign != "-":
                total += sum(self._weight(term, terms) for term in wanted)
        return total

    def _weight(self, term: str, terms: list[str]) -> float:
        holding = sum(term in each for each in self._terms.values())
        rarity = math.log(1 + (len(self) - holding + 0.5) / (holding + 0.5))
        count = Counter(terms)[term]
        return rarity * count * (K1 + 1) / (count + K1 * (1 - B + B * len(terms) / self._mean))


def _stands(wanted: list[str], terms: list[str]) -> bool:
    return bool(wanted) and any(terms[i : i + len(wanted)] == wanted for i in range(len(terms) - len(wanted) + 1))
