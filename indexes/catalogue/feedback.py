"""The port Opinions over SQL: clicks and votes on hits."""

from __future__ import annotations

import hashlib
from typing import Any

import sqlalchemy as sa

from indexes.catalogue.database import Database
from indexes.catalogue.rule import readable
from indexes.catalogue.tables import documents, feedback
from pipeline.questions import Caller, Feedback


class FeedbackStore:
    """People's feedback on hits: the organisation's own relevance judgements."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def record(self, feedback: Feedback) -> None:
        """A vote replaces the same key's earlier vote on the same query and document; a click is kept once."""
        row = _row(feedback)
        try:
            self._put(row)
        except sa.exc.IntegrityError:  # the same key said it at the same moment: now there is a row to change
            self._put(row)

    def _put(self, row: dict[str, Any]) -> None:
        once = ("key_id", "query_digest", "document_id", "sort")
        same = [feedback.c[name] == row[name] for name in once]
        changed = {name: row[name] for name in ("kind", "rank", "at")}
        with self.database.write() as connection:
            if not connection.execute(sa.update(feedback).where(*same).values(changed)).rowcount:
                connection.execute(sa.insert(feedback).values(row))

    def page(self, caller: Caller, after: int = 0, limit: int = 1000) -> list[tuple[int, Feedback]]:
        """(serial, feedback) with serial > ``after``, in order, on documents that the caller may read. That of deleted
        documents is gone with them."""
        where = (feedback.c.tenant == caller.tenant, feedback.c.id > after, *readable(caller))
        of_documents = sa.select(feedback).join(documents, documents.c.id == feedback.c.document_id)
        query = of_documents.where(*where).order_by(feedback.c.id).limit(limit)
        with self.database.read() as connection:
            return [(row.id, _feedback(row)) for row in connection.execute(query)]


def _row(feedback: Feedback) -> dict[str, Any]:
    same = " ".join(feedback.query.lower().split())
    return {
        "tenant": feedback.tenant,
        "key_id": feedback.key_id,
        "query_digest": hashlib.sha256(same.encode("utf-8", "replace")).hexdigest(),
        "query": feedback.query,
        "document_id": feedback.document_id,
        "sort": "click" if feedback.kind == "click" else "vote",
        "kind": feedback.kind,
        "rank": feedback.rank,
        "at": feedback.at,
    }


def _feedback(row: Any) -> Feedback:
    return Feedback(row.query, row.document_id, row.kind, row.at, row.key_id, row.tenant, row.rank)
