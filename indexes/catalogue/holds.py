"""Legal holds. The deletion of a document looks at them in its own transaction, so that none comes too late."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from indexes.catalogue import audit
from indexes.catalogue.database import Database, new_id, now
from indexes.catalogue.scopes import insert_new
from indexes.catalogue.tables import documents, holds, results
from pipeline.audit import entry
from pipeline.codec import decode_parsed
from pipeline.documents import Document, State
from pipeline.errors import Refused
from pipeline.retention import Hold, HoldCandidate, OnHold, holds_on


class HoldStore:
    """Legal holds: placed, lifted, listed."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, kind: str, target: str, reason: str, by: str, tenant: str = "default") -> tuple[Hold, bool]:
        """Place a hold; return it and whether it is new. Raises Refused("not-found") for an unknown document."""
        with self.database.write() as connection:
            _lock(connection, "pg_advisory_xact_lock")
            if kind == "document":
                same = (documents.c.id == target, documents.c.tenant == tenant, documents.c.state != State.DELETED)
                if connection.scalar(sa.select(documents.c.number).where(*same)) is None:
                    raise Refused("not-found", f"There is no document {target[:32]}.")
            row = {"kind": kind, "target": target, "reason": reason, "created_at": now(connection), "created_by": by}
            statement = insert_new(connection, holds).values(id=new_id(), tenant=tenant, **row)
            hold_id = connection.scalar(statement.returning(holds.c.id))
            if hold_id is not None:
                audit.add(connection, entry("hold.add", f"hold:{hold_id}", {"kind": kind}))
            query = sa.select(holds).where(holds.c.tenant == tenant, holds.c.kind == kind, holds.c.target == target)
            return _hold(connection.execute(query).one()), hold_id is not None

    def remove(self, hold_id: str, tenant: str = "default") -> None:
        """Lift a hold. Raises Refused("not-found")."""
        with self.database.write() as connection:
            same = (holds.c.id == hold_id, holds.c.tenant == tenant)
            if connection.execute(sa.delete(holds).where(*same)).rowcount != 1:
                raise Refused("not-found", f"There is no hold {hold_id[:32]}; `mailroom hold list` shows them.")
            audit.add(connection, entry("hold.remove", f"hold:{hold_id}"))

    def all(self, tenant: str = "default") -> list[Hold]:
        """Return the holds, oldest first."""
        with self.database.read() as connection:
            return _all(connection, tenant)


def _lock(connection: sa.Connection, function: str) -> None:
    """Let deletions go on beside each other, but not beside a new hold. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"SELECT {function}(7461293)"))


def check(connection: sa.Connection, family: Sequence[Document]) -> None:
    """Raise OnHold if one of these documents must not be erased."""
    _lock(connection, "pg_advisory_xact_lock_shared")
    if matches := on_family(connection, family, family[0].tenant):
        raise OnHold(family[0].id, matches)


def on_family(connection: sa.Connection, family: Sequence[Document], tenant: str) -> list[Hold]:
    """Return the holds on one of these documents. Their texts are read only if a hold is on a subject."""
    placed = _all(connection, tenant)
    if not placed:
        return []
    with_text = any(hold.kind == "subject" for hold in placed)
    texts = (_text(connection, document) if with_text else "" for document in family)
    candidates = [
        HoldCandidate(document, _ancestors(connection, document), text)
        for document, text in zip(family, texts, strict=True)
    ]
    return holds_on(placed, candidates)


def _all(connection: sa.Connection, tenant: str) -> list[Hold]:
    query = sa.select(holds).where(holds.c.tenant == tenant).order_by(holds.c.created_at, holds.c.id)
    return [_hold(row) for row in connection.execute(query)]


def _hold(row: sa.Row[Any]) -> Hold:
    return Hold(row.id, row.kind, row.target, row.reason, row.created_at, row.created_by)


def _ancestors(connection: sa.Connection, document: Document) -> list[str]:
    """Return the ids of the documents that a document is attached to, the nearest first."""
    ancestors: list[str] = []
    parent = document.parent
    while parent is not None and parent not in ancestors:
        ancestors.append(parent)
        parent = connection.scalar(sa.select(documents.c.parent).where(documents.c.id == parent))
    return ancestors


def _text(connection: sa.Connection, document: Document) -> str | None:
    """Return a document's text, None before it is read; "" for one that could not be."""
    key = sa.select(documents.c.parsed_key).where(documents.c.number == document.number).scalar_subquery()
    stored = connection.scalar(sa.select(results.c.payload).where(results.c.key == key))
    if stored is not None:
        return decode_parsed(zlib.decompress(stored)).text
    return None if document.state is State.PROCESSING else ""
