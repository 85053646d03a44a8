"""The extractive reader: finds the sentences of the passages that answer a question, and quotes them verbatim."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.function_words import FUNCTION_WORDS, language_of
from pipeline.ports import Embedder
from pipeline.questions import Passage, Quote
from pipeline.sentences import split_sentences

#: At most this many sentences are compared with the question; the passages come best first.
MAX_SENTENCES = 120
MAX_QUOTES = 3
#: A further quote needs this share of the best one's score.
NEAR_BEST = 0.85
#: Logistic regression over (best sentence score, its share of the question's words, its cosine): see
#: docs/decisions/0027.
INTERCEPT, WEIGHTS = -7.86, (7.47, -0.74, 5.91)
#: Under this confidence the answer is "not found in your documents".
FLOOR = 0.4

_WORD = re.compile(r"[^\W_]+(?:[.,'’\-/][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence with its score.

    ``overlap`` is the weighted share of the question's words in it, ``cosine`` the similarity of the embeddings,
    ``passage`` the index of its passage.
    """

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
        is_near = candidate.score >= NEAR_BEST * best.score
        if is_near and len(chosen) < MAX_QUOTES and candidate.text not in [other.text for other in chosen]:
            chosen.append(candidate)
    quotes = []
    for candidate in chosen:
        passage = passages[candidate.passage]
        quote = Quote(
            text=candidate.text,
            document_id=passage.document_id,
            document_name=passage.document_name,
            page=passage.page_first if passage.page_first == passage.page_last else None,
            start=passage.start + candidate.start,
            end=passage.start + candidate.end,
            score=candidate.score,
        )
        quotes.append(quote)
    return tuple(quotes), confidence(best)


def confidence(best: Candidate) -> float:
    """Return the calibrated probability that the best sentence answers."""
    features = (best.score, best.overlap, best.cosine)
    return 1.0 / (1.0 + math.exp(-(INTERCEPT + sum(w * f for w, f in zip(WEIGHTS, features, strict=True)))))


def rank(question: str, passages: Sequence[Passage], embedder: Embedder) -> list[Candidate]:
    """Return the sentences of the passages with their scores, best first.

    The score is the sum of the embeddings' cosine, the share of the question's words weighted by their rarity among the
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
    """Return for each sentence the share of the question's content words in it, weighted by their rarity among the
    sentences; shape (len(sentences),)."""
    question_words = set(words(question, FUNCTION_WORDS[language_of(question)]))
    word_sets = [set(words(sentence)) for sentence in sentences]
    counts = Counter(word for word_set in word_sets for word in word_set & question_words)
    weights = {word: math.log(1 + (len(word_sets) + 1) / (counts[word] + 0.5)) for word in question_words}
    total = sum(weights.values()) or 1.0
    return np.array([sum(weights[word] for word in word_set & question_words) / total for word_set in word_sets])


def words(text: str, excluded: frozenset[str] = frozenset()) -> list[str]:
    """Return the words in lower case but those ``excluded``, a plural without its s: "invoices" equals "invoice"."""
    return [
        word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
        for word in map(str.lower, _WORD.findall(text))
        if word not in excluded
    ]


def _in_context(passage: Passage, sentence: str) -> str:
    """Return a sentence after its heading: "Notice period: Three months." answers what "Three months." does not."""
    return f"{passage.heading}: {sentence}" if passage.heading and passage.heading not in sentence else sentence
