"""Merge the hits of several indexes into one ranking, and near-duplicate texts into one hit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np

from pipeline.questions import Hit, Hits

#: The share of the lexical score in the fused one; the cosine has the rest: docs/decisions/0021. A query of codes and
#: phrases asks for a spelling, so there the lexical score counts more; a query with some of them is in between.
LEXICAL_SHARE, EXACT_LEXICAL_SHARE = 0.3, 0.7
#: The share of a reranker's score in the final one.
RERANK_SHARE = 0.5
#: Two texts are near-duplicates if they share this part of all their word sequences.
NEAR_DUPLICATE_SHARE = 0.9
_SEQUENCE = 5
_WORD = re.compile(r"\w+")

Name = TypeVar("Name", bound=Hashable)


def fuse(parts: Mapping[str, Sequence[Hit]], spelling: float = 0.0) -> Hits:
    """Return the hits of the parts "lexical" and "vector" as one ranking, best first; ties by key, so pages are stable.

    The fused score is a convex combination of the lexical scores, as shares of the best one, and the cosines. Neither
    depends on how many hits were requested. A passage without a lexical hit counts as 0 there; one without a vector hit
    counts as the last cosine. ``spelling`` (0.0 to 1.0) is `Query.spelling`.
    """
    lexical, vector = Hits.of(parts.get("lexical", ())), Hits.of(parts.get("vector", ()))
    share = LEXICAL_SHARE + (EXACT_LEXICAL_SHARE - LEXICAL_SHARE) * spelling if len(vector) else 1.0
    best, last = lexical.scores.max(initial=0.0) or 1.0, vector.scores.min() if len(vector) else 0.0
    keys = np.sort(np.concatenate([lexical.keys, vector.keys]))
    keys = keys[np.append(True, keys[1:] != keys[:-1])[: len(keys)]]
    scores = share * _scores_at(lexical, keys, 0.0) / best + (1 - share) * _scores_at(vector, keys, last)
    order = np.argsort(-scores, kind="stable")  # the keys are sorted
    return Hits(keys[order], scores[order])


def _scores_at(hits: Hits, keys: np.ndarray, default: float) -> np.ndarray:
    """Return the hits' scores at their places in ``keys`` (sorted), ``default`` elsewhere."""
    scores = np.full(len(keys), default)
    scores[np.searchsorted(keys, hits.keys)] = hits.scores
    return scores


def rerank_order(fused: Sequence[float], reranked: Sequence[float]) -> list[int]:
    """Return the positions, best first, by fused and reranker's scores together, both as shares of their best."""
    best_fused, best_reranked = max(fused, default=0.0) or 1.0, max(reranked, default=0.0) or 1.0
    mixed = [
        (1 - RERANK_SHARE) * one / best_fused + RERANK_SHARE * two / best_reranked
        for one, two in zip(fused, reranked, strict=True)
    ]
    return sorted(range(len(mixed)), key=lambda place: (-mixed[place], place))


def few_per_document(hits: Iterable[Hit], limit: int) -> Iterator[Hit]:
    """Yield at most the first ``limit`` hits of every document."""
    counts: Counter[int] = Counter()
    for hit in hits:
        number = hit.document_number
        counts[number] += 1
        if counts[number] <= limit:
            yield hit


class NearDuplicates(Generic[Name]):
    """Collects texts and finds an earlier one that a new text nearly repeats.

    Texts with different numbers in them are never duplicates: two invoices from one template are two documents.
    """

    def __init__(self) -> None:
        self._texts: dict[Name, tuple[list[str], set[int]]] = {}
        self._all_sequences: set[int] = set()

    def find(self, name: Name, text: str) -> Name | None:
        """Return the name of an earlier text that this one repeats, by Jaccard similarity of five-word sequences;
        otherwise return None and store the text under ``name``."""
        words = _WORD.findall(text.lower())
        sequences = word_sequences(words)
        # Too few sequences in common with all earlier texts together rules out each of them; this is the usual case.
        if len(sequences & self._all_sequences) >= NEAR_DUPLICATE_SHARE * len(sequences):
            duplicate = self._most_similar(words, sequences)
            if duplicate is not None:
                return duplicate
        self._texts[name] = words, sequences
        self._all_sequences |= sequences
        return None

    def _most_similar(self, words: Sequence[str], sequences: set[int]) -> Name | None:
        numbers, best, most = _numbers(words), None, 0
        for name, (other_words, other_sequences) in self._texts.items():
            common = len(sequences & other_sequences)
            similar = common >= NEAR_DUPLICATE_SHARE * (len(sequences) + len(other_sequences) - common)
            if common > most and similar and numbers == _numbers(other_words):
                best, most = name, common
        return best


def _numbers(words: Sequence[str]) -> frozenset[str]:
    return frozenset(word for word in words if not word.isalpha() and any(map(str.isdigit, word)))


def word_sequences(words: Sequence[str]) -> set[int]:
    """Return the hash of every five-word sequence; a shorter text is one sequence. Hashes, since that many tuples would
    trigger the garbage collector."""
    if len(words) < _SEQUENCE:
        return {hash(tuple(words))}
    return set(map(hash, zip(*(words[start:] for start in range(_SEQUENCE)), strict=False)))
