"""The query syntax, shared by every way of searching.

    notice period              any of the words; more of them rank higher
    "notice period"            these words in this order; required
    +lease -office             must occur; must not occur
    title:lease  name:invoice  in a title or heading; in the file name; required
    title:"notice period"      the same with a phrase
    invo*                      words with this beginning, of two letters or more
    recieve~                   similar words: one letter differs, two in a word of eight or more; ~1 and ~2 set how many
    100..250  1000..  ..12.5   a number in this range stands in the passage; required; +-5..5 begins below zero
    2026-01-01..2026-03-31     a date in this range; 2026-01 is the month
    PPR-9087  § 12.3           codes are found as they are written

A word that occurs nowhere is matched with one or two letters changed. Mistakes raise Refused("bad-query") with the
place: a quotation mark that is never closed, a field with nothing behind it, an unknown field, an invalid range, or
more clauses than the limits. Everything else is a word; in a plain text (``plain=True``) nothing is syntax.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from pipeline.errors import Refused
from pipeline.numeric import days, number

FIELDS = ("title", "name")
MAX_CHARS = 4000
#: Distinct clauses; a word that comes twice is one.
MAX_CLAUSES = 400
#: Prefixes, like words and ranges: each looks at many words of the index.
MAX_WIDE = 16

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_NOT_SPACE = re.compile(r"\S")
_FIELD = re.compile(r"([a-z]{2,20}):(?=[^\s/:])")
_PREFIX = re.compile(r"([^\W_][\w.\-/@+#&]*)\*")
_LIKE = re.compile(r"([^\W\d_]{3,60})~([12]?)")
_RANGE = re.compile(r"(.*?)\.\.(.*)")
#: Looks like a day or a month, even if it does not exist: 2026-02-30.
_DATED = re.compile(r"\d{4}-\d{1,2}(-\d{1,2})?")


@dataclass(frozen=True, slots=True)
class Clause:
    """One part of a query: a word, a phrase, a prefix, a similar word or a range.

    ``sign`` is "", "+" or "-"; ``field`` one of FIELDS, or "" for all; ``kind`` "word", "prefix", "like", "number" or
    "date". ``low`` and ``high`` are the inclusive bounds of a range: numbers, or days as `numeric.day` counts them;
    ``distance`` is how many letters may differ, 0 for "by the word's length".
    """

    text: str
    sign: str = ""
    field: str = ""
    phrase: bool = False
    kind: str = "word"
    low: float | None = None
    high: float | None = None
    distance: int = 0

    @property
    def required(self) -> bool:
        """True if a passage without this clause is not a hit."""
        return self.sign == "+" or (self.sign == "" and (self.phrase or bool(self.field) or self.ranged))

    @property
    def code(self) -> bool:
        """True for a word with digits or signs, whose exact spelling matters: PPR-9087, ana@example.org."""
        bare = self.text.strip(".,;:!?()[]{}'")
        return self.kind == "word" and (any(map(str.isdigit, bare)) or any(sign in bare for sign in "@/_#&.-§"))

    @property
    def ranged(self) -> bool:
        """True for a range of numbers or dates."""
        return self.kind in ("number", "date")


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query: its ``clauses`` in order, repeated words included, of which at least one is not excluded.

    Equal if text and ``plain`` are: these two determine the clauses.
    """

    text: str
    plain: bool
    clauses: tuple[Clause, ...] = field(compare=False)

    @property
    def meaning(self) -> str:
        """The words of the query without its signs, as a sentence to embed; "" if it has only ranges."""
        return " ".join(clause.text for clause in self.clauses if clause.sign != "-" and not clause.ranged)

    @property
    def spelling(self) -> float:
        """The share of clauses (0.0 to 1.0) that ask for an exact spelling rather than a meaning: codes, phrases,
        fields, prefixes and ranges."""
        exact = [clause.code or clause.phrase or bool(clause.field) or clause.kind != "word" for clause in self.clauses]
        return sum(exact) / len(exact)

    @property
    def strict(self) -> bool:
        """True if any clause is required or excluded, so that vector hits must be checked against the text."""
        return any(clause.required or clause.sign == "-" for clause in self.clauses)


