"""Erasures: what was deleted from the catalogue at once, what a job has to delete elsewhere, and the receipts.

A deleted document's row stays so that its number is never used again. When its erasure ends it holds no more than id,
times and states; a keyed hash stands for its content.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from indexes.catalogue.database import Database, now
from indexes.catalogue.deletion import NEUTRAL
from indexes.catalogue.rows import enqueue
from indexes.catalogue.scopes import drop_unused
from indexes.catalogue.tables import arrivals, documents, erased_documents, erasures, events, jobs, plan_items, requests
from pipeline.documents import Job, QueueName, State
from pipeline.erasure import Delivery, ErasedDocument, Erasure, ErasureOrder, ErasureState
from pipeline.errors import Refused
from pipeline.reclassify import CHANGED

#: The stage of an erasure's job, in the queue DELIVER.
ERASE = "erase"
#: Values of a history entry that say nothing about a document's content or name.
_NEUTRAL_DATA = frozenset({"attempt", "by", "erasure", "generation", "kind", "new", "seconds", "size", "state"})


class ErasureStore:
    """Erasures and their receipts."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def open(self, order: ErasureOrder, tenant: str = "default") -> None:
        """Record a request, with its job; documents are then deleted under its id, and `seal` starts the job."""
        with self.database.write() as connection:
            row = {
                "id": order.id,
                "tenant": tenant,
                "requested_at": now(connection),
                "requested_by": order.by,
                "state": ErasureState.OPEN,
                "index_clean": False,
            }
            connection.execute(sa.insert(erasures).values(row))
            enqueue(connection, QueueName.DELIVER, order.id, ERASE)

    def seal(self, erasure_id: str) -> None:
        """Let the job run: no more documents are deleted under this request."""
        waiting = (erasures.c.id == erasure_id, erasures.c.state == ErasureState.OPEN)
        with self.database.write() as connection:
            connection.execute(sa.update(erasures).where(*waiting).values(state=ErasureState.RUNNING))

    def get(self, erasure_id: str) -> Erasure:
        """Return an erasure with its documents, in order of their numbers. Raises Refused("not-found")."""
        rows = sa.select(erased_documents).where(erased_documents.c.erasure_id == erasure_id)
        with self.database.read() as connection:
            row = connection.execute(sa.select(erasures).where(erasures.c.id == erasure_id)).first()
            if row is None:
                raise Refused("not-found", f"There is no erasure {erasure_id}.")
            items = tuple(_item(item) for item in connection.execute(rows.order_by(erased_documents.c.number)))
        state = ErasureState(row.state)
        head = (row.id, row.tenant, row.requested_at, row.requested_by, state, row.index_clean)
        return Erasure(*head, items, row.receipt)

    def update(self, document: ErasedDocument, pseudonym: str) -> None:
        """Store how far the erasure of a document is; if it is done, anonymise all rows about it.

        ``pseudonym`` stands for the content hash from then on.
        """
        same = erased_documents.c.document_id == document.id
        values: dict[str, Any] = {"removed": dict(document.removed), "remaining": list(map(list, document.remaining))}
        with self.database.write() as connection:
            work = connection.scalar(sa.select(erased_documents.c.work).where(same)) or {}
            if document.done:
                counts = _anonymise(connection, document.id, pseudonym)
                values["removed"] = {**counts, **values["removed"]}
        if document.done:
            for scope in work.get("scopes", ()):
                with contextlib.suppress(sa.exc.IntegrityError), self.database.write() as connection:
                    drop_unused(connection, scope)
            unfinished = [delivery for delivery in work.get("deliveries", ()) if delivery["place"] is None]
            values |= {"done": True, "work": {**work, "deliveries": unfinished, "anonymised_at": time.time()}}
        with self.database.write() as connection:
            connection.execute(sa.update(erased_documents).where(same).values(values))

    def waiting_for_index(self) -> dict[str, list[int]]:
        """Return the document numbers of the erasures that wait for the index, by erasure."""
        c = erasures.c
        joined = sa.join(erasures, erased_documents, c.id == erased_documents.c.erasure_id)
        waiting = (c.state != ErasureState.DONE, ~c.index_clean)
        query = sa.select(c.id, erased_documents.c.number).select_from(joined).where(*waiting)
        numbers: dict[str, list[int]] = {}
        with self.database.read() as connection:
            for erasure_id, number in connection.execute(query):
                numbers.setdefault(erasure_id, []).append(number)
        return numbers

    def index_is_clean(self, numbers: Mapping[str, Collection[int]]) -> None:
        """Record that no file of the index holds anything of these documents, by erasure. An erasure to which documents
        were added since goes on waiting."""
        waiting = self.waiting_for_index()
        clean = [id for id, cleaned in numbers.items() if set(waiting.get(id, ())) <= set(cleaned)]
        running = (erasures.c.id.in_(clean), erasures.c.state == ErasureState.RUNNING)
        with self.database.write() as connection:
            connection.execute(sa.update(erasures).where(*running).values(index_clean=True))

    def is_shared_copy(self, content_hash: str, place: str) -> bool:
        """Return True if a delivery of an undeleted document with this content put its file at ``place``, too."""
        same = (documents.c.content_hash == content_hash, documents.c.state != State.DELETED)
        of_documents = sa.join(events, documents, events.c.document_id == documents.c.id)
        delivered = (events.c.stage == "deliver", events.c.event == "done")
        query = sa.select(events.c.data).select_from(of_documents).where(*same, *delivered)
        with self.database.read() as connection:
            return any(data.get("receipt") == place for data in connection.scalars(query))

    def finish(self, job: Job, receipt: Mapping[str, Any]) -> bool:
        """End an erasure with its receipt, and delete what its job knew of the documents; return False if the lease is
        lost."""
        same = (jobs.c.id == job.id, jobs.c.token == job.token)
        with self.database.write() as connection:
            if connection.execute(sa.delete(jobs).where(*same)).rowcount != 1:
                return False
            values = {"state": ErasureState.DONE, "finished_at": time.time(), "receipt": dict(receipt)}
            connection.execute(sa.update(erasures).where(erasures.c.id == job.subject).values(values))
            of_erasure = erased_documents.c.erasure_id == job.subject
            connection.execute(sa.update(erased_documents).where(of_erasure).values(work={}))
            return True


