"""The port Lexical, over the specification and Tantivy."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from indexes.lexical.memory import MemoryLexical
from indexes.lexical.tantivy import TantivyLexical, add_document, open_index
from pipeline.documents import Chunk
from pipeline.errors import Refused
from pipeline.ports import Lexical
from pipeline.questions import chunk_key

TEXTS = {
    1: "The notice period of this lease is three months, see § 12.3.",
    2: "Spare part PPR-9087 was delivered with the pump; contact ana@example.org.",
    3: "The pumps are running and the pump house is locked.",
    4: "Period instruments were played for three months.",
}
Make = Callable[[Mapping[int, str]], Lexical]


@pytest.fixture(params=["memory", "tantivy"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    def in_memory(texts: Mapping[int, str]) -> Lexical:
        return MemoryLexical({chunk_key(number, 0): text for number, text in texts.items()})

    def on_disk(texts: Mapping[int, str]) -> Lexical:
        index = open_index(tmp_path)
        writer = index.writer(20_000_000, 1)
        for number, text in texts.items():
            add_document(writer, number, [Chunk(0, text, 0, len(text))], None, f"{number}.txt")
        writer.commit()
        index.reload()
        return TantivyLexical(index, frozenset(texts))

    return in_memory if request.param == "memory" else on_disk


def found(lexical: Lexical, query: str, allowed: frozenset[int] | None = None) -> list[int]:
    return [hit.document_number for hit in lexical.search(query, 10, allowed)]


@pytest.mark.parametrize(
    ("query", "first"),
    [("notice period", 1), ("PPR-9087", 2), ("§ 12.3", 1), ("ana@example.org", 2), ("running pumps", 3), ("Pump", 3)],
)
def test_words_stems_and_codes(make: Make, query: str, first: int) -> None:
    assert found(make(TEXTS), query)[0] == first


def test_a_phrase_needs_its_order(make: Make) -> None:
    lexical = make(TEXTS)
    assert found(lexical, '"notice period"') == [1]
    assert found(lexical, '"period notice"') == []


def test_required_and_excluded(make: Make) -> None:
    lexical = make(TEXTS)
    assert set(found(lexical, "period")) == {1, 4}
    assert found(lexical, "period -instruments") == [1]
    assert found(lexical, "months +instruments") == [4]


@pytest.mark.parametrize(
    "query", ["", "   ", '"never closed', "+", "title:", "-only", "\x00\u202e", "x" * 2001, '+""'], ids=repr
)
def test_a_bad_query_is_refused_with_a_sentence_or_finds_nothing(make: Make, query: str) -> None:
    try:
        assert found(make(TEXTS), query) == []
    except Refused as error:
        assert error.code == "bad-query"
        assert error.detail


@pytest.mark.parametrize(
    "query", ["a*b(c[d]{e}^~:\\", "AND OR NOT", "שלום עולם", "((((((((((", "a " * 900, "'; DROP TABLE documents; --"]
)
def test_anything_else_is_words_in_bounded_time(make: Make, query: str) -> None:
    started = time.monotonic()
    found(make(TEXTS), query)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("allowed", [frozenset(), frozenset({3}), frozenset({1, 2, 3}), frozenset({1, 99})])
def test_the_filter_comes_before_the_ranking(make: Make, allowed: frozenset[int]) -> None:
    hits = found(make(TEXTS), "the pump period months", allowed)
    assert set(hits) == allowed & set(TEXTS)


def test_highlights_are_whole_words_of_the_same_stem(tmp_path: Path) -> None:
    text = TEXTS[3]
    marks = TantivyLexical(open_index(tmp_path), frozenset()).highlights("pump run", text)
    assert [text[a:b] for a, b in marks] == ["pumps", "running", "pump"]