def parse(text: str, plain: bool = False) -> Query:
    """Parse a query; with ``plain`` every clause is a word. Raises Refused("bad-query")."""
    if len(text) > MAX_CHARS:
        raise Refused("bad-query", f"The query has {len(text):,} characters; the limit is {MAX_CHARS:,}.")
    printable = _CONTROL.sub(" ", text)
    clauses: list[Clause] = []
    distinct: set[Clause] = set()
    at = 0
    while start := _NOT_SPACE.search(printable, at):
        clause, at = (_word if plain else _clause)(printable, start.start())
        clauses.append(clause)
        distinct.add(clause)
        place = f"At character {start.start() + 1}"
        if len(distinct) > MAX_CLAUSES:
            raise Refused("bad-query", f"{place}: the query has more than {MAX_CLAUSES} different words.")
        if clause.kind != "word" and sum(other.kind != "word" for other in distinct) > MAX_WIDE:
            raise Refused("bad-query", f"{place}: the query has more than {MAX_WIDE} prefixes, like words and ranges.")
    if not any(clause.sign != "-" for clause in clauses):
        raise Refused("bad-query", "The query holds no word to look for.")
    return Query(text, plain, tuple(clauses))


def _word(text: str, at: int) -> tuple[Clause, int]:
    end = at
    while end < len(text) and not text[end].isspace():
        end += 1
    return Clause(text[at:end]), end


def _clause(text: str, at: int) -> tuple[Clause, int]:
    start, sign = at, ""
    if text[at] in "+-" and at + 1 < len(text) and not text[at + 1].isspace():
        sign, at = text[at], at + 1
    name = _field(text, at)
    at += len(name) + 1 if name else 0
    if at >= len(text) or text[at].isspace():
        raise Refused("bad-query", f"At character {start + 1}: nothing stands behind {text[start:at]!r}.")
    if text[at] == '"':
        end = text.find('"', at + 1)
        if end < 0:
            raise Refused("bad-query", f"At character {at + 1}: the quotation mark is never closed.")
        return Clause(text[at + 1 : end], sign, name, phrase=True), end + 1
    word, end = _word(text, at)
    return replace(_kind(word.text, at, name), sign=sign, field=name), end


def _field(text: str, at: int) -> str:
    for name in FIELDS:  # also with nothing behind it, which is a mistake of its own
        if text.startswith(f"{name}:", at):
            return name
    if match := _FIELD.match(text, at):
        names = " and ".join(f"{name}:" for name in FIELDS)
        advice = f"there are {names}. In quotation marks it is a word."
        raise Refused("bad-query", f"At character {at + 1}: there is no field {match[1]!r}; {advice}")
    return ""


def _kind(word: str, at: int, field_name: str) -> Clause:
    if match := _PREFIX.fullmatch(word):
        if sum(map(str.isalnum, match[1])) < 2:
            raise Refused("bad-query", f"At character {at + 1}: a prefix has two letters or more.")
        return Clause(match[1], kind="prefix")
    if match := _LIKE.fullmatch(word):
        return Clause(match[1], kind="like", distance=int(match[2] or 0))
    match = _RANGE.fullmatch(word)
    if match and not field_name and (_is_bound(match[1]) or _is_bound(match[2])):
        return _range(word, match[1], match[2], at)
    return Clause(word)


def _is_bound(text: str) -> bool:
    return number(text) is not None or _DATED.fullmatch(text) is not None


def _range(word: str, low: str, high: str, at: int) -> Clause:
    dates = [days(bound) for bound in (low, high)]
    if all(span or not bound for span, bound in zip(dates, (low, high), strict=True)):
        first, last = dates[0][0] if dates[0] else None, dates[1][1] if dates[1] else None
        clause = Clause(word, kind="date", low=first, high=last)
    else:
        bounds = [number(bound) for bound in (low, high)]
        if any(value is None and bound for value, bound in zip(bounds, (low, high), strict=True)):
            raise Refused(
                "bad-query", f"At character {at + 1}: a range is of two numbers or of two dates like 2026-11-24."
            )
        clause = Clause(word, kind="number", low=bounds[0], high=bounds[1])
    if clause.low is not None and clause.high is not None and clause.low > clause.high:
        raise Refused("bad-query", f"At character {at + 1}: the range ends before it begins.")
    return clause