def _item(row: sa.Row[Any]) -> ErasedDocument:
    deliveries = tuple(Delivery(**delivery) for delivery in row.work.get("deliveries", ()))
    head = (row.document_id, row.number, row.parent, row.received_at, row.work.get("content_hash", ""))
    state = (row.removed, tuple(map(tuple, row.remaining)), row.done, row.work.get("anonymised_at", 0.0))
    return ErasedDocument(*head, deliveries, *state)


def _anonymise(connection: sa.Connection, document_id: str, pseudonym: str) -> dict[str, int]:
    """Delete names, places and metadata from every row about a document; return how many rows were, by store."""
    values = {**NEUTRAL, "content_hash": pseudonym}
    connection.execute(sa.update(documents).where(documents.c.id == document_id).values(values))
    entries = connection.execute(sa.select(events.c.id, events.c.data).where(events.c.document_id == document_id)).all()
    for entry in entries:
        data = {key: value for key, value in entry.data.items() if key in _NEUTRAL_DATA}
        connection.execute(sa.update(events).where(events.c.id == entry.id).values(data=data))
    nothing: dict[str, Any] = {**dict.fromkeys(CHANGED), "state": "deleted"}
    items = plan_items.c.document_id == document_id
    sides: dict[str, Any] = {"old": nothing, "new": {**nothing, "destinations": []}}
    return {
        "arrivals": connection.execute(sa.delete(arrivals).where(arrivals.c.document_id == document_id)).rowcount,
        "history": len(entries),
        "plans": connection.execute(sa.update(plan_items).where(items).values(sides)).rowcount,
        "idempotency keys": connection.execute(
            sa.delete(requests).where(requests.c.document_id == document_id)
        ).rowcount,
    }
