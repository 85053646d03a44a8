"""The port Passages over SQL: chunk texts with their vectors, and cached stage results."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import sqlalchemy as sa

from indexes.catalogue.database import Database
from indexes.catalogue.documents import access_lists, to_document
from indexes.catalogue.tables import chunks, documents, embeddings, results
from pipeline.codec import decode_parsed
from pipeline.documents import Chunk, Document, Head, Parsed, State
from pipeline.questions import ORDINAL_BITS, chunk_key

#: Documents read at once by `scan`.
_SCAN = 200

#: Passages read by one statement; a power of two.
_PLACES = 512


class ChunkStore:
    """Chunk texts with their vectors, and cached stage results: what every index can be rebuilt from."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def by_key(self, keys: Collection[int]) -> dict[int, Chunk]:
        """Return chunks by key; chunks of deleted documents are left out."""
        rows = self._at(keys, _CHUNK, "")
        return {chunk_key(row[0], row[1]): Chunk(*row[1:]) for row in rows}

    def with_documents(self, keys: Collection[int]) -> dict[int, tuple[Chunk, Head]]:
        """Return chunks by key with their documents: all that a search returns about its hits."""
        rows = self._at(keys, (*_CHUNK, *_HEAD), _BESIDE)
        return {chunk_key(row[0], row[1]): (Chunk(*row[1:_OF_HEAD]), Head(*row[_OF_HEAD:])) for row in rows}

    def _at(self, keys: Collection[int], columns: tuple[str, ...], joined: str) -> Iterator[tuple]:
        places = [(key >> ORDINAL_BITS, key & ((1 << ORDINAL_BITS) - 1)) for key in sorted(set(keys))]
        for start in range(0, len(places), _PLACES):
            batch = places[start : start + _PLACES]
            size = max(16, 1 << (len(batch) - 1).bit_length())  # few statements, so that the driver keeps them all
            batch += batch[-1:] * (size - len(batch))
            statement = _at_places(size, self.database.place, columns, joined)
            yield from self.database.rows(statement, list(chain.from_iterable(batch)))

    def of_document(self, document_number: int, embedder: str | None = None) -> tuple[list[Chunk], np.ndarray | None]:
        """All chunks in order, and their vectors of shape (n, dimension), or None before they are embedded; None too
        when ``embedder`` (a digest) is given and another one made them."""
        with self.database.read() as connection:
            made_by = connection.scalar(sa.select(documents.c.embedder).where(documents.c.number == document_number))
            own = made_by is not None and embedder in (None, made_by)
            query = _columns(*([chunks.c.vector] if own else [])).where(chunks.c.number == document_number)
            rows = connection.execute(query.order_by(chunks.c.ordinal)).all()
            if own or made_by is None:
                return [_chunk(row) for row in rows], _vectors(rows) if own else None
            where = (embeddings.c.number == document_number, embeddings.c.embedder == embedder)
            payload = connection.scalar(sa.select(embeddings.c.vectors).where(*where))
        return [_chunk(row) for row in rows], _beside(payload, len(rows))

    def scan(self, embedder: str, after: int = 0) -> Iterator[tuple[Document, list[Chunk], np.ndarray]]:
        """Every embedded, undeleted document with number > ``after``, in order of number; streams."""
        beside = sa.exists().where(embeddings.c.number == documents.c.number, embeddings.c.embedder == embedder)
        made = sa.or_(documents.c.embedder == embedder, sa.and_(documents.c.embedder.is_not(None), beside))
        while True:
            with self.database.read() as connection:
                where = (documents.c.number > after, made, documents.c.state != State.DELETED)
                page = connection.execute(
                    sa.select(documents).where(*where).order_by(documents.c.number).limit(_SCAN)
                ).mappings()
                rows = page.all()
                lists = access_lists(connection, [row["number"] for row in rows])
            if not rows:
                return
            for row in rows:
                held, vectors = self.of_document(row["number"], embedder)
                if held and vectors is not None:
                    yield to_document(row, lists.get(row["number"], ())), held, vectors
            after = rows[-1]["number"]

    def result(self, key: str) -> bytes | None:
        with self.database.read() as connection:
            payload = connection.scalar(sa.select(results.c.payload).where(results.c.key == key))
        return zlib.decompress(payload) if payload is not None else None

    def parsed_key(self, document_id: str) -> str | None:
        """The key of the latest parse result."""
        with self.database.read() as connection:
            return connection.scalar(sa.select(documents.c.parsed_key).where(documents.c.id == document_id))

    def parsed(self, document_id: str) -> Parsed | None:
        """Return the stored text of a document as the parser read it; None before it was parsed and once it is deleted."""
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
_OF_HEAD = len(_CHUNK)
_BESIDE = f" JOIN documents AS d ON d.number = c.number AND d.state <> '{State.DELETED}'"


@cache
def _at_places(size: int, place: str, columns: tuple[str, ...], joined: str) -> str:
    """The passages at so many places, as a join: SQLite reads the whole table for a list of pairs."""
    pairs = ", ".join([f"(CAST({place} AS BIGINT), CAST({place} AS INTEGER))"] * size)
    return (
        f"WITH wanted (number, ordinal) AS (VALUES {pairs}) SELECT {', '.join(columns)} FROM wanted"
        f" JOIN chunks AS c ON c.number = wanted.number AND c.ordinal = wanted.ordinal{joined}"
    )


def _columns(*more: sa.ColumnElement[Any]) -> sa.Select:
    c = chunks.c
    return sa.select(c.number, c.ordinal, c.text, c.start, c.end, c.page_first, c.page_last, c.heading, *more)


def _chunk(row: Any) -> Chunk:
    return Chunk(row.ordinal, row.text, row.start, row.end, row.page_first, row.page_last, row.heading)


def _beside(payload: bytes | None, count: int) -> np.ndarray | None:
    """The vectors of another model than a document was first embedded with."""
    if payload is None:
        return None
    return np.frombuffer(payload, "<f4").reshape(count, -1) if count else np.zeros((0, 0), np.float32)


def _vectors(rows: Sequence[Any]) -> np.ndarray | None:
    if not rows:
        return np.zeros((0, 0), dtype=np.float32)
    if any(row.vector is None for row in rows):
        return None
    return np.stack([np.frombuffer(row.vector, dtype="<f4") for row in rows])
