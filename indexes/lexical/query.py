"""The query syntax, shared by every lexical backend.

    notice period              any of the words; more of them rank higher
    "notice period"            the words in this order
    +lease -office             must occur; must not occur
    title:lease  name:invoice  in the title; in the file name
    PPR-9087  § 12.3           codes are found as they are written

A quotation mark that is never closed, a sign or a field with nothing behind it, and an unknown field are mistakes:
Refused("bad-query") names the place. Anything else is a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.errors import Refused

FIELDS = ("title", "name")
MAX_CHARS = 2000
MAX_CLAUSES = 64

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


@dataclass(frozen=True, slots=True)
class Clause:
    """``sign`` is "", "+" or "-"; ``field`` one of FIELDS or "" for all."""

    text: str
    sign: str = ""
    field: str = ""
    phrase: bool = False


def parse(query: str) -> tuple[Clause, ...]:
    """The clauses of a query; at least one of them is not excluded."""
    if len(query) > MAX_CHARS:
        raise Refused("bad-query", f"The query has {len(query):,} characters; the limit is {MAX_CHARS:,}.")
    text = _CONTROL.sub(" ", query)
    clauses: list[Clause] = []
    at = 0
    while (at := _skip_space(text, at)) < len(text):
        clause, at = _clause(text, at)
        clauses.append(clause)
    if not any(clause.sign != "-" for clause in clauses):
        raise Refused("bad-query", "The query holds no word to look for.")
    return tuple(clauses[:MAX_CLAUSES])


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _clause(text: str, at: int) -> tuple[Clause, int]:
    start, sign = at, ""
    if text[at] in "+-" and at + 1 < len(text) and not text[at + 1].isspace():
        sign, at = text[at], at + 1
    field = next((f for f in FIELDS if text.startswith(f"{f}:", at)), "")
    at += len(field) + 1 if field else 0
    if at >= len(text) or text[at].isspace():
        raise Refused("bad-query", f"At character {start + 1}: nothing stands behind {text[start:at]!r}.")
    if text[at] == '"':
        end = text.find('"', at + 1)
        if end < 0:
            raise Refused("bad-query", f"At character {at + 1}: the quotation mark is never closed.")
        return Clause(text[at + 1 : end], sign, field, phrase=True), end + 1
    end = at
    while end < len(text) and not text[end].isspace():
        end += 1
    return Clause(text[at:end], sign, field), end
