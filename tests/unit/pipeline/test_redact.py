"""Placeholders in the place of values: cut values, overlaps, offsets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.documents import PersonalSpan
from pipeline.personal_data.detect import find
from pipeline.personal_data.redact import Redaction, merged, replaced, shifted

TEXT = "His passport no. is C01X00T47 and he pays with GB29NWBK60161331926819 today."


def test_a_value_that_a_passage_cuts_is_hidden_in_both_halves() -> None:
    for cut in range(1, len(TEXT)):
        parts = [
            {"document_id": "d", "start": start, "end": start + len(text), "text": text, "highlights": [[0, 1]]}
            for start, text in ((0, TEXT[:cut]), (cut, TEXT[cut:]))
        ]
        hidden = Redaction(["passport", "iban"], lambda _: (TEXT, find(TEXT))).apply(parts)
        joined = "".join(part["text"] for part in hidden)
        assert "C01X" not in joined and "0T47" not in joined and "GB29" not in joined and "6819" not in joined


def test_other_kinds_stay_and_a_value_is_hidden_wherever_its_document_is_named() -> None:
    tree = {"id": "d", "why": ["because of c01x00t47"], "n": 3, "left": "GB29NWBK60161331926819"}
    hidden = Redaction(["passport"], lambda _: (TEXT, find(TEXT))).apply(tree)
    assert hidden == {**tree, "why": ["because of [PASSPORT]"]}


@given(st.text("ab ", min_size=1, max_size=40), st.lists(st.tuples(st.integers(0, 39), st.integers(1, 9)), max_size=5))
def test_places_outside_of_values_keep_their_text(text: str, places: list[tuple[int, int]]) -> None:
    spans = merged(PersonalSpan(at, min(len(text), at + size), "iban") for at, size in places if at < len(text))
    hidden = replaced(text, spans)
    for start in range(len(text)):
        if moved := shifted(start, start + 1, spans):
            assert hidden[moved[0] : moved[1]] == text[start]
        else:
            assert any(span.start <= start < span.end for span in spans)
