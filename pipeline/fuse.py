"""Hits of several indexes to one ranking, and passages that say the same to one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from pipeline.questions import Hit, Hits

#: The share of the words in the fused score, the rest is the meaning's: docs/decisions/0021. A query of codes and
#: phrases asks for a spelling, so its words decide; one that has them among others stands between.
WORDS, EXACT_WORDS = 0.3, 0.7
#: The share of a reranker's score where there is one.
RERANK = 0.5
#: Two texts say the same when so large a share of all their word sequences is common to both.
SAME = 0.9
_SEQUENCE = 5
_WORD = re.compile(r"\w+")


def fuse(parts: Mapping[str, Sequence[Hit]], spelling: float = 0.0) -> Hits:
    """Best first; ties by key, so that pages are stable.

    A convex combination: of the words' scores as shares of the best one, and of the cosines as they are. Neither depends
    on how many hits were asked for. A passage that only one of them found has no words in common with the query, or a
    cosine no better than the last one's. ``spelling`` (0..1) is `query.spelling`'s.
    """
    words, cosines = Hits.of(parts.get("lexical", ())), Hits.of(parts.get("vector", ()))
    share = WORDS + (EXACT_WORDS - WORDS) * spelling if len(cosines) else 1.0
    best, last = words.scores.max(initial=0.0) or 1.0, cosines.scores.min() if len(cosines) else 0.0
    keys = np.sort(np.concatenate([words.keys, cosines.keys]))
    keys = keys[np.append(True, keys[1:] != keys[:-1])[: len(keys)]]
    scores = share * _spread(words, keys, 0.0) / best + (1 - share) * _spread(cosines, keys, last)
    order = np.argsort(-scores, kind="stable")  # the keys are sorted
    return Hits(keys[order], scores[order])


def _spread(hits: Hits, keys: np.ndarray, otherwise: float) -> np.ndarray:
    """The hits' scores at their places in ``keys`` (sorted)."""
    scores = np.full(len(keys), otherwise)
    scores[np.searchsorted(keys, hits.keys)] = hits.scores
    return scores


def rerank(fused: Sequence[float], again: Sequence[float]) -> list[int]:
    """Return the places, best first, by the fused scores and a reranker's together, each as a share of its best."""
    first, second = max(fused, default=0.0) or 1.0, max(again, default=0.0) or 1.0
    mixed = [(1 - RERANK) * one / first + RERANK * two / second for one, two in zip(fused, again, strict=True)]
    return sorted(range(len(mixed)), key=lambda place: (-mixed[place], place))


def few_per_document(hits: Iterable[Hit], limit: int) -> Iterator[Hit]:
    """Yield at most the first ``limit`` hits of every document."""
    counts: Counter[int] = Counter()
    for hit in hits:
        number = hit.document_number
        counts[number] += 1
        if counts[number] <= limit:
            yield hit


class NearDuplicates:
    """Collects texts and finds an earlier one that a new text nearly repeats. Texts with different figures are never
    duplicates: two invoices of one form are two."""

    def __init__(self) -> None:
        self._held: dict[Hashable, tuple[list[str], set[int]]] = {}
        self._any: set[int] = set()

    def find(self, name: Hashable, text: str) -> Hashable | None:
        """Return the name of an earlier text that this one repeats, by Jaccard similarity of five-word sequences; otherwise
        return None and store the text under ``name``."""
        words = _WORD.findall(text.lower())
        mine = _sequences(words)
        # What all earlier texts have together is less than what one of them must have: so it is with nearly every text.
        if len(mine & self._any) >= SAME * len(mine) and (other := self._nearest(words, mine)) is not None:
            return other
        self._held[name] = words, mine
        self._any |= mine
        return None

    def _nearest(self, words: Sequence[str], mine: set[int]) -> Hashable | None:
        """Return the name of the most similar duplicate, if any."""
        figures, best, most = _figures(words), None, 0
        for name, (others, theirs) in self._held.items():
            common = len(mine & theirs)
            same = common >= SAME * (len(mine) + len(theirs) - common)
            if common > most and same and figures == _figures(others):
                best, most = name, common
        return best


def _figures(words: Sequence[str]) -> frozenset[str]:
    return frozenset(word for word in words if not word.isalpha() and any(map(str.isdigit, word)))


def _sequences(words: Sequence[str]) -> set[int]:
    """Return a hash per sequence; a shorter text is one. So many tuples would trigger the garbage collector."""
    if len(words) < _SEQUENCE:
        return {hash(tuple(words))}
    return set(map(hash, zip(*(words[start:] for start in range(_SEQUENCE)), strict=False)))
