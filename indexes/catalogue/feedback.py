"""Clicks and votes on hits: the organisation's own relevance judgements."""

from __future__ import annotations

import hashlib
from typing import Any

import sqlalchemy as sa

from indexes.catalogue import tables
from indexes.catalogue.database import Database
from indexes.catalogue.rule import readable
from indexes.catalogue.tables import documents
from pipeline.questions import Caller, Feedback


class FeedbackStore:
    """People's feedback on hits. It is deleted with the document that it is about."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def record(self, feedback: Feedback) -> None:
        """Store feedback: a vote replaces the same key's earlier vote on the same query and document; of several clicks
        the last one is stored."""
        normalised = " ".join(feedback.query.lower().split())
        row = {
            "tenant": feedback.tenant,
            "key_id": feedback.key_id,
            "query_digest": hashlib.sha256(normalised.encode("utf-8", "replace")).hexdigest(),
            "query": feedback.query,
            "document_id": feedback.document_id,
            "sort": "click" if feedback.kind == "click" else "vote",
            "kind": feedback.kind,
            "rank": feedback.rank,
            "at": feedback.at,
        }
        try:
            self._put(row)
        except sa.exc.IntegrityError:  # the same key recorded it at the same moment: now there is a row to change
            self._put(row)

    def _put(self, row: dict[str, Any]) -> None:
        c = tables.feedback.c
        same = [c[name] == row[name] for name in ("key_id", "query_digest", "document_id", "sort")]
        values = {name: row[name] for name in ("kind", "rank", "at")}
        with self.database.write() as connection:
            if not connection.execute(sa.update(tables.feedback).where(*same).values(values)).rowcount:
                connection.execute(sa.insert(tables.feedback).values(row))

    def page(self, caller: Caller, after: int = 0, limit: int = 1000) -> list[tuple[int, Feedback]]:
        """Return up to ``limit`` pairs (serial, feedback) with a serial above ``after``, in order, on documents that
        the caller may read."""
        table = tables.feedback
        conditions = (table.c.tenant == caller.tenant, table.c.id > after, *readable(caller))
        joined = sa.select(table).join(documents, documents.c.id == table.c.document_id)
        query = joined.where(*conditions).order_by(table.c.id).limit(limit)
        with self.database.read() as connection:
            return [
                (row.id, Feedback(row.query, row.document_id, row.kind, row.at, row.key_id, row.tenant, row.rank))
                for row in connection.execute(query)
            ]
