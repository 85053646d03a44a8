"""Queries to Milvus, without a server: numbers as tokens, permissions as runs."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from indexes.milvus import filter
from indexes.milvus.filter import DocumentFilter, runs_of
from indexes.milvus.tokens import figure_field, joined, range_tokens, token
from pipeline.document_numbers import DocumentNumbers
from pipeline.questions import Hits, chunk_key

NUMBERS = st.one_of(st.integers(-(10**14), 10**14).map(float), st.floats(-1e6, 1e6, allow_nan=False))
DAYS = st.integers(-700_000, 2_900_000)


@given(st.lists(NUMBERS, max_size=5), NUMBERS, NUMBERS)
def test_a_range_names_exactly_the_numbers_inside_it(values: list[float], one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    tokens = range_tokens("number", low, high)
    assert len(tokens) <= 480
    for value in [*values, low, high]:
        assert bool(set(tokens) & set(figure_field([value], []).split())) == (low <= value <= high), value


@given(st.lists(DAYS, max_size=5), DAYS, DAYS, st.booleans())
def test_a_range_names_exactly_the_days_inside_it(days: list[int], one: int, other: int, open_end: bool) -> None:
    low, high = min(one, other), None if open_end else max(one, other)
    tokens = set(range_tokens("date", low, high))
    for day in days:
        assert bool(tokens & set(figure_field([], [day]).split())) == (low <= day and (high is None or day <= high)), (
            day
        )


@given(st.text(min_size=1, max_size=30))
def test_a_term_is_one_word_and_no_two_are_the_same(term: str) -> None:
    term = term.encode(errors="replace").decode()
    assert re.fullmatch("[a-z0-9]+", token(term))
    assert term == token(term) or bytes.fromhex(token(term)[2:]).decode() == term


def test_a_field_that_is_too_long_ends_with_a_whole_term() -> None:
    text = joined(["word"] * 20_000)
    assert len(text) <= 65_535 and set(text.split()) == {"word"}


@given(st.frozensets(st.integers(1, 60)), st.frozensets(st.integers(1, 60)))
def test_runs_name_exactly_what_is_allowed(allowed: frozenset[int], present: frozenset[int]) -> None:
    runs = runs_of(DocumentNumbers(allowed), DocumentNumbers(present))
    named = {document for document in present for run in runs.expressions if admitted(run, document)}
    assert named == allowed & present


def test_many_runs_are_searched_in_parts_and_no_hit_is_missed(monkeypatch) -> None:
    monkeypatch.setattr(filter, "MAX_RUNS", 3)
    present, allowed = DocumentNumbers(range(1, 100)), DocumentNumbers(range(1, 100, 10))
    scores = {number: (number * 37 % 101) / 101 for number in range(1, 101)}  # 100 is newer than the filter
    expressions: list[str] = []

    def search(expression: str, k: int) -> Hits:
        expressions.append(expression)
        best = sorted((n for n in scores if admitted(expression, n)), key=lambda n: -scores[n])[:k]
        return Hits([chunk_key(n, 0) for n in best], [scores[n] for n in best])

    hits = DocumentFilter(present).best(search, 4, allowed)
    assert len(expressions) == 4
    assert [hit.document_number for hit in hits] == sorted(allowed, key=lambda n: -scores[n])[:4]
    assert 100 not in {
        hit.document_number for hit in DocumentFilter(present).best(search, 100, DocumentNumbers(range(1, 100)))
    }


def test_hits_are_read_on_past_the_forbidden_ones(monkeypatch) -> None:
    monkeypatch.setattr(filter, "FEW_RUNS", 2)
    allowed = DocumentNumbers(range(2, 1000, 2))
    order = np.random.default_rng(0).permutation(np.arange(1, 1000))

    def search(expression: str, k: int) -> Hits:
        assert expression == ""
        return Hits(order[:k] << 20, -np.arange(len(order[:k]), dtype=float))

    hits = DocumentFilter(DocumentNumbers(range(1, 1000))).best(search, 50, allowed)
    assert hits.keys.tolist() == [n << 20 for n in order.tolist() if n % 2 == 0][:50]


def admitted(expression: str, document: int) -> bool:
    return not expression or eval(expression, {"document": document})
