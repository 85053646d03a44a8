"""Sentences with exact offsets, and quotes that can be checked."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.answer import check_quotes
from pipeline.questions import Passage, Quote
from pipeline.read import overlap, read
from pipeline.sentences import split_sentences


class Hashed:
    """A small deterministic embedder: words hashed into 64 dimensions."""

    name, digest, dimension = "hashed", "hashed", 64

    def embed(self, texts: list[str]) -> np.ndarray:
        rows = np.zeros((len(texts), 64), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[hashlib.sha256(word.strip("?.,").encode()).digest()[0] % 64] += 1
        return rows / np.maximum(1e-9, np.linalg.norm(rows, axis=1, keepdims=True))


def passage(text: str, start: int = 0, name: str = "a.txt") -> Passage:
    return Passage(name, name, 1, 0, text, start, start + len(text), 2, 2, None, 1.0)


@given(st.text(max_size=400))
def test_every_sentence_stands_where_it_says(text: str) -> None:
    sentences = split_sentences(text)
    assert all(text[s.start : s.end] == s.text and s.text.strip() == s.text for s in sentences)
    assert all(a.end <= b.start for a, b in itertools.pairwise(sentences))


@given(st.text(max_size=400))
def test_no_word_is_lost(text: str) -> None:
    assert "".join("".join(s.text for s in split_sentences(text)).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Mr. Smith paid EUR 12.50 on 3 Jan. 2026. It was late.", 2),
        ("See sec. 4 and § 12.3 of the lease. Done.", 2),
        ("1. Scope of work\n2. Price and payment", 2),
        ("The first line goes on without a break for quite a number of words and\ncontinues here.", 1),
        ("Is it due? Yes! It is.", 3),
        ("Der Mietvertrag beginnt am 1. Januar 2027.", 1),
        ("Der Mietvertrag beginnt am 1. Er endet 2029.", 2),
        ("The tank holds 500 l. It is full.", 2),
        ("Le prix est fixe. « Rien à payer. » L'accord est signé.", 3),
    ],
)
def test_sentences_of_office_prose(text: str, count: int) -> None:
    assert len(split_sentences(text)) == count


def test_a_megabyte_is_split_in_bounded_time() -> None:
    for text in ("a" * 1_000_000, " !" * 500_000, "\n" * 1_000_000, "No. " * 250_000):
        split_sentences(text)


def test_the_answering_sentence_is_quoted_with_its_place() -> None:
    text = "The lease began in May. The notice period is three months. Parking is extra."
    quotes, _ = read("How long is the notice period?", [passage(text, 100)], Hashed())
    best = quotes[0]
    assert best.text == "The notice period is three months."
    assert text[best.start - 100 : best.end - 100] == best.text
    assert best.page == 2


def test_a_quote_that_is_not_verbatim_is_dropped() -> None:
    here = passage("The notice period is three months.", 10)
    good = Quote(here.text, here.document_id, "a.txt", 2, 10, 10 + len(here.text), 1.0)
    bad = Quote("The notice period is two months.", here.document_id, "a.txt", 2, 10, 42, 1.0)
    assert check_quotes([good, bad], [here]) == (good,)


def test_rare_words_count_for_more() -> None:
    shares = overlap("period of notice", ["the period ends", "the period of notice", "the period starts"])
    assert shares[1] > shares[0] == shares[2]
