"""Embedding models beside the one of the settings, and the vectors that they made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from indexes.catalogue.database import Database, bump_visibility
from indexes.catalogue.tables import chunks, documents, embedders, embeddings
from pipeline.documents import Chunk, EmbeddingModel, State
from pipeline.errors import Refused

if TYPE_CHECKING:
    import numpy as np


class EmbeddingStore:
    """Candidate embedding models: embedded in the background, compared, activated, rolled back. Which model serves is
    stored here, so that every process knows it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def models(self) -> list[EmbeddingModel]:
        """Return every candidate, and every model that was replaced by one, oldest change first; at most one serves."""
        query = sa.select(embedders).order_by(embedders.c.changed_at, embedders.c.digest)
        with self.database.read() as connection:
            return [EmbeddingModel(**row) for row in connection.execute(query).mappings()]

    def add(self, model: EmbeddingModel) -> None:
        """Add a candidate: from now on its vectors are made and stored too. Idempotent."""
        with self.database.write() as connection:
            if not _exists(connection, model.digest):
                connection.execute(sa.insert(embedders).values(_row(model)))

    def serve(self, digest: str, instead_of: EmbeddingModel, setting: str) -> None:
        """Let the candidate with this digest serve; the model ``instead_of`` that it replaces becomes a candidate.
        ``setting`` is the current value of `models.embedder`. Raises Refused("not-found") for an unknown candidate."""
        now = time.time()
        with self.database.write() as connection:
            if not _exists(connection, digest):
                raise Refused("not-found", "This embedding model is not a candidate; build it first.")
            replaced = {"serving": False, "changed_at": now, "served_until": now, "setting": ""}
            same = embedders.c.digest == instead_of.digest
            if not connection.execute(sa.update(embedders).where(same).values(replaced)).rowcount:
                connection.execute(sa.insert(embedders).values({**_row(instead_of), **replaced}))
            serving = {"serving": True, "changed_at": now, "setting": setting}
            connection.execute(sa.update(embedders).values(serving=False, setting=""))
            connection.execute(sa.update(embedders).where(embedders.c.digest == digest).values(serving))
            bump_visibility(connection)

    def drop(self, digest: str) -> None:
        """Delete a candidate and its vectors, but not those that a document was first embedded with. Idempotent."""
        with self.database.write() as connection:
            connection.execute(sa.delete(embeddings).where(embeddings.c.embedder == digest))
            connection.execute(sa.delete(embedders).where(embedders.c.digest == digest))

    def missing(self, digest: str, limit: int) -> list[int]:
        """Return up to ``limit`` numbers of embedded documents that this model has not embedded, the smallest first."""
        query = sa.select(documents.c.number).where(*_without(digest)).order_by(documents.c.number).limit(limit)
        with self.database.read() as connection:
            return list(connection.scalars(query))

    def count_missing(self, digest: str) -> int:
        """Return the number of embedded documents that this model has not embedded."""
        query = sa.select(sa.func.count()).select_from(documents).where(*_without(digest))
        with self.database.read() as connection:
            return int(connection.scalar(query) or 0)

    def store_vectors(self, number: int, digest: str, of: Sequence[Chunk], vectors: np.ndarray) -> bool:
        """Store the vectors that the model with this digest made of document ``number``: float32 of shape (chunks,
        dimension). Store nothing and return False if the document is deleted or its chunks are no longer ``of``."""
        import numpy as np

        c = chunks.c
        query = sa.select(c.ordinal, c.text, c.heading).where(c.number == number).order_by(c.ordinal)
        same = (embeddings.c.number == number, embeddings.c.embedder == digest)
        payload = np.ascontiguousarray(vectors, "<f4").tobytes()
        with self.database.write() as connection:
            # The document is locked, so that nobody chunks it anew meanwhile.
            conditions = (documents.c.number == number, documents.c.state != State.DELETED)
            if connection.scalar(sa.select(documents.c.number).where(*conditions).with_for_update()) is None:
                return False
            if [tuple(row) for row in connection.execute(query)] != [(x.ordinal, x.text, x.heading) for x in of]:
                return False
            connection.execute(sa.delete(embeddings).where(*same))
            connection.execute(sa.insert(embeddings).values(number=number, embedder=digest, vectors=payload))
        return True


def _exists(connection: sa.Connection, digest: str) -> bool:
    return connection.scalar(sa.select(embedders.c.digest).where(embedders.c.digest == digest)) is not None


def _without(digest: str) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions under which a document is embedded, but not by this model."""
    by_candidate = sa.exists().where(embeddings.c.number == documents.c.number, embeddings.c.embedder == digest)
    embedded = documents.c.embedder.is_not(None)
    return embedded, documents.c.embedder != digest, documents.c.state != State.DELETED, ~by_candidate


def _row(model: EmbeddingModel) -> dict[str, object]:
    return {name: getattr(model, name) for name in EmbeddingModel.__dataclass_fields__}
