"""What counts as printable, against Unicode's categories."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from pydantic.types import StringConstraints

from pipeline.printable import PATTERN, is_printable

REFUSED = {"Cc", "Cf", "Zl", "Zp", "Zs"}


def test_every_character_is_judged_by_its_category() -> None:
    for code in range(0x110000):
        character = chr(code)
        category = unicodedata.category(character)
        if category in REFUSED:
            assert not is_printable(f"a{character}b") or character == " ", hex(code)
        elif category[0] in "LMNPS":
            assert is_printable(character), hex(code)


def test_space_stands_only_inside() -> None:
    assert is_printable("annual report")
    assert not any(map(is_printable, ["", " ", " a", "a ", "a\n"]))


@given(st.text(max_size=6) | st.text("ab \u202e\u00a0\U000e0041", max_size=6))
def test_pydantic_judges_alike(text: str) -> None:
    adapter = TypeAdapter(Annotated[str, StringConstraints(pattern=PATTERN)])
    try:
        adapter.validate_python(text)
        accepted = True
    except ValueError:
        accepted = False
    assert accepted == is_printable(text) == bool(re.search(PATTERN[:-1] + r"\Z", text))
