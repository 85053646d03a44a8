"""Dates as people write them, in the languages of the index."""

from __future__ import annotations

import datetime

import pytest

from pipeline.numeric import day, numbers_and_dates


@pytest.mark.parametrize(
    "text",
    [
        "am 5. März 2026 gekündigt", "le 5 mars 2026", "el 5 de marzo de 2026", "il 5 marzo 2026", "op 5 maart 2026",
        "em 5 de março de 2026", "den 5 mars 2026", "on the 5th of March, 2026", "Mar 5, 2026", "5. MÄRZ 2026",
        "5 mrt. 2026", "2026-03-05", "05.03.2026",
    ],
)  # fmt: skip
def test_a_day_is_read_in_every_language(text: str) -> None:
    assert numbers_and_dates(text) == ((2026.0,), (day(datetime.date(2026, 3, 5)),))


@pytest.mark.parametrize("text", ["1er janvier 2026", "1º de enero de 2026", "1. Jänner 2026", "1 gen 2026"])
def test_the_first_of_a_month(text: str) -> None:
    assert numbers_and_dates(text)[1] == (day(datetime.date(2026, 1, 1)),)


@pytest.mark.parametrize("text", ["31. Februar 2026", "5 Leute 2026", "3 out of 2026", "12 setzten 2026"])
def test_what_is_not_a_date_is_none(text: str) -> None:
    assert numbers_and_dates(text)[1] == ()
