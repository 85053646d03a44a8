"""Idempotency keys of uploads: which content a client's key stood for."""

from __future__ import annotations

import time

import sqlalchemy as sa

from indexes.catalogue.database import Database
from indexes.catalogue.tables import requests

#: A key is stored for this long.
KEEP_SECONDS = 7 * 86400


class RequestStore:
    """Idempotency keys of uploads, per API key, stored for a week."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def recall(self, key_id: str, name: str) -> tuple[str, str] | None:
        """Return (content hash, document id) stored under the idempotency key ``name``, or None."""
        query = sa.select(requests.c.content_hash, requests.c.document_id).where(
            requests.c.key_id == key_id, requests.c.name == name, requests.c.at > time.time() - KEEP_SECONDS
        )
        with self.database.read() as connection:
            row = connection.execute(query).first()
        return (row.content_hash, row.document_id) if row else None

    def remember(self, key_id: str, name: str, content_hash: str, document_id: str) -> None:
        """Store what was uploaded under the idempotency key ``name``, and delete keys older than a week."""
        same = (requests.c.key_id == key_id, requests.c.name == name)
        row = {
            "key_id": key_id,
            "name": name,
            "content_hash": content_hash,
            "document_id": document_id,
            "at": time.time(),
        }
        with self.database.write() as connection:
            connection.execute(sa.delete(requests).where(*same))
            connection.execute(sa.delete(requests).where(requests.c.at < time.time() - KEEP_SECONDS))
            connection.execute(sa.insert(requests).values(row))
