"""What an erasure has to know of a document, read in the transaction that deletes the rows which say so."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from indexes.catalogue.scopes import linked_to
from indexes.catalogue.tables import (
    chunks,
    documents,
    embeddings,
    erased_documents,
    events,
    feedback,
    jobs,
    queries,
    results,
)
from pipeline.documents import Document, QueueName, State
from pipeline.erasure import Delivery, ErasureOrder
from pipeline.names import fill_template

#: Characters of the shortest name or title that counts as a quotation in a query.
MIN_PHRASE = 6
#: Columns of a deleted document's row once its erasure is done.
NEUTRAL: dict[str, Any] = {
    "name": "",
    "source": "",
    "path": "",
    "labels": [],
    "media_type": None,
    "title": None,
    "languages": None,
    "label": None,
    "probability": None,
    "model": None,
    "rules": None,
    "flags": None,
    "reason": None,
    "detail": None,
    "metadata": {},
    "parsed_key": None,
    "owner": "",
}


def note_erased(connection: sa.Connection, document: Document, order: ErasureOrder) -> None:
    """Record a document in its erasure, before its rows are deleted: where copies of it may be, and how much of it was
    stored."""
    row = {
        "document_id": document.id,
        "erasure_id": order.id,
        "number": document.number,
        "parent": document.parent,
        "received_at": document.received_at,
        "work": {
            "content_hash": document.content_hash,
            "deliveries": [asdict(delivery) for delivery in _deliveries(connection, document)],
            "scopes": linked_to(connection, document.number),
        },
        "removed": {**_counts(connection, document), **_forget_quotes(connection, document)},
        "remaining": [],
        "done": False,
    }
    connection.execute(sa.insert(erased_documents).values(row))


def _deliveries(connection: sa.Connection, document: Document) -> list[Delivery]:
    """Return the deliveries that have ended, and those whose job has not: a courier may be about to put the file
    there."""
    ended = (events.c.document_id == document.id, events.c.stage == "deliver", events.c.event == "done")
    entries = connection.scalars(sa.select(events.c.data).where(*ended).order_by(events.c.id))
    deliveries = [Delivery(e["kind"], e["target"], e.get("receipt")) for e in entries if "kind" in e]
    waiting = (jobs.c.subject == document.id, jobs.c.queue == QueueName.DELIVER, jobs.c.stage == "deliver")
    for job in connection.execute(sa.select(jobs.c.id, jobs.c.payload).where(*waiting)):
        kind, target = job.payload["kind"], job.payload["target"]
        expected = str(fill_template(target, document)) if kind == "folder" else document.path
        deliveries.append(Delivery(kind, target, None, expected, job.id))
    return deliveries


def _counts(connection: sa.Connection, document: Document) -> dict[str, int]:
    def count(*conditions: sa.ColumnElement[bool]) -> int:
        return int(connection.scalar(sa.select(sa.func.count()).where(*conditions)) or 0)

    return {
        "texts": count(chunks.c.number == document.number),
        "vectors": count(chunks.c.number == document.number, chunks.c.vector.is_not(None)),
        "candidate vectors": count(embeddings.c.number == document.number),
        "cached results": count(results.c.document_id == document.id),
        "feedback": count(feedback.c.document_id == document.id),
        "jobs": count(jobs.c.subject == document.id, jobs.c.stage != "done"),
    }


def _forget_quotes(connection: sa.Connection, document: Document) -> dict[str, int]:
    """Delete saved queries, and feedback on other documents, whose words quote the document's id, name or title; return
    how many. A name or title that another document has, too, is not a quotation of this one."""
    phrases = _phrases(connection, document)
    saved = connection.execute(sa.select(queries.c.id, queries.c.search).where(queries.c.tenant == document.tenant))
    quoting = [
        row.id
        for row in saved
        if any(phrase.lower() in json.dumps(row.search, ensure_ascii=False).lower() for phrase in phrases)
    ]
    about_others = [
        feedback.c.query.contains(form, autoescape=True) for phrase in phrases for form in {phrase, phrase.lower()}
    ]
    others = (feedback.c.tenant == document.tenant, feedback.c.document_id != document.id, sa.or_(*about_others))
    return {
        "saved queries": connection.execute(sa.delete(queries).where(queries.c.id.in_(quoting))).rowcount,
        "feedback on other documents": connection.execute(sa.delete(feedback).where(*others)).rowcount,
    }


def _phrases(connection: sa.Connection, document: Document) -> list[str]:
    c = documents.c
    others = (c.tenant == document.tenant, c.id != document.id, c.state != State.DELETED)
    phrases = [document.id]
    for column, value in ((c.name, document.name), (c.title, document.title)):
        if value and len(value) >= MIN_PHRASE:
            is_shared = connection.scalar(sa.select(c.number).where(column == value, *others).limit(1)) is not None
            phrases += [] if is_shared else [value]
    return phrases
