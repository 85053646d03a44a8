"""The port Embeddings over SQL: embedding models beside the one that serves, and the vectors they made."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import sqlalchemy as sa

from indexes.catalogue.database import Database
from indexes.catalogue.tables import chunks, documents, embedders, embeddings
from pipeline.documents import Chunk, EmbeddingModel, State
from pipeline.errors import Refused


class EmbeddingStore:
    """Embedding models beside the one of the settings: built in the background, compared, swapped, swapped back. Which one
    serves stands here, so that every process knows."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def models(self) -> list[EmbeddingModel]:
        """Those that were ever built, and those that gave way to them; at most one serves."""
        query = sa.select(embedders).order_by(embedders.c.changed_at, embedders.c.digest)
        with self.database.read() as connection:
            return [EmbeddingModel(**row) for row in connection.execute(query).mappings()]

    def add(self, model: EmbeddingModel) -> None:
        """From now on its vectors are made and kept too. Nothing happens where it is known."""
        with self.database.write() as connection:
            if connection.scalar(sa.select(embedders.c.digest).where(embedders.c.digest == model.digest)) is None:
                connection.execute(sa.insert(embedders).values(_row(model)))

    def serve(self, digest: str, instead_of: EmbeddingModel, setting: str) -> None:
        """Let a known model serve; the one that did stays beside it. Refused("not-found") for an unknown one."""
        now = time.time()
        with self.database.write() as connection:
            if connection.scalar(sa.select(embedders.c.digest).where(embedders.c.digest == digest)) is None:
                raise Refused("not-found", "That embedding model was not built beside the one that serves.")
            stepping = {"serving": False, "changed_at": now, "served_until": now, "setting": ""}
            same = embedders.c.digest == instead_of.digest
            if not connection.execute(sa.update(embedders).where(same).values(stepping)).rowcount:
                connection.execute(sa.insert(embedders).values({**_row(instead_of), **stepping}))
            serving = {"serving": True, "changed_at": now, "setting": setting}
            connection.execute(sa.update(embedders).values(serving=False, setting=""))
            connection.execute(sa.update(embedders).where(embedders.c.digest == digest).values(serving))
            self.database.bump_visibility(connection)

    def drop(self, digest: str) -> None:
        """Forget a model and its vectors, but not those that a document was first embedded with."""
        with self.database.write() as connection:
            connection.execute(sa.delete(embeddings).where(embeddings.c.embedder == digest))
            connection.execute(sa.delete(embedders).where(embedders.c.digest == digest))

    def missing(self, digest: str, limit: int) -> list[int]:
        """Numbers of embedded documents that this model has not embedded, the smallest first."""
        query = sa.select(documents.c.number).where(*_without(digest)).order_by(documents.c.number).limit(limit)
        with self.database.read() as connection:
            return list(connection.scalars(query))

    def count_missing(self, digest: str) -> int:
        query = sa.select(sa.func.count()).select_from(documents).where(*_without(digest))
        with self.database.read() as connection:
            return int(connection.scalar(query) or 0)

    def store_vectors(self, number: int, digest: str, of: Sequence[Chunk], vectors: np.ndarray) -> bool:
        """Keep a document's vectors; False, and nothing kept, where it is gone or no longer consists of these passages."""
        c = chunks.c
        held = sa.select(c.ordinal, c.text, c.heading).where(c.number == number).order_by(c.ordinal)
        same = (embeddings.c.number == number, embeddings.c.embedder == digest)
        payload = np.ascontiguousarray(vectors, "<f4").tobytes()
        with self.database.write() as connection:
            # The document is locked, so that nobody cuts it anew meanwhile.
            alive = sa.select(documents.c.number).where(
                documents.c.number == number, documents.c.state != State.DELETED
            )
            if connection.scalar(alive.with_for_update()) is None:
                return False
            if [tuple(row) for row in connection.execute(held)] != [(x.ordinal, x.text, x.heading) for x in of]:
                return False
            connection.execute(sa.delete(embeddings).where(*same))
            connection.execute(sa.insert(embeddings).values(number=number, embedder=digest, vectors=payload))
        return True


def _without(digest: str) -> tuple[sa.ColumnElement[bool], ...]:
    """Documents that are embedded, but not by this model."""
    made = sa.exists().where(embeddings.c.number == documents.c.number, embeddings.c.embedder == digest)
    embedded = documents.c.embedder.is_not(None)
    return embedded, documents.c.embedder != digest, documents.c.state != State.DELETED, ~made


def _row(model: EmbeddingModel) -> dict[str, object]:
    return {name: getattr(model, name) for name in EmbeddingModel.__dataclass_fields__}
