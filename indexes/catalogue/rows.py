"""Rows of documents, jobs and events: what several stores read and write inside their own transactions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from indexes.catalogue import attributes, audit
from indexes.catalogue.database import bump_visibility, new_id, now
from indexes.catalogue.deletion import note_erased
from indexes.catalogue.revisions import lock_place, place_of, settle
from indexes.catalogue.scopes import forget_scopes, insert_new, link_attachment, link_folder
from indexes.catalogue.tables import access, arrivals, chunks, documents, embeddings, events, feedback, jobs, results
from pipeline.documents import Arrival, Child, Destination, Document, Event, QueueName, Stage, State
from pipeline.erasure import ErasureOrder

if TYPE_CHECKING:
    from pipeline.document_numbers import DocumentNumbers

#: SQLite allows at most 32,766 variables in a statement.
_BATCH = 10_000
_FIELDS = tuple(Document.__dataclass_fields__)
_TUPLES = ("labels", "languages", "rules", "flags")

#: A list of document numbers, as a parameter of a statement.
NUMBERS: sa.BindParameter[Sequence[int]] = sa.bindparam("numbers", expanding=True)
# Every search reads access lists: building the statement each time takes as long as running it.
_ACCESS = sa.select(access).where(access.c.number.in_(NUMBERS)).order_by(access.c.number, access.c.principal)


def to_document(row: sa.RowMapping, principals: Sequence[str]) -> Document:
    """Return the document of a row of `documents`; ``principals`` are its access list."""
    values = {name: row[name] for name in _FIELDS if name != "access"}
    for name in _TUPLES:
        values[name] = tuple(values[name] or ())
    values["personal_data"] = values["personal_data"] or {}
    values["state"], values["stage"] = State(values["state"]), Stage(values["stage"])
    return Document(**values, access=tuple(principals))


def access_lists(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, list[str]]:
    """Return the sorted access lists of these documents by number; a document without a list is left out."""
    lists: dict[int, list[str]] = {}
    for batch in batches(numbers):
        for number, principal in connection.execute(_ACCESS, {"numbers": batch}):
            lists.setdefault(number, []).append(principal)
    return lists


def batches(numbers: Sequence[int]) -> list[Sequence[int]]:
    """Cut ``numbers`` into lists that fit into one statement."""
    return [numbers[start : start + _BATCH] for start in range(0, len(numbers), _BATCH)]


def receive(
    connection: sa.Connection,
    content_hash: str,
    size: int,
    arrival: Arrival,
    tenant: str,
    parent: Document | None = None,
) -> tuple[int, bool]:
    """Record an arrival, as `DocumentStore.receive` does; return the document's number and whether it is new.
    ``parent`` is the document that it is attached to."""
    number, document_id, created = _find_or_insert(connection, content_hash, size, arrival, tenant, parent)
    row = {
        "document_id": document_id,
        "source": arrival.source,
        "path": arrival.path,
        "arrived_at": arrival.arrived_at,
        "access": list(arrival.access),
        "labels": list(arrival.labels),
        "metadata": dict(arrival.metadata),
    }
    connection.execute(sa.insert(arrivals).values(row))
    if created:
        link_folder(connection, number, arrival.source, arrival.path)
    else:
        settle(connection, tenant, place_of(arrival, parent.id if parent else None))
    existing = set(connection.scalars(sa.select(access.c.principal).where(access.c.number == number)))
    if new := sorted(set(arrival.access) - existing):
        connection.execute(sa.insert(access), [{"number": number, "principal": principal} for principal in new])
        bump_visibility(connection, documents.c.number == number)
    data = {"source": arrival.source, "path": arrival.path, "content_hash": content_hash, "size": size, "new": created}
    add_event(connection, Event(document_id, now(connection), Stage.RECEIVE, "received", data))
    return number, created


def receive_attachment(connection: sa.Connection, parent: Document, child: Child) -> int:
    """Record the arrival of what is attached to ``parent``, under the parent's scopes; return its number."""
    number, created = receive(connection, child.content_hash, child.size, child.arrival, parent.tenant, parent)
    if created:
        link_attachment(connection, number, parent.number)
    return number


