"""Any number of generated chunks: clustered vectors and texts of a Zipf vocabulary, the same for the same seed.

The vectors are `indexes.vectors.advise.Topics`, about 2,000 chunks per topic. Ten chunks are a document. Documents have
at most one of three labels, by which a filter keeps 50 %, 5 % or 0.1 % of them.
"""

from __future__ import annotations

from functools import cache, cached_property

import numpy as np

from indexes.vectors.advise import Topics

DIMENSION, PER_DOCUMENT, WORDS, VOCABULARY, BLOCK = 384, 10, 24, 100_000, 20_000
#: label -> share of the documents.
SHARES = {"half": 0.5, "twentieth": 0.05, "thousandth": 0.001}


class Chunks:
    """Generates ``count`` chunks block by block, so that any number fits into any memory."""

    def __init__(self, count: int, seed: int = 11) -> None:
        self.count, self.seed = count, seed
        self._topics = Topics(count, DIMENSION, seed)
        weights = 1.0 / np.arange(1, VOCABULARY + 1) ** 1.05
        self._words = np.cumsum(weights / weights.sum())

    @property
    def blocks(self) -> range:
        return range(-(-self.count // BLOCK))

    def vectors(self, block: int) -> np.ndarray:
        """Return the vectors of a block's chunks: float32, L2-normalised, (chunks, DIMENSION)."""
        return self._topics.near(np.random.default_rng((self.seed, 1, block)), self._size(block))

    def texts(self, block: int) -> list[str]:
        return self._texts(np.random.default_rng((self.seed, 2, block)), self._size(block), WORDS)

    def document(self, number: int) -> tuple[list[str], np.ndarray]:
        """Return texts and vectors of a document with a number beyond those of the blocks."""
        rng = np.random.default_rng((self.seed, 5, number))
        texts = [f"soak{number} {text}" for text in self._texts(rng, PER_DOCUMENT, WORDS)]
        return texts, self._topics.near(rng, PER_DOCUMENT)

    def queries(self, count: int) -> tuple[np.ndarray, list[str]]:
        """Return query vectors that differ from all chunks, and texts of four words without the 50 most frequent."""
        rng = np.random.default_rng((self.seed, 3))
        return self._topics.near(rng, count), self._texts(rng, count, 4, rarer_than=50)

    @cached_property
    def labels(self) -> np.ndarray:
        """The label of each document; "" for one without a label."""
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
        """The number of documents, which count from 1: chunk i belongs to document i // PER_DOCUMENT + 1."""
        return self.count // PER_DOCUMENT

    def _size(self, block: int) -> int:
        return min(BLOCK, self.count - block * BLOCK)

    def _texts(self, rng: np.random.Generator, count: int, words: int, rarer_than: int = 0) -> list[str]:
        least = self._words[rarer_than - 1] if rarer_than else 0.0
        drawn = np.searchsorted(self._words, least + (1 - least) * rng.random((count, words)))
        return [" ".join(map(_word, row)) for row in drawn.tolist()]


@cache
def _word(place: int) -> str:
    """Return three syllables for each place in the vocabulary, without digits: a word with digits counts as a code."""
    syllables = (place // 10_000, place // 100 % 100, place % 100)
    return "".join("bcdfghjklmnpqrstvwxz"[number % 20] + "aeiou"[number // 20] for number in syllables)
