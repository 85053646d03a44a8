"""Hits of several indexes to one ranking, and passages that say the same to one."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

from pipeline.questions import Hit

#: The share of the words in the fused score, the rest is the meaning's: measured, see README.md. A query of codes and
#: phrases asks for a spelling, so its words decide.
WORDS, EXACT_WORDS = 0.3, 0.7
#: The share of a reranker's score where there is one.
RERANK = 0.5
#: Two texts say the same when so large a share of all their word sequences is common to both.
SAME = 0.9
_SEQUENCE = 5
_WORD = re.compile(r"\w+")


def fuse(parts: Mapping[str, Sequence[Hit]], exact: bool = False) -> list[tuple[int, float]]:
    """(chunk key, score), best first; ties by key, so that pages are stable.

    A convex combination: of the words' scores as shares of the best one, and of the cosines as they are. Neither depends
    on how many hits were asked for. A passage that only one of them found has no words in common with the query, or a
    cosine no better than the last one's.
    """
    words = {hit.chunk: hit.score for hit in parts.get("lexical", ())}
    cosines = {hit.chunk: hit.score for hit in parts.get("vector", ())}
    share = (EXACT_WORDS if exact else WORDS) if cosines else 1.0
    best, last = max(words.values(), default=0.0) or 1.0, min(cosines.values(), default=0.0)
    scores = {
        key: share * words.get(key, 0.0) / best + (1 - share) * cosines.get(key, last)
        for key in words.keys() | cosines.keys()
    }
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def rerank(fused: Sequence[float], again: Sequence[float]) -> list[int]:
    """Places, best first, by the fused scores and a reranker's together, each as a share of its best."""
    first, second = max(fused, default=0.0) or 1.0, max(again, default=0.0) or 1.0
    mixed = [(1 - RERANK) * one / first + RERANK * two / second for one, two in zip(fused, again, strict=True)]
    return sorted(range(len(mixed)), key=lambda place: (-mixed[place], place))


def few_per_document(hits: Sequence[Hit], limit: int) -> list[Hit]:
    """No more than ``limit`` hits of one document, the best ones."""
    seen: Counter[int] = Counter()
    kept = []
    for hit in hits:
        seen[hit.document_number] += 1
        if seen[hit.document_number] <= limit:
            kept.append(hit)
    return kept


class Sayings:
    """Texts seen so far; tells of a new one whether it says nearly the same as one of them. Texts that differ in a figure
    never do: two invoices of one form are two."""

    def __init__(self) -> None:
        self._sizes: dict[Hashable, int] = {}
        self._figures: dict[Hashable, frozenset[str]] = {}
        self._holding: dict[int, list[Hashable]] = defaultdict(list)

    def same_as(self, name: Hashable, text: str) -> Hashable | None:
        """The name of an earlier text that this one repeats, by the Jaccard measure over its sequences of five words; else
        None, and the text is remembered under ``name``."""
        words = _WORD.findall(text.lower())
        mine, figures = _sequences(words), frozenset(word for word in words if any(map(str.isdigit, word)))
        common = Counter(other for sequence in mine for other in self._holding.get(sequence, ()))
        for other, count in common.most_common():
            if count < SAME * len(mine):
                break
            if count >= SAME * (len(mine) + self._sizes[other] - count) and figures == self._figures[other]:
                return other
        self._sizes[name], self._figures[name] = len(mine), figures
        for sequence in mine:
            self._holding[sequence].append(name)
        return None


def _sequences(words: Sequence[str]) -> set[int]:
    return {hash(tuple(words[i : i + _SEQUENCE])) for i in range(max(1, len(words) - _SEQUENCE + 1))}
