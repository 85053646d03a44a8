"""A query against one text, without an index: highlights, and whether a text has what the query requires."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from indexes.lexical.analysis import content_words, folded, language_of, stem, stems, written
from pipeline.numeric import numbers_and_dates
from pipeline.query import Clause, Query

_WORD = re.compile(r"[^\W_]+")
#: `analysis.CODE` in Python's syntax.
CODE = re.compile(r"(?:[^\W_]|§)(?:(?:[^\W_]|[._\-/@+#&])*[^\W_])?")
#: Queries of up to this many words are keywords: one of them that does not stand in a text may be misspelt.
KEYWORDS = 4


def highlights(
    query: Query, text: str, known: Callable[[str], bool] = lambda word: False
) -> tuple[tuple[int, int], ...]:
    """(start, end) offsets of whole words in ``text`` that share a stem with a word of the query, begin with its prefix or
    are like it. Function words are left alone. Of a few keywords, one that is missing marks what is spelt nearly so, unless
    it is ``known`` to stand in other texts: then it was not misspelt."""
    clauses = _highlightable(query)
    language = language_of(text)
    stemmed = {word: stem(word, language) for word in set(_WORD.findall(text))}
    wanted = _wanted(query, language)
    like = {folded(c.text): c.distance for c in clauses if c.kind == "like"}
    if len(wanted) <= KEYWORDS:
        held = set(stemmed.values())
        missing = (word for each, word in wanted.items() if each not in held and is_misspellable(word))
        like |= {folded(word): 0 for word in missing if not known(word)}
    marked = {word for word, each in stemmed.items() if each in wanted or (like and is_alike(like, folded(word)))}
    begun = _begun([folded(clause.text) for clause in clauses if clause.kind == "prefix"], text)
    if not marked and not begun:
        return ()
    return tuple(m.span() for m in _WORD.finditer(text) if m.group() in marked or (begun and _is_inside(m, begun)))


def _is_inside(word: re.Match[str], wider: Sequence[tuple[int, int]]) -> bool:
    return any(first <= word.start() and word.end() <= last for first, last in wider)


def _begun(prefixes: Sequence[str], text: str) -> list[tuple[int, int]]:
    """Places of words, and of whole codes, that begin with one of the prefixes."""
    found = (m for pattern in (_WORD, CODE) for m in pattern.finditer(text)) if prefixes else ()
    return [m.span() for m in found if folded(m.group()).startswith(tuple(prefixes))]


def _highlightable(query: Query) -> list[Clause]:
    return [clause for clause in query.clauses if clause.sign != "-" and not clause.ranged]


@lru_cache(maxsize=256)
def _wanted(query: Query, language: str) -> Mapping[str, str]:
    """Stem -> word of the query, for a text of the language."""
    return {stem(word, language): word for word in _words(_highlightable(query), language)}


def _words(clauses: Sequence[Clause], language: str) -> list[str]:
    found = [word for clause in clauses if clause.kind == "word" for word in _WORD.findall(clause.text)]
    return content_words(found, language)


def is_misspellable(word: str) -> bool:
    """Letters only, and enough of them, but no more than a word has, that one may be wrong."""
    return 4 <= len(word) <= 40 and word.isalpha()


def is_misspelt(clause: Clause, known: Callable[[str], bool]) -> bool:
    """Whether a clause is a word of letters that is not ``known``."""
    word = clause.text.strip(".,;:!?()[]{}'")
    return clause.kind == "word" and is_misspellable(word) and not known(word)


def letters_off(word: str) -> int:
    """How many letters of a word may differ where the query does not say."""
    return 2 if len(word) >= 8 else 1


def is_alike(wanted: Mapping[str, int], word: str) -> bool:
    """Whether a word is nearly one of those wanted, each with the letters that may differ, 0 for the usual."""
    return any(is_near(each, word, distance or letters_off(each)) for each, distance in wanted.items())


def is_near(one: str, other: str, distance: int) -> bool:
    """Whether so many insertions, deletions, replacements or swaps of neighbours make one word of the other."""
    if abs(len(one) - len(other)) > distance:
        return False
    if max(len(set(one) - set(other)), len(set(other) - set(one))) > distance:  # quick, and so it is with most words
        return False
    before, row = [], list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        older, before, row = before, row, [i]
        for j, other_letter in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other_letter))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == other_letter:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        if min(row) > distance:
            return False
    return row[-1] <= distance


def admits(clauses: Sequence[Clause], text: str, title: str = "", name: str = "") -> bool:
    """Whether a passage has everything that the query requires and nothing that it excludes. ``title`` is the document's
    with the passage's heading."""
    return all(
        _holds(clause, text, title, name) is (clause.sign != "-")
        for clause in clauses
        if clause.required or clause.sign
    )


def _holds(clause: Clause, text: str, title: str, name: str) -> bool:
    if clause.ranged:
        numbers, dates = numbers_and_dates(text)
        return any(_inside(clause, value) for value in (numbers if clause.kind == "number" else dates))
    language = language_of(text)
    chosen = {"title": (title,), "name": (name,)}.get(clause.field, (text, title, name))
    return any(_in_field(clause, field, language) for field in chosen if field)


def _inside(clause: Clause, value: float) -> bool:
    return (clause.low is None or clause.low <= value) and (clause.high is None or value <= clause.high)


def _in_field(clause: Clause, field: str, language: str) -> bool:
    if clause.kind in ("prefix", "like"):
        held, wanted = written(field), folded(clause.text)
        if clause.kind == "prefix":
            return any(word.startswith(wanted) for word in held)
        return any(is_alike({wanted: clause.distance}, word) for word in held)
    return stands(stems(clause.text, language), stems(field, language))


def stands(wanted: Sequence[str], terms: Sequence[str]) -> bool:
    """Whether the wanted terms stand in this order, side by side."""
    return bool(wanted) and any(
        list(terms[i : i + len(wanted)]) == list(wanted) for i in range(len(terms) - len(wanted) + 1)
    )
