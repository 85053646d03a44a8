"""The extractive reader: the sentences of the passages that answer, verbatim. It can only quote."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.ports import Embedder
from pipeline.questions import Passage, Quote
from pipeline.sentences import split_sentences

#: Sentences that are compared with the question at most; the passages come best first.
MAX_SENTENCES = 120
MAX_QUOTES = 3
#: A further quote must come this close to the best one.
NEAR_BEST = 0.85
#: Logistic regression over (best sentence score, its share of the question's words, its cosine): see
#: docs/decisions/0027.
INTERCEPT, WEIGHTS = -7.86, (7.47, -0.74, 5.91)
#: Under this confidence the answer is "not found in your documents".
FLOOR = 0.4

_WORD = re.compile(r"[^\W_]+(?:[.,'’\-/][^\W_]+)*")
STOP_WORDS = frozenset(
    "a about all an and any are as at be been by can could did do does for from had has have how i if in into is it its "
    "may me much many must my of on or our shall she should so than that the their them there these they this to us was "
    "we were what when where which who whom whose why will with would you your".split()
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence with its score; ``overlap`` is the weighted share of the question's words in it, ``cosine`` the
    similarity of the embeddings, ``passage`` the place it came from (an index into the passages)."""

    text: str
    start: int
    end: int
    passage: int
    score: float
    overlap: float
    cosine: float


def read(question: str, passages: Sequence[Passage], embedder: Embedder) -> tuple[tuple[Quote, ...], float]:
    """Return the best sentences as quotes, and the confidence (0 to 1) that they answer the question."""
    candidates = rank(question, passages, embedder)
    if not candidates:
        return (), 0.0
    best = candidates[0]
    chosen = [best]
    for candidate in candidates[1:]:
        if (
            len(chosen) < MAX_QUOTES
            and candidate.score >= NEAR_BEST * best.score
            and all(candidate.text != c.text for c in chosen)
        ):
            chosen.append(candidate)
    return tuple(_quote(candidate, passages[candidate.passage]) for candidate in chosen), confidence(best)


def confidence(best: Candidate) -> float:
    """The calibrated probability that the best sentence answers."""
    features = (best.score, best.overlap, best.cosine)
    return 1.0 / (1.0 + math.exp(-(INTERCEPT + sum(w * f for w, f in zip(WEIGHTS, features, strict=True)))))


def rank(question: str, passages: Sequence[Passage], embedder: Embedder) -> list[Candidate]:
    """Every sentence of the passages with its score, best first.

    The score adds the cosine of the embeddings, the share of the question's words weighted by their rarity among the
    sentences, and a little for the rank of the passage.
    """
    places = [
        (number, sentence)
        for number, passage in enumerate(passages)
        for sentence in split_sentences(passage.text)
        if len(words(sentence.text)) > 2
    ][:MAX_SENTENCES]
    if not places:
        return []
    vectors = embedder.embed([question, *(_in_context(passages[n], s.text) for n, s in places)])
    cosines = vectors[1:] @ vectors[0]
    overlaps = overlap(question, [_in_context(passages[n], s.text) for n, s in places])
    candidates = [
        Candidate(
            s.text,
            s.start,
            s.end,
            n,
            float(0.5 * cosine + 0.4 * share + 0.1 / (1 + n)),
            float(share),
            float(cosine),
        )
        for (n, s), cosine, share in zip(places, cosines, overlaps, strict=True)
    ]
    return sorted(candidates, key=lambda c: -c.score)


def overlap(question: str, sentences: Sequence[str]) -> np.ndarray:
    """For each sentence, the share of the question's content words in it, each word weighted by its rarity here."""
    question_words = set(words(question)) - STOP_WORDS
    word_sets = [set(words(sentence)) for sentence in sentences]
    counts = Counter(word for word_set in word_sets for word in word_set & question_words)
    weights = {word: math.log(1 + (len(word_sets) + 1) / (counts[word] + 0.5)) for word in question_words}
    total = sum(weights.values()) or 1.0
    return np.array([sum(weights[word] for word in word_set & question_words) / total for word_set in word_sets])


def words(text: str) -> list[str]:
    """Lower-case words, a plural's s taken off, so that "invoices" meets "invoice"."""
    return [_singular(word.lower()) for word in _WORD.findall(text)]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _in_context(passage: Passage, sentence: str) -> str:
    """A sentence under its heading: "Notice period / Three months." answers what "Three months." alone does not."""
    return f"{passage.heading}: {sentence}" if passage.heading and passage.heading not in sentence else sentence


def _quote(candidate: Candidate, passage: Passage) -> Quote:
    return Quote(
        text=candidate.text,
        document_id=passage.document_id,
        document_name=passage.document_name,
        page=passage.page_first if passage.page_first == passage.page_last else None,
        start=passage.start + candidate.start,
        end=passage.start + candidate.end,
        score=candidate.score,
    )
