"""The port Reviews over SQL: what people decided of documents, and the documents that may be learned from for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from indexes.catalogue.database import Database, new_id
from indexes.catalogue.documents import add_event, enqueue, readable, to_document
from indexes.catalogue.plans import snapshot
from indexes.catalogue.tables import documents, events
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Document, Event, QueueName, State
from pipeline.questions import Caller
from pipeline.reclassify import APPROVED, CHANGED, PERSON, REVIEW


class ReviewStore:
    """What people decided of documents. A decided document's model is "person:" and who it was."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def decide(self, item: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
        """Apply a difference (an item of a plan) at once, in one transaction, with ``data`` in its record; its new
        destinations become deliveries. False where the document is no longer what the item's old side says."""
        same_document = documents.c.id == item["document_id"]
        with self.database.write() as connection:
            row = connection.execute(sa.select(documents).where(same_document).with_for_update()).mappings().first()
            if row is None or snapshot(row) != {key: item["old"][key] for key in CHANGED}:
                return False
            values = {key: item["new"][key] for key in CHANGED}
            connection.execute(sa.update(documents).where(same_document).values(values))
            now = self.database.now(connection)
            told = {**data, "from": item["old"], "to": item["new"]}
            add_event(connection, Event(item["document_id"], now, REVIEW, APPROVED, told))
            self._deliver(connection, to_document(row, ()), item["new"]["destinations"], now)
            self.database.bump_visibility(connection, same_document)
        return True

    def _deliver(self, connection: sa.Connection, document: Document, destinations: list[str], now: float) -> None:
        decision = new_id()
        for destination in destinations:
            kind, _, target = destination.partition(":")
            payload = {
                "kind": kind,
                "target": target,
                "content_hash": document.content_hash,
                "reason": None,
                "detail": None,
            }
            effect = f"deliver:{document.id}:{kind}:{target}:{decision}"
            enqueue(
                self.database, connection, QueueName.DELIVER, document.id, "deliver", {**payload, "at": now}, effect
            )

    def approved(self, caller: Caller) -> DocumentNumbers:
        """The filed documents whose label a person gave, of those that the caller may read: examples to learn from."""
        decided = [documents.c.model.startswith(PERSON), documents.c.state == State.INDEXED]
        with self.database.read() as connection:
            query = sa.select(documents.c.number).where(*decided, *readable(caller))
            return DocumentNumbers(connection.scalars(query))

    def labels(self) -> frozenset[str]:
        """Return the labels that people assigned."""
        decided = [documents.c.model.startswith(PERSON), documents.c.state == State.INDEXED]
        with self.database.read() as connection:
            found = {
                label for label in connection.scalars(sa.select(documents.c.label).where(*decided).distinct()) if label
            }
            approvals = sa.select(events.c.data).join(documents, documents.c.id == events.c.document_id)
            several = [
                events.c.stage == REVIEW,
                events.c.event == APPROVED,
                sa.cast(events.c.data, sa.Text).contains('"also"'),
            ]
            for data in connection.scalars(approvals.where(*decided, *several)):
                found.update(data.get("also", ()))
        return frozenset(found)
