"""What somebody is typing: the words that it may become, and the titles that it may be the beginning of.

The index holds titles as stems, and a word that is half typed has none yet. So the net is wide, the stems that begin with it
and those that it begins with, and the text decides: `continues`.
"""

from __future__ import annotations

import tantivy
from tantivy import Occur, Query

from indexes.lexical.analysis import STOP_WORDS, codes, words
from indexes.lexical.build import Builder
from indexes.lexical.match import CODE

#: Letters from which on words are completed; fewer stand for too many of them.
FEWEST_LETTERS = 2
#: The shortest stem that a longer word, still being typed, is looked for by.
SHORTEST_STEM = 3
#: Words typed that are looked at, the last ones.
MAX_WORDS = 8
#: Passages told of a word, so that its spelling can be read in one.
EXAMPLES = 3
FUNCTION_WORDS = frozenset().union(*STOP_WORDS.values())


def split(typed: str) -> tuple[list[str], str]:
    """The complete words, and the one that is being typed: "" behind a blank."""
    found = codes(typed)
    last = found.pop() if found and not typed[-1:].isspace() else ""
    return found[-MAX_WORDS:], last


def is_completable(start: str) -> bool:
    """Whether it has letters enough."""
    return sum(map(str.isalnum, start)) >= FEWEST_LETTERS


def shorter(start: str) -> list[str]:
    """The stems that a word may have which is typed so far."""
    return [start[:end] for end in range(SHORTEST_STEM, min(len(start), 60))]


def continues(typed: str, text: str) -> int | None:
    """At which word of ``text`` the words of ``typed``, the last of them perhaps unfinished, stand side by side; None where
    they do not. Case and accents count nothing."""
    end = " " if typed[-1:].isspace() else ""
    wanted = " ".join(words(typed))
    held = f" {' '.join(words(text))} "
    place = held.find(f" {wanted}{end}") if wanted else -1
    return held[:place].count(" ") if place >= 0 else None


def spelt(word: str, text: str) -> str | None:
    """A folded word as it is written in ``text``."""
    return next((found.group() for found in CODE.finditer(text) if codes(found.group()) == [word]), None)


def completions(searcher: tantivy.Searcher, builder: Builder, typed: str, k: int, only: Query | None) -> list[str]:
    """Folded words that the last one typed begins, in passages that have those before it; the most frequent first.
    ``only`` narrows the passages."""
    before, start = split(typed)
    if not is_completable(start):
        return []
    needed = [builder.anywhere(word, ("text", "title", "name")) for word in before if word not in FUNCTION_WORDS]
    narrowing = [(Occur.Must, query) for query in [*needed, only] if query is not None]
    within = Query.boolean_query(narrowing) if narrowing else None
    # Function words and the word itself are no help; there are few enough to ask for so many more.
    found = searcher.terms_with_prefix("code", start, within, k + 32)
    return [word for word, count in found if count and word != start and word not in FUNCTION_WORDS][:k]


def titled(builder: Builder, typed: str) -> Query | None:
    """Passages whose title, heading or file name may have the words; None where nothing is typed."""
    found = words(typed)[-MAX_WORDS:]
    if not found:
        return None
    complete = found if typed[-1:].isspace() else found[:-1]
    parts = [builder.anywhere(word, ("title", "name")) for word in complete]
    if len(complete) < len(found):
        parts.append(_begun(builder, found[-1]))
    wanted = [(Occur.Must, part) for part in parts if part is not None]
    return Query.boolean_query(wanted) if len(wanted) == len(parts) else None


def _begun(builder: Builder, start: str) -> Query | None:
    found = [builder.term(field, each) for field in ("title", "name") for each in shorter(start)]
    for field in ("title", "name"):
        found += builder.begun(field, start)
    whole = builder.anywhere(start, ("title", "name"))
    return builder.either([*found, *([whole] if whole is not None else [])])
