"""Under which scopes each document stands: kept as links, so that a rule on a folder reaches a million documents by one row."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from indexes.catalogue.tables import access_rules, document_scopes, documents, scopes, storable
from pipeline.access import Scope, folder_scope, with_ancestors


def insert_new(connection: sa.Connection, table: sa.Table) -> Any:
    """An INSERT that leaves out rows which are there already."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    return insert(table).on_conflict_do_nothing()


def link_place(connection: sa.Connection, number: int, source: str, path: str) -> bool:
    """The document stands under the folder of this arrival, from now on; False where it did before."""
    scope = ensure(connection, folder_scope(storable(source), storable(path)))
    new = insert_new(connection, document_scopes).values(number=number, scope=scope)
    return connection.scalar(new.returning(document_scopes.c.scope)) is not None


def link_child(connection: sa.Connection, number: int, parent: int) -> None:
    """What was attached to a document stands under the documents that this one stands under."""
    held = sa.select(document_scopes.c.scope).join(scopes, scopes.c.id == document_scopes.c.scope)
    held = held.where(document_scopes.c.number == parent, scopes.c.document_id != "")
    for scope in connection.scalars(held).all():
        connection.execute(insert_new(connection, document_scopes).values(number=number, scope=scope))


def link_document(connection: sa.Connection, document_id: str) -> int:
    """The scope of a document and of all that was attached to it, however deeply; made where it is new."""
    scope = ensure(connection, Scope(document_id=document_id))
    level = [documents.c.id == document_id]
    # Locked level by level: an attachment that arrives meanwhile comes either before, or finds its parent's scopes.
    while rows := connection.execute(_members(level)).all():
        for row in rows:
            connection.execute(insert_new(connection, document_scopes).values(number=row.number, scope=scope))
        level = [documents.c.parent.in_([row.id for row in rows])]
    return scope


def _members(where: list[sa.ColumnElement[bool]]) -> sa.Select:
    return sa.select(documents.c.number, documents.c.id).where(*where).order_by(documents.c.number).with_for_update()


def ensure(connection: sa.Connection, scope: Scope) -> int:
    """The scope's number; it and what is above it are made where they are new."""
    if (known := find(connection, scope)) is not None:
        return known
    parent = None
    for each in with_ancestors(scope):
        row = {"source": each.source, "folder": each.folder, "document_id": each.document_id}
        new = insert_new(connection, scopes).values(digest=digest(each), parent=parent, **row)
        connection.execute(new)
        parent = find(connection, each)
    assert parent is not None
    return parent


def find(connection: sa.Connection, scope: Scope) -> int | None:
    return connection.scalar(sa.select(scopes.c.id).where(scopes.c.digest == digest(scope)))


def digest(scope: Scope) -> str:
    names = [scope.source, scope.folder, scope.document_id]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def forget_scopes(connection: sa.Connection, number: int) -> None:
    """A deleted document stands under nothing. Rules on it hold on for what was attached to it, as long as that is there."""
    own = (scopes.c.id == document_scopes.c.scope, document_scopes.c.number == number, scopes.c.document_id != "")
    left = connection.scalars(sa.select(scopes.c.id).where(*own)).all()
    connection.execute(sa.delete(document_scopes).where(document_scopes.c.number == number))
    for scope in left:
        others = sa.select(document_scopes.c.number).where(document_scopes.c.scope == scope).limit(1)
        if connection.scalar(others) is None:
            connection.execute(sa.delete(access_rules).where(access_rules.c.scope == scope))
            connection.execute(sa.delete(scopes).where(scopes.c.id == scope))
