"""Similar documents: the nearest to a document, by the mean of its vectors and by its key terms together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk, Document
from pipeline.function_words import ALL_FUNCTION_WORDS
from pipeline.fuse import NearDuplicates, few_per_document, fuse
from pipeline.query import parse
from pipeline.questions import ORDINAL_BITS, Caller, Filters, Hit, chunk_key

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue
    from pipeline.ports import IndexReader

#: Hits of each index.
DEPTH = 400
#: Words of the query, the most frequent ones of the document: the index weighs them by their rarity.
KEY_TERMS = 40
#: Chunks at the beginning of two documents that are compared to find near-duplicates.
OPENING = 8
#: Hits that are read at a time, as a multiple of the documents to return.
READ_FACTOR = 2
_WORD = re.compile(r"[^\W_]{3,40}")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A similar document, its chunk that is nearest to the other document, and the fused score of that chunk.

    ``duplicates`` are the ids of its near-duplicates.
    """

    document: Document
    passage: Chunk
    score: float
    duplicates: tuple[str, ...] = ()


class SimilarDocuments:
    """Finds documents that are similar to one. Thread-safe if the catalogue and the reader are."""

    def __init__(self, catalogue: Catalogue, reader: IndexReader) -> None:
        self._catalogue, self._reader = catalogue, reader

    def find(self, caller: Caller, document: Document, k: int) -> tuple[Neighbour, ...]:
        """Return up to ``k`` documents similar to one that the caller may read, of those that it may read, nearest
        first.

        The document itself is left out. Empty for a document without text.
        """
        snapshot = self._reader.snapshot()
        chunks, vectors = self._catalogue.chunks.of_document(document.number, snapshot.embedder)
        readable = self._catalogue.documents.visible(caller, Filters())
        allowed = readable - [document.number]
        if not chunks or not len(allowed):
            return ()
        terms = key_terms(chunks, document.title or "")
        lexical = snapshot.lexical.search(parse(" ".join(terms), plain=True), DEPTH, allowed, readable) if terms else []
        query = mean_vector(vectors)
        nearest = snapshot.vectors.search(query, DEPTH, allowed) if query is not None else []
        return self._gather(few_per_document(fuse({"lexical": lexical, "vector": nearest}), 1), allowed, k)

    def _gather(self, hits: Iterator[Hit], allowed: DocumentNumbers, k: int) -> tuple[Neighbour, ...]:
        """Return the best documents; near-duplicates are listed under the closer document."""
        neighbours: dict[int, Neighbour] = {}
        near_duplicates: NearDuplicates[int] = NearDuplicates()
        while len(neighbours) < k and (batch := list(islice(hits, READ_FACTOR * k))):
            for neighbour, text in self._read(batch, allowed):
                closer = near_duplicates.find(neighbour.document.number, text)
                if closer is None:
                    neighbours[neighbour.document.number] = neighbour
                elif isinstance(closer, int):
                    duplicates = (*neighbours[closer].duplicates, neighbour.document.id)
                    neighbours[closer] = replace(neighbours[closer], duplicates=duplicates)
        return tuple(neighbours.values())[:k]

    def _read(self, hits: Sequence[Hit], allowed: DocumentNumbers) -> Iterator[tuple[Neighbour, str]]:
        """Yield each hit's document with its beginning, unless it was deleted or hidden since the snapshot."""
        numbers = {hit.document_number for hit in hits if hit.document_number in allowed}
        openings = [chunk_key(number, ordinal) for number in numbers for ordinal in range(OPENING)]
        chunks = self._catalogue.chunks.by_key({*openings, *(hit.chunk for hit in hits)})
        documents = self._catalogue.documents.by_number(numbers)
        for hit in hits:
            number = hit.chunk >> ORDINAL_BITS
            if number in documents and hit.chunk in chunks:
                keys = [chunk_key(number, ordinal) for ordinal in range(OPENING)]
                text = "\n".join(chunks[key].text for key in keys if key in chunks)
                yield Neighbour(documents[number], chunks[hit.chunk], hit.score), text


def key_terms(chunks: Sequence[Chunk], title: str) -> list[str]:
    """Return the most frequent words of a document without function words, those of the title first."""
    title_words = dict.fromkeys(_words(title))
    counts = Counter(word for chunk in chunks for word in _words(chunk.text) if word not in title_words)
    return [*title_words, *(word for word, _ in counts.most_common(KEY_TERMS))][:KEY_TERMS]


def mean_vector(vectors: np.ndarray | None) -> np.ndarray | None:
    """Return the normalised mean (float32 of shape (dimension,)) of a document's vectors, or None if it has none."""
    if vectors is None or not len(vectors):
        return None
    mean = vectors.mean(axis=0)
    return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.lower()) if word not in ALL_FUNCTION_WORDS]
