"""The words that an index holds, in a collection of their own: for prefixes, like words, and whether a word is misspelt.

Words like another one share most of its pairs of letters: the server finds the nearest by that, and the distance in letters
is measured here. A word goes with the last passage that holds it, so that nothing of an erased text is left.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence

from indexes.lexical.match import is_near
from indexes.milvus.server import Server
from indexes.milvus.terms import term, token

#: Nearest words that are looked at, and words that a prefix stands for, at most.
LOOKED_AT, EXPANDED = 256, 1024
#: Rows of one call.
BATCH = 1000
#: The fields of a passage that hold words.
FIELDS = ("text", "code", "title", "name")
#: Words that are looked for at once in the passages that stay, and passages that are read of those that hold one.
SOUGHT, READ = 200, 100
#: Words that a writer remembers to have written.
REMEMBERED = 500_000


class Words:
    """What one reader asks of the collection; answers on single words are kept."""

    def __init__(self, server: Server, collection: str) -> None:
        self._server, self._collection = server, collection
        self._known: dict[str, bool] = {}

    def known(self, words: Sequence[str]) -> bool:
        """Whether any of them stands in any text."""
        asked = [word for word in words if word not in self._known]
        if asked:
            held = {row["word"] for row in self._server.call("get", self._collection, ids=asked)}
            self._known |= {word: word in held for word in asked}
        return any(self._known[word] for word in words)

    def beginning(self, start: str) -> list[str]:
        escaped = start.replace("\\", "\\\\").replace('"', '\\"').replace("%", "\\%").replace("_", "\\_")
        rows = self._server.call("query", self._collection, filter=f'word like "{escaped}%"', limit=EXPANDED)
        return [row["word"] for row in rows if row["word"].startswith(start)]

    def like(self, word: str, distance: int) -> list[str]:
        """Words with so many letters other, at most."""
        few, many = len(word) - distance, len(word) + distance
        (hits,) = self._server.call(
            "search",
            self._collection,
            [pairs(word)],
            anns_field="pairs",
            limit=LOOKED_AT,
            filter=f"letters >= {few} and letters <= {many}",
            search_params={"metric_type": "IP"},
        )
        return [hit["word"] for hit in hits if is_near(word, hit["word"], distance)]


class Vocabulary:
    """The writer's side: every word is written once."""

    def __init__(self, server: Server, collection: str) -> None:
        self._server, self._collection = server, collection
        self._written: set[str] = set()

    def forget(self, words: Iterable[str]) -> None:
        gone = sorted(words)
        for at in range(0, len(gone), BATCH):
            self._server.call("delete", self._collection, ids=gone[at : at + BATCH])
        self._written.difference_update(gone)

    def add(self, words: Iterable[str]) -> None:
        new = sorted(set(words) - self._written)
        for at in range(0, len(new), BATCH):
            self._server.call("upsert", self._collection, [row(word) for word in new[at : at + BATCH]])
        if len(self._written) > REMEMBERED:
            self._written.clear()
        self._written |= set(new)


def words_of(passage: Mapping[str, object]) -> set[str]:
    """Of a passage's fields."""
    found = (term(token) for field in FIELDS for token in set(str(passage[field]).split()))
    return {word for word in found if word is not None}


def only_in(server: Server, passages: str, documents: Sequence[int]) -> set[str]:
    """Words that stand in passages of these documents and of no others."""
    named = f"document in {list(documents)}"
    held = {word for row in server.rows(passages, named, FIELDS, READ) for word in words_of(row)}
    left, only = sorted(held), set()
    while left:
        sought, left = set(left[:SOUGHT]), left[SOUGHT:]
        while sought and (elsewhere := _holding(server, passages, sought, f"not ({named})")):
            sought -= elsewhere
        only |= sought
    return only


def _holding(server: Server, passages: str, sought: set[str], within: str) -> set[str]:
    """Words of some passages that hold any of those sought; none where there is no such passage."""
    tokens = " ".join(map(token, sorted(sought)))
    any_of = " or ".join(f"text_match({field}, '{tokens}')" for field in FIELDS)
    given = {"filter": f"{within} and ({any_of})", "output_fields": list(FIELDS), "limit": READ}
    rows = server.call("query", passages, consistency_level="Strong", **given)
    return {word for row in rows for word in words_of(row)}


def row(word: str) -> dict[str, object]:
    return {"word": word, "letters": len(word) if word.isalpha() else 0, "pairs": pairs(word)}


def pairs(word: str) -> dict[int, float]:
    """Its pairs of neighbouring letters, the edges included, as a sparse vector."""
    padded = f"^{word}$"
    return {zlib.crc32(padded[i : i + 2].encode()) % (2**32 - 2): 1.0 for i in range(len(padded) - 1)}
