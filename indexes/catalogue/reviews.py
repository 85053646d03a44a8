"""What people decided of documents, and the documents that a model may be trained on because of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from indexes.catalogue.database import Database, bump_visibility, new_id, now
from indexes.catalogue.plans import deliver, snapshot
from indexes.catalogue.rows import add_event, to_document, to_numbers
from indexes.catalogue.rule import readable
from indexes.catalogue.tables import documents, events
from pipeline.documents import Event, State
from pipeline.questions import Caller
from pipeline.reclassify import APPROVED, CHANGED, PERSON, REVIEW

if TYPE_CHECKING:
    from pipeline.document_numbers import DocumentNumbers

#: A filed document whose label a person assigned.
_DECIDED = (documents.c.model.startswith(PERSON), documents.c.state == State.INDEXED)


class ReviewStore:
    """People's decisions. The model of a decided document is "person:" and who it was."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def decide(self, item: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
        """Apply a difference (an item of a plan) in one transaction, with ``data`` in the document's record; the new
        side's destinations become deliveries. Return False if the document has changed since the item was made."""
        same_document = documents.c.id == item["document_id"]
        with self.database.write() as connection:
            row = connection.execute(sa.select(documents).where(same_document).with_for_update()).mappings().first()
            if row is None or snapshot(row) != {key: item["old"][key] for key in CHANGED}:
                return False
            values = {key: item["new"][key] for key in CHANGED}
            connection.execute(sa.update(documents).where(same_document).values(values))
            record = {**data, "from": item["old"], "to": item["new"]}
            add_event(connection, Event(item["document_id"], now(connection), REVIEW, APPROVED, record))
            deliver(connection, to_document(row, ()), item["new"]["destinations"], new_id())
            bump_visibility(connection, same_document)
        return True

    def approved(self, caller: Caller) -> DocumentNumbers:
        """Return the numbers of the filed documents whose label a person assigned, of those that the caller may read:
        the organisation's training examples."""
        with self.database.read() as connection:
            query = sa.select(documents.c.number).where(*_DECIDED, *readable(caller))
            return to_numbers(connection.scalars(query))

    def labels(self) -> frozenset[str]:
        """Return the labels that people assigned to filed documents, further labels ("also") included."""
        approvals = sa.select(events.c.data).join(documents, documents.c.id == events.c.document_id)
        with_further = (
            events.c.stage == REVIEW,
            events.c.event == APPROVED,
            sa.cast(events.c.data, sa.Text).contains('"also"'),
        )
        with self.database.read() as connection:
            labels = set(connection.scalars(sa.select(documents.c.label).where(*_DECIDED).distinct()))
            for data in connection.scalars(approvals.where(*_DECIDED, *with_further)):
                labels.update(data.get("also", ()))
        return frozenset(label for label in labels if label)
