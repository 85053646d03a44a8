"""Sentences of office prose in five languages, with the cuts that a reader would make.

`sentences/LANGUAGE.txt` has one hard case a line: abbreviations, ordinal numbers, dates, times, initials, quotations
and enumerations. " | " marks the cuts.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.sentences import split_sentences

CASES = Path(__file__).with_name("sentences")
#: Of 60 cases of a language at most this many may be cut otherwise.
MOST_WRONG = 1


@pytest.mark.parametrize("language", ["de", "en", "es", "fr", "nl"])
def test_hard_cases_are_cut_as_a_reader_would(language: str) -> None:
    cases = [line.split(" | ") for line in (CASES / f"{language}.txt").read_text(encoding="utf-8").splitlines()]
    wrong = [case for case in cases if [s.text for s in split_sentences(" ".join(case))] != case]
    assert len(cases) == 60 and len(wrong) <= MOST_WRONG, wrong
