"""Chunk texts with their vectors, and cached stage results: what every index can be rebuilt from."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from indexes.catalogue.database import Database
from indexes.catalogue.rows import access_lists, to_document
from indexes.catalogue.tables import chunks, documents, embeddings, results
from pipeline.codec import decode_parsed
from pipeline.documents import Chunk, Document, Head, Parsed, State
from pipeline.questions import ORDINAL_BITS, chunk_key

if TYPE_CHECKING:
    import numpy as np

#: Documents read at once by `scan`.
_SCAN = 200
#: Chunks read by one statement; a power of two.
_BATCH = 512


class ChunkStore:
    """Reads chunks (by `questions.chunk_key`), vectors and stage results; `JobStore.commit` writes them."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def by_key(self, keys: Collection[int]) -> dict[int, Chunk]:
        """Return chunks by key; keys of deleted documents are left out."""
        rows = self._rows(keys, _CHUNK, "")
        return {chunk_key(row[0], row[1]): Chunk(*row[1:]) for row in rows}

    def with_documents(self, keys: Collection[int]) -> dict[int, tuple[Chunk, Head]]:
        """Return chunks by key with their documents: all that a search returns about its hits. Keys of deleted
        documents are left out."""
        rows = self._rows(keys, (*_CHUNK, *_HEAD), _JOIN_DOCUMENTS)
        return {chunk_key(row[0], row[1]): (Chunk(*row[1:_HEAD_START]), Head(*row[_HEAD_START:])) for row in rows}

    def _rows(self, keys: Collection[int], columns: tuple[str, ...], join: str) -> Iterator[tuple[Any, ...]]:
        pairs = [(key >> ORDINAL_BITS, key & ((1 << ORDINAL_BITS) - 1)) for key in sorted(set(keys))]
        for start in range(0, len(pairs), _BATCH):
            batch = pairs[start : start + _BATCH]
            size = max(16, 1 << (len(batch) - 1).bit_length())  # few statements, so that the driver caches them all
            batch += batch[-1:] * (size - len(batch))
            statement = _statement(size, self.database.placeholder, columns, join)
            yield from self.database.rows(statement, list(chain.from_iterable(batch)))

    def of_document(self, document_number: int, embedder: str | None = None) -> tuple[list[Chunk], np.ndarray | None]:
        """Return all chunks of a document in order, and their vectors: float32 of shape (chunks, dimension). The
        vectors are those of the model with the digest ``embedder``, or if it is None of the one that embedded the
        document first; None if there are none yet."""
        with self.database.read() as connection:
            first = connection.scalar(sa.select(documents.c.embedder).where(documents.c.number == document_number))
            in_chunks = first is not None and embedder in (None, first)
            columns = [c for c in chunks.c if in_chunks or c is not chunks.c.vector]
            query = sa.select(*columns).where(chunks.c.number == document_number).order_by(chunks.c.ordinal)
            rows = connection.execute(query).all()
            if in_chunks or first is None:
                return [_chunk(row) for row in rows], _vectors(rows) if in_chunks else None
            same = (embeddings.c.number == document_number, embeddings.c.embedder == embedder)
            payload = connection.scalar(sa.select(embeddings.c.vectors).where(*same))
        return [_chunk(row) for row in rows], _candidate_vectors(payload, len(rows))

    def scan(self, embedder: str, after: int = 0) -> Iterator[tuple[Document, list[Chunk], np.ndarray]]:
        """Yield every undeleted document with a number above ``after`` that the model with the digest ``embedder`` has
        embedded, with its chunks and vectors as `of_document` returns them, in order of number."""
        candidate = sa.exists().where(embeddings.c.number == documents.c.number, embeddings.c.embedder == embedder)
        embedded = sa.or_(documents.c.embedder == embedder, sa.and_(documents.c.embedder.is_not(None), candidate))
        while True:
            conditions = (documents.c.number > after, embedded, documents.c.state != State.DELETED)
            query = sa.select(documents).where(*conditions).order_by(documents.c.number).limit(_SCAN)
            with self.database.read() as connection:
                rows = connection.execute(query).mappings().all()
                lists = access_lists(connection, [row["number"] for row in rows])
            if not rows:
                return
            for row in rows:
                document_chunks, vectors = self.of_document(row["number"], embedder)
                if document_chunks and vectors is not None:
                    yield to_document(row, lists.get(row["number"], ())), document_chunks, vectors
            after = rows[-1]["number"]

    def result(self, key: str) -> bytes | None:
        """Return the stage result stored under ``key``, or None."""
        with self.database.read() as connection:
            payload = connection.scalar(sa.select(results.c.payload).where(results.c.key == key))
        return zlib.decompress(payload) if payload is not None else None

    def parsed_key(self, document_id: str) -> str | None:
        """Return the key of the document's latest parse result, or None before it is parsed."""
        with self.database.read() as connection:
            key: str | None = connection.scalar(sa.select(documents.c.parsed_key).where(documents.c.id == document_id))
        return key

    def parsed(self, document_id: str) -> Parsed | None:
        """Return the text of a document as the parser read it; None before it was parsed and once it is deleted."""
        with_key = self.parsed_with_key(document_id)
        return with_key[1] if with_key else None

    def parsed_with_key(self, document_id: str) -> tuple[str, Parsed] | None:
        """Return the same as `parsed`, with the key of the result."""
        key = self.parsed_key(document_id)
        payload = self.result(key) if key else None
        return (key, decode_parsed(payload)) if key and payload is not None else None


#: Columns of `Chunk`, after the document's number, and of `Head`.
_CHUNK = tuple(f'c."{name}"' for name in ("number", *Chunk.__dataclass_fields__))
_HEAD = tuple(f'd."{name}"' for name in Head.__dataclass_fields__)
_HEAD_START = len(_CHUNK)
_JOIN_DOCUMENTS = f" JOIN documents AS d ON d.number = c.number AND d.state <> '{State.DELETED}'"


@cache
def _statement(size: int, placeholder: str, columns: tuple[str, ...], join: str) -> str:
    """Return the statement that reads ``size`` chunks by (number, ordinal), as a join: for a list of pairs SQLite would
    read the whole table."""
    pairs = ", ".join([f"(CAST({placeholder} AS BIGINT), CAST({placeholder} AS INTEGER))"] * size)
    return (
        f"WITH wanted (number, ordinal) AS (VALUES {pairs}) SELECT {', '.join(columns)} FROM wanted"
        f" JOIN chunks AS c ON c.number = wanted.number AND c.ordinal = wanted.ordinal{join}"
    )


def _chunk(row: sa.Row[*tuple[Any, ...]]) -> Chunk:
    return Chunk(row.ordinal, row.text, row.start, row.end, row.page_first, row.page_last, row.heading)


def _candidate_vectors(payload: bytes | None, count: int) -> np.ndarray | None:
    """Return the vectors that a candidate model made, as `EmbeddingStore.store_vectors` stored them."""
    import numpy as np

    if payload is None:
        return None
    return np.frombuffer(payload, "<f4").reshape(count, -1) if count else np.zeros((0, 0), np.float32)


def _vectors(rows: Sequence[sa.Row[*tuple[Any, ...]]]) -> np.ndarray | None:
    import numpy as np

    if not rows:
        return np.zeros((0, 0), dtype=np.float32)
    if any(row.vector is None for row in rows):
        return None
    return np.stack([np.frombuffer(row.vector, dtype="<f4") for row in rows])
