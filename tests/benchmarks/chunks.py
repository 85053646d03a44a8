"""Chunks in any number, made in code: clustered vectors and texts of a Zipf vocabulary, the same for the same seed.

The vectors are `indexes.vectors.advise.Topics`, about 2,000 chunks a topic.
Ten chunks are a document. Documents carry one of four labels, by which a filter keeps 50 %, 5 % or 0.1 % of them.
"""

from __future__ import annotations

from functools import cache, cached_property

import numpy as np

from indexes.vectors.advise import Topics

DIMENSION, PER_DOCUMENT, WORDS, VOCABULARY, BLOCK = 384, 10, 24, 100_000, 20_000
#: label -> share of the documents.
SHARES = {"half": 0.5, "twentieth": 0.05, "thousandth": 0.001}


class Chunks:
    """``count`` chunks. Everything comes block by block, so that any number fits into any memory."""

    def __init__(self, count: int, seed: int = 11) -> None:
        self.count, self.seed = count, seed
        self._topics = Topics(count, DIMENSION, seed)
        weights = 1.0 / np.arange(1, VOCABULARY + 1) ** 1.05
        self._words = np.cumsum(weights / weights.sum())

    @property
    def blocks(self) -> range:
        return range(-(-self.count // BLOCK))

    def vectors(self, block: int) -> np.ndarray:
        """float32, L2-normalised, of the chunks from ``block * BLOCK`` on."""
        return self._topics.near(np.random.default_rng((self.seed, 1, block)), self._size(block))

    def texts(self, block: int) -> list[str]:
        return self._texts(np.random.default_rng((self.seed, 2, block)), self._size(block), WORDS)

    def document(self, number: int) -> tuple[list[str], np.ndarray]:
        """Texts and vectors of a document beyond the ``count``, which no block holds."""
        rng = np.random.default_rng((self.seed, 5, number))
        texts = [f"soak{number} {text}" for text in self._texts(rng, PER_DOCUMENT, WORDS)]
        return texts, self._topics.near(rng, PER_DOCUMENT)

    def queries(self, count: int) -> tuple[np.ndarray, list[str]]:
        """Vectors that are no chunk's, and four words each; the 50 most frequent, as function words, are not asked for."""
        rng = np.random.default_rng((self.seed, 3))
        return self._topics.near(rng, count), self._texts(rng, count, 4, rarer_than=50)

    @cached_property
    def labels(self) -> np.ndarray:
        """Of each document; "" where it has none of `SHARES`."""
        order = np.random.default_rng((self.seed, 4)).permutation(self.documents)
        labels = np.full(self.documents, "", dtype="U10")
        at = 0
        for label, share in SHARES.items():
            size = max(1, round(share * self.documents))
            labels[order[at : at + size]] = label
            at += size
        return labels

    @property
    def documents(self) -> int:
        """Numbered from 1: chunk i belongs to document i // PER_DOCUMENT + 1."""
        return self.count // PER_DOCUMENT

    def _size(self, block: int) -> int:
        return min(BLOCK, self.count - block * BLOCK)

    def _texts(self, rng: np.random.Generator, count: int, words: int, rarer_than: int = 0) -> list[str]:
        least = self._words[rarer_than - 1] if rarer_than else 0.0
        drawn = np.searchsorted(self._words, least + (1 - least) * rng.random((count, words)))
        return [" ".join(map(_word, row)) for row in drawn.tolist()]


@cache
def _word(place: int) -> str:
    """Three syllables for each place in the vocabulary: of letters alone, since a word with figures is a code."""
    syllables = (place // 10_000, place // 100 % 100, place % 100)
    return "".join("bcdfghjklmnpqrstvwxz"[each % 20] + "aeiou"[each // 20] for each in syllables)
