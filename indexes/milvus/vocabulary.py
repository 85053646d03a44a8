"""The words of an index, in a collection of their own: for prefixes, similar words, and to recognise a misspelt word.

Similar words share most pairs of letters: the server finds the nearest by these, and the edit distance is computed
here. A word is deleted with the last chunk that holds it, so that nothing of an erased text remains.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence

from indexes.lexical.match import is_near
from indexes.milvus.server import Server
from indexes.milvus.tokens import term, token

#: Limits: the nearest words whose edit distance is computed, and the words that a prefix stands for.
MAX_SIMILAR, MAX_EXPANDED = 256, 1024
#: Rows of one call.
BATCH = 1000
#: The fields of a chunk that hold words.
FIELDS = ("text", "code", "title", "name")
#: When words are deleted: how many are looked up at once in the chunks that stay, and how many of these chunks are
#: read.
LOOKUP_WORDS, LOOKUP_ROWS = 200, 100
#: Words that a writer remembers to have written.
MAX_REMEMBERED = 500_000


class Vocabulary:
    """Looks up words for a reader; answers about single words are remembered."""

    def __init__(self, server: Server, collection: str) -> None:
        self._server, self._collection = server, collection
        self._occurs: dict[str, bool] = {}

    def knows_any(self, words: Sequence[str]) -> bool:
        """Return True if at least one of the words occurs in the index."""
        missing = [word for word in words if word not in self._occurs]
        if missing:
            present = {row["word"] for row in self._server.call("get", self._collection, ids=missing)}
            self._occurs |= {word: word in present for word in missing}
        return any(self._occurs[word] for word in words)

    def starting_with(self, prefix: str) -> list[str]:
        """Return words with this prefix, `MAX_EXPANDED` at most."""
        escaped = prefix.replace("\\", "\\\\").replace('"', '\\"').replace("%", "\\%").replace("_", "\\_")
        rows = self._server.call("query", self._collection, filter=f'word like "{escaped}%"', limit=MAX_EXPANDED)
        return [row["word"] for row in rows if row["word"].startswith(prefix)]

    def similar(self, word: str, distance: int) -> list[str]:
        """Return words within this edit distance, of the `MAX_SIMILAR` that share the most pairs of letters."""
        shortest, longest = len(word) - distance, len(word) + distance
        (hits,) = self._server.call(
            "search",
            self._collection,
            [letter_pairs(word)],
            anns_field="pairs",
            limit=MAX_SIMILAR,
            filter=f"letters >= {shortest} and letters <= {longest}",
            search_params={"metric_type": "IP"},
        )
        return [hit["word"] for hit in hits if is_near(word, hit["word"], distance)]


class VocabularyWriter:
    """Writes each word once."""

    def __init__(self, server: Server, collection: str) -> None:
        self._server, self._collection = server, collection
        self._written: set[str] = set()

    def delete(self, words: Iterable[str]) -> None:
        """Delete words that no chunk holds any more."""
        batch = sorted(words)
        for start in range(0, len(batch), BATCH):
            self._server.call("delete", self._collection, ids=batch[start : start + BATCH])
        self._written.difference_update(batch)

    def add(self, words: Iterable[str]) -> None:
        """Write the words that this writer has not written yet."""
        new = sorted(set(words) - self._written)
        for start in range(0, len(new), BATCH):
            rows = [
                {"word": word, "letters": len(word) if word.isalpha() else 0, "pairs": letter_pairs(word)}
                for word in new[start : start + BATCH]
            ]
            self._server.call("upsert", self._collection, rows)
        if len(self._written) > MAX_REMEMBERED:
            self._written.clear()
        self._written |= set(new)


def words_of(chunk: Mapping[str, object]) -> set[str]:
    """Return the words in the fields of a chunk's row."""
    terms = (term(token) for field in FIELDS for token in set(str(chunk[field]).split()))
    return {word for word in terms if word is not None}


def words_only_in(server: Server, chunks: str, documents: Sequence[int]) -> set[str]:
    """Return the words of these documents that occur in no other document. ``chunks``: the collection of chunks."""
    inside = f"document in {list(documents)}"
    remaining = sorted({word for row in server.rows(chunks, inside, FIELDS, LOOKUP_ROWS) for word in words_of(row)})
    exclusive: set[str] = set()
    while remaining:
        batch, remaining = set(remaining[:LOOKUP_WORDS]), remaining[LOOKUP_WORDS:]
        while batch and (elsewhere := _words_of_chunks_with(server, chunks, batch, f"not ({inside})")):
            batch -= elsewhere
        exclusive |= batch
    return exclusive


def _words_of_chunks_with(server: Server, chunks: str, words: set[str], within: str) -> set[str]:
    """Return all words of a few chunks that hold one of ``words``; empty where there is no such chunk."""
    tokens = " ".join(map(token, sorted(words)))
    any_field = " or ".join(f"text_match({field}, '{tokens}')" for field in FIELDS)
    rows = server.call(
        "query",
        chunks,
        filter=f"{within} and ({any_field})",
        output_fields=list(FIELDS),
        limit=LOOKUP_ROWS,
        consistency_level="Strong",
    )
    return {word for row in rows for word in words_of(row)}


def letter_pairs(word: str) -> dict[int, float]:
    """Return a word's pairs of neighbouring letters, the edges included, as a sparse vector."""
    padded = f"^{word}$"
    return {zlib.crc32(padded[i : i + 2].encode()) % (2**32 - 2): 1.0 for i in range(len(padded) - 1)}
