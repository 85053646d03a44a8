"""Idempotency keys of uploads: which content a client's key stood for."""

from __future__ import annotations

import time

import sqlalchemy as sa

from indexes.catalogue.store import Store
from indexes.catalogue.tables import requests

#: A key is remembered for this long.
KEEP_SECONDS = 7 * 86400


class SqlRequests:
    """Implements `pipeline.ports.Requests`."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def recall(self, key_id: str, name: str) -> tuple[str, str] | None:
        query = sa.select(requests.c.content_hash, requests.c.document_id).where(
            requests.c.key_id == key_id, requests.c.name == name, requests.c.at > time.time() - KEEP_SECONDS
        )
        with self.store.read() as connection:
            row = connection.execute(query).first()
        return (row.content_hash, row.document_id) if row else None

    def remember(self, key_id: str, name: str, content_hash: str, document_id: str) -> None:
        mine = (requests.c.key_id == key_id, requests.c.name == name)
        row = {
            "key_id": key_id,
            "name": name,
            "content_hash": content_hash,
            "document_id": document_id,
            "at": time.time(),
        }
        with self.store.write() as connection:
            connection.execute(sa.delete(requests).where(*mine))
            connection.execute(sa.delete(requests).where(requests.c.at < time.time() - KEEP_SECONDS))
            connection.execute(sa.insert(requests).values(row))
