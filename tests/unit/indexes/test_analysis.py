"""Texts to terms."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from indexes.lexical import analysis

ASCII = "".join(map(chr, range(128)))


@given(st.text(st.sampled_from("ab9Z._-/@+#& §,") | st.sampled_from(ASCII), max_size=60))
@example("x" * 119 + " " + "y" * 120)
def test_codes_are_those_of_the_analyser_of_other_scripts(text: str) -> None:
    """ASCII goes a quicker way."""
    text = text.replace("§", "")
    assert analysis.codes(text) == analysis._CODES.analyze(text)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Der Vertrag ist nicht mit der Firma", "german"),
        ("The contract is not with the company", "english"),
        ("E. A. Poe, Y. O.", "english"),
        ("", "english"),
    ],
)
def test_the_language_is_that_of_most_function_words(text: str, language: str) -> None:
    assert analysis.language_of(text) == language
