"""Places and revisions: a document is one content at one place of one owner; newer contents there are its revisions."""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa

from indexes.catalogue.database import bump_visibility
from indexes.catalogue.tables import arrivals, documents, storable
from pipeline.documents import Arrival, State

#: The states in which a document that has vectors is in the index for sure.
_FINISHED = (State.INDEXED, State.REVIEW)


def place_of(arrival: Arrival, parent: str | None = None) -> str:
    """Return the digest of the place of an arrival: its owner, source and path, and the document it is attached to."""
    names = [arrival.owner, arrival.source, arrival.path, *([parent] if parent else [])]
    return hashlib.sha256(json.dumps([storable(name) for name in names]).encode()).hexdigest()


def lock_place(connection: sa.Connection, tenant: str, place: str) -> dict[str, tuple[int, str]]:
    """Lock the undeleted documents at a place, always in the order of their numbers, so that two transactions never
    wait for each other; return number and id by content hash."""
    c = documents.c
    query = sa.select(c.number, c.id, c.content_hash).where(*_at(tenant, place)).order_by(c.number).with_for_update()
    return {row.content_hash: (row.number, row.id) for row in connection.execute(query)}


def settle(connection: sa.Connection, tenant: str, place: str) -> None:
    """Let the content that arrived last at a place supersede those before it, as soon as it is searchable: a newer one
    that cannot be read hides nothing, and after an erasure the one before stands again. What is attached to a document
    is superseded with it. Attachments themselves have no revisions."""
    c = documents.c
    last = sa.select(sa.func.max(arrivals.c.id)).where(arrivals.c.document_id == c.id).scalar_subquery()
    columns = sa.select(c.id, c.state, c.embedder, c.superseded_by, last.label("last"))
    rows = connection.execute(columns.where(*_at(tenant, place), c.parent.is_(None))).all()
    searchable = [row for row in rows if row.embedder is not None and row.state in _FINISHED]
    newest = max(searchable, key=lambda row: row.last, default=None)
    for row in rows:
        successor = newest.id if newest is not None and row.last < newest.last else None
        if row.superseded_by != successor:
            _supersede(connection, row.id, successor)


def _at(tenant: str, place: str) -> tuple[sa.ColumnElement[bool], ...]:
    return documents.c.tenant == tenant, documents.c.place == place, documents.c.state != State.DELETED


def _supersede(connection: sa.Connection, document_id: str, successor: str | None) -> None:
    """Record the successor of a document, None if it has none any more, on it and all that is attached to it."""
    c, level = documents.c, [document_id]
    while level:
        connection.execute(sa.update(documents).where(c.id.in_(level)).values(superseded_by=successor))
        bump_visibility(connection, c.id.in_(level))
        level = list(connection.scalars(sa.select(c.id).where(c.parent.in_(level), c.state != State.DELETED)))
