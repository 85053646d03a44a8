"""Random documents, filters and queries whose right results are certain, from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from indexes.lexical.analysis import stems, words
from indexes.lexical.match import is_near
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk
from tests.support.memory_index import StoredDocument

DIMENSION = 8
#: A chunk that holds this word has `RANKED_LENGTH` words: how often it occurs decides its rank in every BM25.
RANKED_WORD, RANKED_LENGTH = "velundor", 12
FUNCTION_WORDS = ("the", "and", "with")
#: How far apart two words are at least, but for twins.
LETTERS_APART = 4


def invented_words(count: int) -> list[str]:
    """Return words whose stem is the word itself, with and without a plural s, none similar to another."""
    rng, chosen = random.Random(0), [RANKED_WORD]
    while len(chosen) <= count:
        word = "".join(rng.choice("bdfgklmnprtv") + rng.choice("aiou") for _ in range(rng.choice((3, 4)))) + "k"
        distinct = not any(is_near(word, other, LETTERS_APART) for other in chosen)
        if distinct and stems(word) == [word] and stems(f"{word}s") == [word]:
            chosen.append(word)
    return chosen[1:]


WORDS = invented_words(36)
#: Words of texts alone, of texts and titles, and of file names.
BODY, SHARED, NAMES = WORDS[:20], WORDS[20:28], WORDS[28:]
#: Rare words one letter off a word of texts: whether one is misspelt depends on who may read a document that has it.
TWINS = [f"{word[:3]}{'t' if word[3] != 't' else 'd'}{word[4:]}" for word in BODY[:6]]
CODES = [f"{letters}-{number}" for letters, number in zip(("QX", "WZ", "HJ", "YV"), range(4711, 4715), strict=True)]


class Corpus:
    """Draws documents, filters and queries; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self._vectors = np.random.default_rng(seed)
        self._pairs: list[tuple[str, str]] = []  # neighbours in a field, or over the edge of two fields

    def document(self) -> StoredDocument:
        """Draw a document of one to three chunks; one in six is not embedded."""
        if self.rng.random() < 0.2:
            return self._stored(None, f"{self.rng.choice(NAMES)}.txt", [self._ranked_text()], [None])
        title = " ".join(self.rng.sample(SHARED, 2)) if self.rng.random() < 0.6 else None
        texts = [self._text() for _ in range(self.rng.randint(1, 3))]
        headings = [self.rng.choice((None, title, self.rng.choice(SHARED))) for _ in texts]
        return self._stored(title, f"{'-'.join(self.rng.sample(NAMES, 2))}.txt", texts, headings)

    def _stored(self, title: str | None, name: str, texts: list[str], headings: Sequence[str | None]) -> StoredDocument:
        for text, heading in zip(texts, headings, strict=True):
            self._pairs += pairwise(words(" ".join(filter(None, (text, title, heading, name)))))
        chunks = tuple(Chunk(n, texts[n], 0, len(texts[n]), heading=headings[n]) for n in range(len(texts)))
        embedded = self.rng.random() < 5 / 6
        return StoredDocument(chunks, self.vectors(len(chunks)) if embedded else None, title, name)

    def vectors(self, count: int) -> np.ndarray:
        """Draw L2-normalised float32 vectors of shape (count, DIMENSION)."""
        rows = self._vectors.normal(size=(count, DIMENSION)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def visibility(self, numbers: range) -> Iterator[tuple[DocumentNumbers | None, DocumentNumbers | None]]:
        """Yield (allowed, readable): everything, nothing, one document, random sets, some inside what is readable."""
        yield None, None
        yield DocumentNumbers(), None
        yield DocumentNumbers([self.rng.choice(numbers)]), None
        while True:
            readable = DocumentNumbers(n for n in numbers if self.rng.random() < 0.7)
            yield readable, None
            yield DocumentNumbers(n for n in readable if self.rng.random() < 0.5), readable

    def query(self) -> str:
        """Draw a query of one to three clauses, of which at least one is not excluded."""
        clauses = [self._clause() for _ in range(self.rng.randint(1, 3))]
        if all(clause.startswith("-") for clause in clauses):
            clauses.append(self.rng.choice(BODY))
        return " ".join(clauses)

    def beginning(self) -> str:
        """Draw what somebody has typed: perhaps a complete word, and the beginning of another."""
        word = self.rng.choice(WORDS)
        start = word[: self.rng.randint(2, len(word))]
        return f"{self.rng.choice(BODY)} {start}" if self.rng.random() < 0.3 else start

    def _clause(self) -> str:
        body, shared, name = self.rng.choice(BODY), self.rng.choice(SHARED), self.rng.choice(NAMES)
        low = self.rng.randint(0, 900)
        month = self.rng.randint(1, 12)
        return self.rng.choice(
            (
                body,
                body.upper(),
                f"{body}s",
                shared,
                name,
                self.rng.choice(FUNCTION_WORDS),
                self.rng.choice(TWINS),
                self._misspelt(body),
                f"+{body}",
                f"+{shared}",
                f"-{body}",
                f"-{shared}",
                f'"{self._phrase()}"',
                f'-"{self._phrase()}"',
                f"{self.rng.choice(WORDS)[: self.rng.randint(2, 5)]}*",
                f"+{body[:4]}*",
                f"{self._misspelt(body)}~",
                f"+{self._misspelt(body)}~",
                f"title:{shared}",
                f"title:{shared[:3]}*",
                f"title:{self._misspelt(shared)}~",
                f'title:"{self._phrase()}"',
                f"name:{name}",
                f"-name:{name}",
                self.rng.choice(CODES),
                f"+{self.rng.choice(CODES)}",
                f"{low}..{low + 300}",
                f"-{low}..",
                f"2026-{month:02d}-01..2026-12-31",
                f"..2026-{month:02d}",
            )
        )

    def _text(self) -> str:
        chosen = []
        for _ in range(self.rng.randint(4, 14)):
            word = self.rng.choice((*BODY, *SHARED))
            chosen.append(self.rng.choice((word, word, word.capitalize(), f"{word}s")))
        chosen += self.rng.sample(FUNCTION_WORDS, 2)
        if self.rng.random() < 0.15:
            chosen.append(self.rng.choice(TWINS))
        if self.rng.random() < 0.4:
            chosen.append(self.rng.choice(CODES))
        if self.rng.random() < 0.4:
            chosen.append(str(self.rng.randint(0, 1200)))
        if self.rng.random() < 0.3:
            chosen.append(f"2026-{self.rng.randint(1, 12):02d}-{self.rng.randint(1, 28):02d}")
        self.rng.shuffle(chosen)
        return f"{' '.join(chosen)}."

    def _ranked_text(self) -> str:
        times = self.rng.randint(1, 6)
        chosen = [RANKED_WORD] * times + self.rng.sample(BODY, RANKED_LENGTH - times)
        self.rng.shuffle(chosen)
        return " ".join(chosen)

    def _phrase(self) -> str:
        return " ".join(self.rng.choice(self._pairs))

    def _misspelt(self, word: str) -> str:
        place = self.rng.randrange(1, len(word) - 1)
        return word[:place] + self.rng.choice("xyw") + word[place + 1 :]
