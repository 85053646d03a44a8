"""The scopes that a document belongs to, stored as links, so that a rule on a folder reaches a million documents by one
row."""

from __future__ import annotations

import hashlib
import json
from importlib import import_module
from typing import Any

import sqlalchemy as sa

from indexes.catalogue.tables import access_rules, document_scopes, documents, scopes, storable
from pipeline.access import Scope, folder_scope, with_ancestors


def insert_new(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an INSERT into ``table`` that leaves out rows which exist already."""
    dialect = import_module(f"sqlalchemy.dialects.{connection.dialect.name}")  # the other one takes long to import
    return dialect.insert(table).on_conflict_do_nothing()


def link_folder(connection: sa.Connection, number: int, source: str, path: str) -> bool:
    """Link document ``number`` to the folder of an arrival; return False if it was linked already."""
    scope = ensure(connection, folder_scope(storable(source), storable(path)))
    link = insert_new(connection, document_scopes).values(number=number, scope=scope)
    return connection.scalar(link.returning(document_scopes.c.scope)) is not None


def link_attachment(connection: sa.Connection, number: int, parent: int) -> None:
    """Link document ``number`` to the document scopes of document ``parent``, which it is attached to."""
    query = sa.select(document_scopes.c.scope).join(scopes, scopes.c.id == document_scopes.c.scope)
    query = query.where(document_scopes.c.number == parent, scopes.c.document_id != "")
    for scope in connection.scalars(query).all():
        connection.execute(insert_new(connection, document_scopes).values(number=number, scope=scope))


def link_document(connection: sa.Connection, document_id: str) -> int:
    """Link a document and all that is attached to it, however deeply, to the document's own scope; return the scope's
    id. The scope is inserted if it is new."""
    scope = ensure(connection, Scope(document_id=document_id))
    c = documents.c
    level = c.id == document_id
    # Locked level by level: an attachment that arrives meanwhile comes either before, or finds its parent's scopes.
    while rows := connection.execute(sa.select(c.number, c.id).where(level).order_by(c.number).with_for_update()).all():
        for row in rows:
            connection.execute(insert_new(connection, document_scopes).values(number=row.number, scope=scope))
        level = c.parent.in_([row.id for row in rows])
    return scope


def ensure(connection: sa.Connection, scope: Scope) -> int:
    """Return the id of a scope; the scope and those above it are inserted if they are new."""
    # Locked against `drop_unused`, which would otherwise delete it before it is linked.
    query = sa.select(scopes.c.id).where(scopes.c.digest == digest(scope)).with_for_update(read=True, key_share=True)
    existing: int | None = connection.scalar(query)
    if existing is not None:
        return existing
    parent = None
    for part in with_ancestors(scope):
        row = {"source": part.source, "folder": part.folder, "document_id": part.document_id}
        connection.execute(insert_new(connection, scopes).values(digest=digest(part), parent=parent, **row))
        parent = find(connection, part)
    assert parent is not None
    return parent


def find(connection: sa.Connection, scope: Scope) -> int | None:
    """Return the id of a scope, or None if no document or rule has it."""
    scope_id: int | None = connection.scalar(sa.select(scopes.c.id).where(scopes.c.digest == digest(scope)))
    return scope_id


def digest(scope: Scope) -> str:
    """Return the SHA-256 of the scope's names, in hexadecimal."""
    names = [scope.source, scope.folder, scope.document_id]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def forget_scopes(connection: sa.Connection, number: int) -> None:
    """Unlink a deleted document. The rules on it stay for as long as one of the documents attached to it exists."""
    own = (scopes.c.id == document_scopes.c.scope, document_scopes.c.number == number, scopes.c.document_id != "")
    linked = connection.scalars(sa.select(scopes.c.id).where(*own)).all()
    connection.execute(sa.delete(document_scopes).where(document_scopes.c.number == number))
    for scope in linked:
        others = sa.select(document_scopes.c.number).where(document_scopes.c.scope == scope).limit(1)
        if connection.scalar(others) is None:
            connection.execute(sa.delete(access_rules).where(access_rules.c.scope == scope))
            connection.execute(sa.delete(scopes).where(scopes.c.id == scope))


def linked_to(connection: sa.Connection, number: int) -> list[int]:
    """Return the ids of the scopes that a document is linked to."""
    return list(connection.scalars(sa.select(document_scopes.c.scope).where(document_scopes.c.number == number)))


def drop_unused(connection: sa.Connection, scope: int | None) -> None:
    """Delete a scope, and those above it, as far as no document, rule or folder below has them: their names are those
    of folders and files. Raises IntegrityError if one is linked at this moment."""
    while scope is not None:
        c, below = scopes.c, scopes.alias()
        users = (
            sa.exists().where(document_scopes.c.scope == scope),
            sa.exists().where(access_rules.c.scope == scope),
            sa.exists().where(below.c.parent == scope),
        )
        deletion = sa.delete(scopes).where(c.id == scope, *(~user for user in users)).returning(c.parent)
        scope = connection.scalar(deletion)
