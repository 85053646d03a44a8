"""More like this: the documents nearest to one, by the middle of its passages' vectors and by its key terms together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from indexes.lexical.completion import FUNCTION_WORDS
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk, Document
from pipeline.fuse import NearDuplicates, few_per_document, fuse
from pipeline.ports import Vectors
from pipeline.query import parse
from pipeline.questions import ORDINAL_BITS, Caller, Filters, Hit, chunk_key

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue
    from pipeline.ports import IndexReader

#: Passages asked of each index.
DEPTH = 400
#: Words of the document that are looked for, its most frequent ones: the index weighs them by their rarity.
KEY_TERMS = 40
#: First passages by which two documents are held to say the same.
OPENING = 8
#: Documents read at a time, for each that is still missing.
READ = 2
_WORD = re.compile(r"[^\W_]{3,40}")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A document, its passage nearest to the other one, and the fused score of that. ``duplicates``: ids of documents that say
    nearly the same as this one."""

    document: Document
    passage: Chunk
    score: float
    duplicates: tuple[str, ...] = ()


class Similar:
    """Thread-safe if the catalogue and the reader are."""

    def __init__(self, catalogue: Catalogue, reader: IndexReader) -> None:
        self._catalogue, self._reader = catalogue, reader

    def documents(self, caller: Caller, document: Document, k: int) -> tuple[Neighbour, ...]:
        """The ``k`` nearest to a document that ``caller`` may read, of those that it may read, the nearest first, without
        the document itself. Empty for one without text."""
        snapshot = self._reader.snapshot()
        chunks, vectors = self._catalogue.chunks.of_document(document.number, snapshot.embedder)
        readable = self._catalogue.documents.visible(caller, Filters())
        allowed = readable - [document.number]
        if not chunks or not len(allowed):
            return ()
        terms = key_terms(chunks, document.title or "")
        lexical = snapshot.lexical.search(parse(" ".join(terms), plain=True), DEPTH, allowed, readable) if terms else []
        parts = {"lexical": lexical, "vector": _nearest(snapshot.vectors, vectors, allowed)}
        return self._gather(few_per_document(fuse(parts), 1), allowed, k)

    def _gather(self, hits: Iterator[Hit], allowed: DocumentNumbers, k: int) -> tuple[Neighbour, ...]:
        """Best first; what says the same as a nearer one is told with that."""
        found: dict[int, Neighbour] = {}
        sayings = NearDuplicates()
        while len(found) < k and (batch := list(islice(hits, READ * k))):
            for neighbour, text in self._read(batch, allowed):
                other = sayings.find(neighbour.document.number, text)
                if other is None:
                    found[neighbour.document.number] = neighbour
                elif isinstance(other, int):
                    kept = found[other]
                    found[other] = replace(kept, duplicates=(*kept.duplicates, neighbour.document.id))
        return tuple(found.values())[:k]

    def _read(self, hits: Sequence[Hit], allowed: DocumentNumbers) -> Iterator[tuple[Neighbour, str]]:
        """With the beginning of each document. What was deleted or forbidden since the snapshot is not in the catalogue."""
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
    """The most frequent words that are no function words, the title's first."""
    titled = dict.fromkeys(_words(title))
    counted = Counter(word for chunk in chunks for word in _words(chunk.text) if word not in titled)
    return [*titled, *(word for word, _ in counted.most_common(KEY_TERMS))][:KEY_TERMS]


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.lower()) if word not in FUNCTION_WORDS]


def _nearest(index: Vectors, vectors: np.ndarray | None, allowed: DocumentNumbers) -> Sequence[Hit]:
    """By the mean of the vectors; nothing where there are none of this index's model."""
    if vectors is None or not len(vectors):
        return []
    middle = vectors.mean(axis=0)
    middle /= max(float(np.linalg.norm(middle)), 1e-12)
    return index.search(middle.astype(np.float32), DEPTH, allowed)
