"""The port Lexical, over the specification, Tantivy and Milvus."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from indexes.lexical.completion import continues
from indexes.lexical.tantivy import TantivyLexical, add_document, open_index
from indexes.milvus.reader import MilvusReader
from indexes.milvus.server import Server
from indexes.milvus.writer import MilvusWriter
from pipeline.documents import Chunk
from pipeline.errors import Refused
from pipeline.ports import Lexical
from pipeline.query import parse
from pipeline.questions import chunk_key
from tests.support.memory_index import MemoryLexical
from tests.support.milvus import MilvusServer

TEXTS = {
    1: "The notice period of this lease is three months, see § 12.3.",
    2: "Spare part PPR-9087 was delivered with the pump; contact ana@example.org.",
    3: "The pumps are running and the pump house is locked.",
    4: "Period instruments were played for three months.",
}
TITLES = {1: "Annual report 2026", 2: "Annual reporting duties", 3: "Lease"}
Make = Callable[[Mapping[int, str]], Lexical]


@pytest.fixture(scope="session")
def in_milvus(milvus: MilvusServer, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """An index is made once for the same texts."""
    made: dict[tuple[tuple[int, str], ...], Lexical] = {}

    def make(texts: Mapping[int, str]) -> Lexical:
        key = tuple(texts.items())
        if key not in made:
            server = Server(milvus.url())
            writer = MilvusWriter(server, tmp_path_factory.mktemp("milvus"), "serving", "E", 4)
            for number, text in texts.items():
                document, ordinal = (number, 0) if number < 1 << 20 else (number >> 20, number & 0xFFFFF)
                writer.add(document, [Chunk(ordinal, text, 0, len(text))], np.ones((1, 4)), None, f"{document}.txt")
            writer.publish(force=True)
            writer.close()
            made[key] = MilvusReader(server, "serving").snapshot().lexical
        return made[key]

    return make


@pytest.fixture(params=["memory", "tantivy", "milvus"])
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

    if request.param == "milvus":
        return request.getfixturevalue("in_milvus")
    return in_memory if request.param == "memory" else on_disk


@pytest.fixture(scope="session")
def having_titles(milvus: MilvusServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lexical, ...]:
    """Documents that say nothing but their titles."""
    index, server = open_index(tmp_path_factory.mktemp("titles")), Server(milvus.url())
    tantivy = index.writer(20_000_000, 1)
    writer = MilvusWriter(server, tmp_path_factory.mktemp("milvus"), "serving", "E", 4)
    for number, title in TITLES.items():
        held = [Chunk(0, "text", 0, 4)], title, f"{number}.txt"
        add_document(tantivy, number, *held)
        writer.add(number, held[0], np.ones((1, 4)), *held[1:])
    tantivy.commit()
    index.reload()
    writer.publish(force=True)
    writer.close()
    specified = MemoryLexical({}, {chunk_key(number, 0): title for number, title in TITLES.items()})
    return specified, TantivyLexical(index, frozenset(TITLES)), MilvusReader(server, "serving").snapshot().lexical


def found(lexical: Lexical, query: str, allowed: frozenset[int] | None = None) -> list[int]:
    return [hit.document_number for hit in lexical.search(parse(query), 10, allowed)]


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
    "query",
    [
        "",
        "   ",
        '"never closed',
        "+",
        "title:",
        "-only",
        "\x00\u202e",
        "x" * 4001,
        '+""',
        '""',
        "invoice foo:bar",
        "a*",
        "9..3",
        "1..x",
        "2026-02-30..2026-03-01",
        "2026-13-01..",
        "..2026-2",
        "a* b*",
        " ".join(f"ab{i}*" for i in range(17)),
        " ".join(f"w{i}" for i in range(401)),
    ],
    ids=repr,
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
    assert time.monotonic() - started < 60  # a bomb takes hours; a busy machine takes seconds


@pytest.mark.parametrize("allowed", [frozenset(), frozenset({3}), frozenset({1, 2, 3}), frozenset({1, 99})])
def test_the_filter_comes_before_the_ranking(make: Make, allowed: frozenset[int]) -> None:
    hits = found(make(TEXTS), "the pump period months", allowed)
    assert set(hits) == allowed & set(TEXTS)


def test_highlights_are_whole_words_of_the_same_stem(tmp_path: Path) -> None:
    text = TEXTS[3]
    marks = TantivyLexical(open_index(tmp_path), frozenset()).highlights(parse("pump run"), text)
    assert [text[a:b] for a, b in marks] == ["pumps", "running", "pump"]


FIGURES = {
    1: "Invoice of 3 March 2026 over 1,250.00 EUR, payable within 30 days.",
    2: "Invoice of 2026-07-15 over 980 EUR.",
    3: "Credit note GX-1250 of 01.12.2025 over 75.5 EUR.",
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("1000..2000", {1}), ("..100", {1, 3}), ("invoice 900..", {1, 2, 3}), ("75.5..75.5", {3}), ("1250..1250", {1}),
        ("2026-01-01..2026-06-30", {1}), ("2026-01..2026-12", {1, 2}), ("..2025-12-31", {3}), ("invoice -2026-07..", {1}),
    ],
)  # fmt: skip
def test_ranges_of_numbers_and_dates_that_stand_in_the_text(make: Make, query: str, expected: set[int]) -> None:
    assert set(found(make(FIGURES), query)) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("invo*", {1, 2}), ("GX-12*", {3}), ("creditt~", {3}), ("invioce~", {1, 2}), ("paayble~2", {1}),
        ("inovice", {1, 2}), ("crdit note", {3}), ("GX-1251", set()), ("+payable invoice", {1}), ("+GX-1250", {3}),
        ("125*", {3}), ("+1250*", {3}), ("GX-*", {3}), ('"credit note"', {3}), ('invoice "credit note"', {3}), ("+invo* -days", {2}),
    ],
)  # fmt: skip
def test_prefixes_like_words_and_misspelt_ones(make: Make, query: str, expected: set[int]) -> None:
    assert set(found(make(FIGURES), query)) >= expected
    if query != "GX-1251":
        assert set(found(make(FIGURES), query)) == expected
    else:
        assert 3 not in found(make(FIGURES), "+GX-1251")


GERMAN = {
    1: "Die Verträge sind mit einer Frist von drei Monaten zu kündigen, und der Vermieter ist zu hören.",
    2: "The contracts may be ended by the landlord with three months of notice.",
    3: "Les contrats sont résiliés par le bailleur avec un préavis de trois mois.",
    4: "契約は三ヶ月の予告で終了する。",
}


@pytest.mark.parametrize(
    ("query", "first"),
    [("Vertrag Monat", 1), ("contract month", 2), ("contrat préavis", 3), ("preavis", 3), ("予告", 4)],
)
def test_words_are_stemmed_by_the_language_of_their_passage(make: Make, query: str, first: int) -> None:
    assert found(make(GERMAN), query)[0] == first


def test_function_words_are_looked_for_only_where_there_is_nothing_else(make: Make) -> None:
    lexical = make(TEXTS)
    assert set(found(lexical, "what is the period of it")) == {1, 4}
    assert set(found(lexical, "the are")) >= {3}


def test_a_plain_text_has_no_syntax(make: Make) -> None:
    lexical = make(TEXTS)
    assert {
        hit.document_number for hit in lexical.search(parse('-period re:notice "open +(', plain=True), 10, None)
    } == {1, 4}


def test_a_passage_found_otherwise_is_held_against_what_is_required(make: Make) -> None:
    lexical = make({})
    text, title, name = "The notice period is 90 days.", "Office lease", "lease-2026.pdf"
    for query in (
        "notice",
        '"notice period"',
        "+notice -car",
        "title:lease",
        "name:2026",
        "+lease",
        "80..100",
        "+noti*",
        "title:OFF*",
        "title:offcie~",
        "name:2026*",
        "name:laese~",
    ):
        assert lexical.admits(parse(query), text, title, name), query
    for query in (
        '"period notice"',
        "-notice x",
        "title:notice",
        "name:office",
        "100..",
        "+car notice",
        "2026-01..",
        "title:noti*",
    ):
        assert not lexical.admits(parse(query), text, title, name), query


def test_a_word_that_other_texts_hold_is_not_taken_for_a_misspelt_one(make: Make) -> None:
    held = {chunk_key(1, 0): "the contract of the tenant", chunk_key(2, 0): "a sharp contrast in the pictures"}
    index = make(held)
    assert index.highlights(parse("contract"), held[chunk_key(2, 0)]) == ()
    assert len(index.highlights(parse("contrackt"), held[chunk_key(1, 0)])) == 1


def test_a_word_that_only_forbidden_texts_hold_is_misspelt_as_if_they_were_not_there(make: Make) -> None:
    held = {1: "the contract of the tenant", 2: "a sharp contrast in the pictures"}
    index = make(held)
    assert found(index, "contrast", frozenset({1, 2})) == [2]
    assert found(index, "contrast", frozenset({1})) == [1]
    assert index.highlights(parse("contrast"), held[1], readable={1, 2}) == ()
    assert len(index.highlights(parse("contrast"), held[1], readable={1})) == 1


def test_a_word_is_misspelt_or_not_by_what_may_be_read_whatever_the_filter_keeps(make: Make) -> None:
    index = make({1: "the contract of the tenant", 2: "a sharp contrast in the pictures"})
    assert [len(index.search(parse("contrast"), 10, {1}, readable=readable)) for readable in ({1, 2}, {1}, None)] == [
        0,
        1,
        1,
    ]


def test_highlights_show_prefixes_like_words_and_leave_function_words(make: Make) -> None:
    def marked(query: str) -> list[str]:
        text = TEXTS[1]
        return [text[a:b] for a, b in make({}).highlights(parse(query), text)]

    assert marked("the notice of this") == ["notice"]
    assert marked("perio* leese~") == ["period", "lease"]
    french = "Un préavis, voir PPR-9087."
    for query, expected in (("preav*", "préavis"), ("praevis~", "préavis"), ("PPR-90*", "PPR 9087")):
        places = make({}).highlights(parse(query), french)
        assert " ".join(french[a:b] for a, b in places) == expected
    assert marked("montsh") == ["months"]


@pytest.mark.parametrize(
    ("typed", "allowed", "words"),
    [
        ("pe", None, ["period"]),
        ("pu", None, ["pump", "pumps"]),
        ("pu", {1, 4}, []),
        ("pu", set(), []),
        ("notice per", None, ["period"]),
        ("instruments per", {1}, []),
        ("ppr-", None, ["ppr-9087"]),
        ("ANA", None, ["ana@example.org"]),
        ("th", None, ["three"]),  # function words are no help
        ("pump", None, ["pumps"]),  # nor is the word itself
        ("p", None, []),
        ("pump ", None, []),
        ("(.*", None, []),
        ("", None, []),
    ],
)
def test_words_that_a_beginning_may_become(make: Make, typed: str, allowed: set[int] | None, words: list[str]) -> None:
    kept = frozenset(allowed) if allowed is not None else None
    found = make(TEXTS).completions(typed, 10, kept)
    assert [word for word, _ in found] == words
    for word, hits in found:
        assert hits and all(word in TEXTS[hit.document_number].lower() for hit in hits)
        assert kept is None or all(hit.document_number in kept for hit in hits)


@pytest.mark.parametrize(
    ("typed", "allowed", "documents"),
    [
        ("annual rep", None, {1, 2}),
        ("annual reportin", None, {2}),
        ("annual rep", {2, 3}, {2}),
        ("RÉP", {1, 3}, {1}),
        ("report annual", None, set()),
        ("annual rep", set(), set()),
        ("", None, set()),
        ("...", None, set()),
    ],
)
def test_titles_that_go_on_from_a_beginning(
    having_titles: tuple[Lexical, ...], typed: str, allowed: set[int] | None, documents: set[int]
) -> None:
    kept = frozenset(allowed) if allowed is not None else None
    for lexical in having_titles:
        found = [hit.document_number for hit in lexical.titled(typed, 10, kept)]
        assert documents == {number for number in found if continues(typed, TITLES[number]) is not None}
        assert kept is None or kept.issuperset(found)


@pytest.mark.parametrize(
    ("query", "documents"),
    [
        ("title:reporting*", {2}), ("title:REPORT*", {1, 2}), ("title:duties*", {2}), ("title:reportign~", {2}),
        ("title:laese~", {3}), ('title:"annual reports"', {1, 2}), ("duti*", {2}), ("+laese~", {3}), ("title:zeb*", set()),
    ],
)  # fmt: skip
def test_a_title_is_found_by_beginnings_and_like_words_as_it_is_written(
    having_titles: tuple[Lexical, ...], query: str, documents: set[int]
) -> None:
    assert [set(found(lexical, query)) for lexical in having_titles] == [documents] * 3
