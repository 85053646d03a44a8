"""A query against one text, without an index: highlights, and whether a text has what the query requires."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from indexes.lexical.analysis import as_written, folded, stem, stems
from pipeline.function_words import content_words, language_of
from pipeline.numeric import numbers_and_dates
from pipeline.query import Clause, Query

_WORD = re.compile(r"[^\W_]+")
#: `analysis.CODE` in Python's syntax.
CODE = re.compile(r"(?:[^\W_]|§)(?:(?:[^\W_]|[._\-/@+#&])*[^\W_])?")
#: Queries of up to this many words are keywords: one of them that does not occur in a text may be misspelt.
MAX_KEYWORDS = 4


def highlights(
    query: Query, text: str, is_known: Callable[[str], bool] = lambda word: False
) -> tuple[tuple[int, int], ...]:
    """Return (start, end) offsets of the words in ``text`` that match the query.

    These are whole words that share a stem with a word of the query, begin with its prefix or are similar to it;
    function words are left out. If one of a few keywords is missing, nearly equal words are highlighted instead,
    unless it is known to occur in other texts: then it was not misspelt.
    """
    clauses = _visible_clauses(query)
    language = language_of(text)
    stem_of = {word: stem(word, language) for word in set(_WORD.findall(text))}
    query_words = _query_words(query, language)
    distances = {folded(clause.text): clause.distance for clause in clauses if clause.kind == "like"}
    if len(query_words) <= MAX_KEYWORDS:
        present = set(stem_of.values())
        missing = (word for term, word in query_words.items() if term not in present and is_misspellable(word))
        distances |= {folded(word): 0 for word in missing if not is_known(word)}
    matching = {
        word
        for word, term in stem_of.items()
        if term in query_words or (distances and is_similar_to_any(folded(word), distances))
    }
    prefixed = _spans_with_prefix([folded(clause.text) for clause in clauses if clause.kind == "prefix"], text)
    if not matching and not prefixed:
        return ()
    return tuple(
        word.span()
        for word in _WORD.finditer(text)
        if word.group() in matching or any(start <= word.start() and word.end() <= end for start, end in prefixed)
    )


def _spans_with_prefix(prefixes: Sequence[str], text: str) -> list[tuple[int, int]]:
    """Return the places of words, and of whole codes, that begin with one of the prefixes."""
    if not prefixes:
        return []
    places = (place for pattern in (_WORD, CODE) for place in pattern.finditer(text))
    return [place.span() for place in places if folded(place.group()).startswith(tuple(prefixes))]


def _visible_clauses(query: Query) -> list[Clause]:
    """Return the clauses of a query that can be highlighted in a text."""
    return [clause for clause in query.clauses if clause.sign != "-" and not clause.ranged]


@lru_cache(maxsize=256)  # a page asks for each of its passages
def _query_words(query: Query, language: str) -> Mapping[str, str]:
    """Return stem -> word of the query's content words, for a text of the language."""
    clauses = _visible_clauses(query)
    words = [word for clause in clauses if clause.kind == "word" for word in _WORD.findall(clause.text)]
    return {stem(word, language): word for word in content_words(words, language)}


def is_misspellable(word: str) -> bool:
    """Return True for a word of letters only, long enough that one may be wrong, and not longer than words are."""
    return 4 <= len(word) <= 40 and word.isalpha()


def is_misspelt(clause: Clause, is_known: Callable[[str], bool]) -> bool:
    """Return True if a clause is a word of letters that is not known."""
    word = clause.text.strip(".,;:!?()[]{}'")
    return clause.kind == "word" and is_misspellable(word) and not is_known(word)


def default_distance(word: str) -> int:
    """Return how many letters of a word may differ where the query does not say: 1, or 2 from eight letters on."""
    return 2 if len(word) >= 8 else 1


def is_similar_to_any(word: str, distances: Mapping[str, int]) -> bool:
    """Return True if the word is nearly one of the keys. Values: how many letters may differ, 0 for the default."""
    return any(is_near(other, word, distance or default_distance(other)) for other, distance in distances.items())


def is_near(one: str, other: str, distance: int) -> bool:
    """Return True if at most ``distance`` insertions, deletions, replacements or swaps separate the words."""
    if abs(len(one) - len(other)) > distance:
        return False
    if max(len(set(one) - set(other)), len(set(other) - set(one))) > distance:  # cheap, and excludes most words
        return False
    before: list[int] = []
    row = list(range(len(other) + 1))
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
    """Return True if a passage has everything that the query requires and nothing that it excludes.

    ``title`` is the document's title with the passage's heading, ``name`` its file name.
    """
    return all(
        _matches(clause, text, title, name) is (clause.sign != "-")
        for clause in clauses
        if clause.required or clause.sign
    )


def _matches(clause: Clause, text: str, title: str, name: str) -> bool:
    if clause.ranged:
        numbers, dates = numbers_and_dates(text)
        low = -math.inf if clause.low is None else clause.low
        high = math.inf if clause.high is None else clause.high
        return any(low <= value <= high for value in (numbers if clause.kind == "number" else dates))
    language = language_of(text)
    fields = {"title": (title,), "name": (name,)}.get(clause.field, (text, title, name))
    return any(_matches_field(clause, field, language) for field in fields if field)


def _matches_field(clause: Clause, field: str, language: str) -> bool:
    if clause.kind == "prefix":
        return any(word.startswith(folded(clause.text)) for word in as_written(field))
    if clause.kind == "like":
        return any(is_similar_to_any(word, {folded(clause.text): clause.distance}) for word in as_written(field))
    return contains_phrase(stems(field, language), stems(clause.text, language))


def contains_phrase(terms: Sequence[str], phrase: Sequence[str]) -> bool:
    """Return True if the terms of a phrase that is not empty occur side by side, in this order."""
    length = len(phrase)
    return length > 0 and any(
        list(terms[start : start + length]) == list(phrase) for start in range(len(terms) - length + 1)
    )
