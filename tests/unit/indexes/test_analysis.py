"""Texts to terms."""

from __future__ import annotations

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