def _find_or_insert(
    connection: sa.Connection, content_hash: str, size: int, arrival: Arrival, tenant: str, parent: Document | None
) -> tuple[int, str, bool]:
    """Return number and id of the document, locked during the transaction, and whether it is new."""
    place = place_of(arrival, parent.id if parent else None)
    # Two may arrive at once: the unique index decides, and the loser finds the winner's row in the next round.
    while True:
        if existing := lock_place(connection, tenant, place).get(content_hash):
            return *existing, False
        document_id = new_id()
        row = {
            "id": document_id,
            "tenant": tenant,
            "content_hash": content_hash,
            "size": size,
            "name": arrival.name,
            "source": arrival.source,
            "path": arrival.path,
            "labels": list(arrival.labels),
            "state": State.PROCESSING,
            "stage": Stage.PARSE,
            "received_at": arrival.arrived_at,
            "metadata": dict(arrival.metadata),
            "parent": parent and parent.id,
            "owner": arrival.owner,
            "place": place,
            "superseded_by": parent and parent.superseded_by,
        }
        number = connection.scalar(insert_new(connection, documents).values(row).returning(documents.c.number))
        if number is not None:
            attributes.store(connection, number, (), arrival.metadata)
            enqueue(connection, QueueName.INGEST, document_id, Stage.PARSE)
            return number, document_id, True


def enqueue(
    connection: sa.Connection,
    queue: QueueName,
    subject: str,
    stage: str,
    payload: Mapping[str, Any] | None = None,
    effect: str | None = None,
) -> str | None:
    """Add a job that is due now and return its id; None if a job with the same ``effect`` exists already. ``subject``
    is the id of a document or of a plan."""
    if effect and connection.scalar(sa.select(jobs.c.id).where(jobs.c.effect == effect)):
        return None
    time_now, job_id = now(connection), new_id()
    row = {
        "id": job_id,
        "queue": queue,
        "subject": subject,
        "stage": stage,
        "payload": dict(payload or {}),
        "effect": effect,
        "run_after": time_now,
        "created_at": time_now,
    }
    connection.execute(sa.insert(jobs).values(row))
    return job_id


def enqueue_delivery(
    connection: sa.Connection,
    document: Document,
    destination: Destination,
    decision: str = "",
    reason: str | None = None,
    detail: str | None = None,
) -> None:
    """Add a delivery of the document, at most once for each destination and ``decision``: the id of the review or plan
    that routed it anew, empty for the routing of the path in."""
    payload = {
        "kind": destination.kind,
        "target": destination.target,
        "content_hash": document.content_hash,
        "reason": reason,
        "detail": detail,
        "at": now(connection),
    }
    effect = f"deliver:{document.id}:{destination.kind}:{destination.target}" + (f":{decision}" if decision else "")
    enqueue(connection, QueueName.DELIVER, document.id, "deliver", payload, effect)


def add_event(connection: sa.Connection, event: Event) -> None:
    """Add an entry to the decision record of a document, and to the audit if it is of the kind that belongs there."""
    audit.add_of(connection, event)
    row = {
        "document_id": event.document_id,
        "at": event.at,
        "stage": event.stage,
        "event": event.event,
        "data": dict(event.data),
    }
    connection.execute(sa.insert(events).values(row))


def forget(connection: sa.Connection, document: Document, order: ErasureOrder | None = None) -> None:
    """Hide a document and delete what was derived from it. Its row stays, so that its number is never used again.

    With ``order`` the document becomes part of that erasure, whose job deletes what is stored elsewhere.
    """
    if order is not None:
        note_erased(connection, document, order)
    connection.execute(sa.delete(jobs).where(jobs.c.subject == document.id))
    connection.execute(sa.delete(chunks).where(chunks.c.number == document.number))
    connection.execute(sa.delete(embeddings).where(embeddings.c.number == document.number))
    connection.execute(sa.delete(results).where(results.c.document_id == document.id))
    connection.execute(sa.delete(access).where(access.c.number == document.number))
    attributes.forget(connection, document.number)
    forget_scopes(connection, document.number)
    connection.execute(sa.delete(feedback).where(feedback.c.document_id == document.id))
    values: dict[str, Any] = {
        "state": State.DELETED,
        "title": None,
        "metadata": {},
        "embedder": None,
        "parsed_key": None,
        "personal_data": None,
        "detectors": None,
        "place": "",
        "superseded_by": None,
        "finished_at": time.time(),
    }
    connection.execute(sa.update(documents).where(documents.c.number == document.number).values(values))
    data = {"by": order.by, "erasure": order.id} if order else {}
    add_event(connection, Event(document.id, now(connection), "delete", "deleted", data))
    bump_visibility(connection, documents.c.number == document.number)


def to_numbers(values: Iterable[int]) -> DocumentNumbers:
    """Return document numbers as a sorted set."""
    from pipeline.document_numbers import DocumentNumbers  # imports NumPy, which most commands do not need

    return DocumentNumbers(values)
