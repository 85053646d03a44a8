"""Chunks: places, lengths, order, and what stays together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.chunk import chunk
from pipeline.documents import Element, Parsed

CATEGORIES = ("Title", "NarrativeText", "ListItem", "Table", "UncategorizedText", "Header")
elements = st.builds(
    Element,
    category=st.sampled_from(CATEGORIES),
    text=st.one_of(
        st.text(max_size=80),
        st.text(alphabet="ab .\n", max_size=900),
        st.integers(0, 700).map(lambda n: "word " * n + "x"),
        st.integers(0, 3000).map(lambda n: "x" * n),
    ),
    page=st.one_of(st.none(), st.integers(1, 9)),
)


def parsed(*parts: Element) -> Parsed:
    return Parsed("text/plain", parts, 1, "test")


@given(st.lists(elements, max_size=25), st.integers(1, 1500), st.integers(0, 400))
def test_passages_are_exact_ordered_slices_that_lose_nothing(parts: list[Element], most: int, least: int) -> None:
    document = parsed(*parts)
    passages = chunk(document, most, least)
    at = 0
    for number, passage in enumerate(passages):
        assert passage.ordinal == number
        assert document.text[passage.start : passage.end] == passage.text
        assert 0 < len(passage.text) <= most and passage.text.strip()
        assert passage.start >= at
        assert not document.text[at : passage.start].strip()
        at = passage.end
    assert not document.text[at:].strip()


@given(st.lists(elements, max_size=25))
def test_page_ranges_cover_the_elements_they_hold(parts: list[Element]) -> None:
    pages = {e.page for e in parts if e.text.strip() and e.page is not None}
    passages = chunk(parsed(*parts))
    for passage in passages:
        assert (passage.page_first is None) == (passage.page_last is None)
        if passage.page_first is not None:
            assert passage.page_first <= passage.page_last and {passage.page_first, passage.page_last} <= pages
    covered = {p for c in passages if c.page_first is not None for p in range(c.page_first, c.page_last + 1)}
    assert pages <= covered


def test_a_title_stays_with_what_follows_and_names_the_passage() -> None:
    document = parsed(
        Element("NarrativeText", "intro " * 100, 1),
        Element("Title", "Payment terms", 2),
        Element("NarrativeText", "pay " * 200, 2),
        Element("NarrativeText", "later " * 150, 3),
    )
    passages = chunk(document)
    first = next(p for p in passages if "pay pay" in p.text)
    assert first.text.startswith("Payment terms") and first.heading == "Payment terms"
    assert passages[0].heading is None
    assert passages[-1].heading == "Payment terms" and passages[-1].page_last == 3


def test_a_title_before_an_element_that_has_to_be_cut_stays_too() -> None:
    document = parsed(Element("Title", "Scope"), Element("NarrativeText", "A sentence of the scope. " * 200))
    passages = chunk(document)
    assert passages[0].text.startswith("Scope\n\nA sentence")
    assert all(p.heading == "Scope" for p in passages)


def test_short_sections_are_gathered() -> None:
    parts = [e for i in range(6) for e in (Element("Title", f"Part {i}"), Element("NarrativeText", "A few words."))]
    assert len(chunk(parsed(*parts))) == 1


def test_a_table_that_fits_is_whole_and_a_longer_one_is_cut_between_rows() -> None:
    rows = "\n".join(f"row {i} | {i * 7}" for i in range(40))
    text = Element("NarrativeText", "x " * 500)
    assert any(p.text == rows for p in chunk(parsed(text, Element("Table", rows), text)))
    long_rows = "\n".join(f"row {i} | value {i * 7}" for i in range(400))
    for passage in chunk(parsed(Element("Table", long_rows))):
        assert passage.text.startswith("row ") and passage.text.split("\n")[-1].count("|") == 1


def test_sentences_are_not_cut_where_it_can_be_helped() -> None:
    passages = chunk(parsed(Element("NarrativeText", ("This is one whole sentence of the text. " * 120).strip())))
    assert all(p.text.endswith(".") for p in passages)


def test_a_point_inside_a_sentence_is_not_a_place_to_cut() -> None:
    text = " ".join(f"Mietvertrag {n} beginnt am 1. Januar und endet am 31. Dezember." for n in range(100))
    passages = chunk(parsed(Element("NarrativeText", text)))
    assert len(passages) > 3 and all(p.text.endswith("Dezember.") for p in passages)


def test_an_empty_document_has_no_passages() -> None:
    assert chunk(parsed()) == ()
    assert chunk(parsed(Element("NarrativeText", "  \n "))) == ()
