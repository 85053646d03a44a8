"""What is being typed: the words that it may become, and the titles that it may begin.

The index holds titles as stems, and a half-typed word has none yet. So the search is wide, for stems that begin with
it and stems that it begins with, and the text decides: `continues`.
"""

from __future__ import annotations

import tantivy
from tantivy import Occur, Query

from indexes.lexical.analysis import codes, words
from indexes.lexical.build import TantivyQueryBuilder
from indexes.lexical.match import CODE
from pipeline.function_words import ALL_FUNCTION_WORDS

#: Letters from which on words are completed; fewer stand for too many of them.
MIN_LETTERS = 2
#: Lengths of the stems by which a longer word that is still being typed is searched.
MIN_STEM, MAX_STEM = 3, 60
#: Typed words that are used, the last ones.
MAX_WORDS = 8
#: Chunks returned with a completion, so that its spelling can be read in one.
MAX_EXAMPLES = 3
#: Terms read beyond the requested number: function words and the typed word itself are left out.
SPARE_TERMS = 32


def split(typed: str) -> tuple[list[str], str]:
    """Return the complete words, and the one that is being typed: "" after a space."""
    terms = codes(typed)
    last = terms.pop() if terms and not typed[-1:].isspace() else ""
    return terms[-MAX_WORDS:], last


def is_completable(start: str) -> bool:
    """Return True if the beginning of a word has enough letters and digits to complete it."""
    return sum(map(str.isalnum, start)) >= MIN_LETTERS


def shorter_stems(start: str) -> list[str]:
    """Return candidate stems of a partially typed word: its beginnings of three letters or more."""
    return [start[:end] for end in range(MIN_STEM, min(len(start), MAX_STEM))]


def continues(typed: str, text: str) -> int | None:
    """Return the index of the word of ``text`` from which on it continues ``typed``, or None.

    The words of ``typed``, the last of them perhaps unfinished, occur there side by side; case and accents do not
    matter.
    """
    end = " " if typed[-1:].isspace() else ""
    phrase = " ".join(words(typed))
    whole = f" {' '.join(words(text))} "
    place = whole.find(f" {phrase}{end}") if phrase else -1
    return whole[:place].count(" ") if place >= 0 else None


def spelling_in(text: str, word: str) -> str | None:
    """Return a word of an index (lower case, no accents) as it is spelt in ``text``; None where it does not occur."""
    return next((place.group() for place in CODE.finditer(text) if codes(place.group()) == [word]), None)


def completions(
    searcher: tantivy.Searcher, builder: TantivyQueryBuilder, typed: str, k: int, only: Query | None
) -> list[str]:
    """Return words of the index that complete the last one of ``typed``, the most frequent first.

    They come from chunks that have the words before it and match ``only``.
    """
    before, start = split(typed)
    if not is_completable(start):
        return []
    needed = [builder.in_fields(word, ("text", "title", "name")) for word in before if word not in ALL_FUNCTION_WORDS]
    restrictions = [(Occur.Must, query) for query in [*needed, only] if query is not None]
    within = Query.boolean_query(restrictions) if restrictions else None
    terms = searcher.terms_with_prefix("code", start, within, k + SPARE_TERMS)
    return [word for word, count in terms if count and word != start and word not in ALL_FUNCTION_WORDS][:k]


def titled(builder: TantivyQueryBuilder, typed: str) -> Query | None:
    """Return a query for chunks whose title, heading or file name may continue ``typed``; None where nothing can."""
    terms = words(typed)[-MAX_WORDS:]
    if not terms:
        return None
    complete = terms if typed[-1:].isspace() else terms[:-1]
    fields = ("title", "name")
    parts = [builder.in_fields(word, fields) for word in complete]
    if len(complete) < len(terms):
        queries = [builder.term(field, stem) for field in fields for stem in shorter_stems(terms[-1])]
        queries += [query for field in fields for query in builder.starting_with(field, terms[-1])]
        whole = builder.in_fields(terms[-1], fields)
        parts.append(builder.any_of([*queries, *([whole] if whole is not None else [])]))
    needed = [(Occur.Must, part) for part in parts if part is not None]
    return Query.boolean_query(needed) if len(needed) == len(parts) else None
