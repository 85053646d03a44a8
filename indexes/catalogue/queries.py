"""Saved queries: searches under a name."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from indexes.catalogue.database import Database, new_id
from indexes.catalogue.tables import queries
from pipeline.errors import Refused
from pipeline.questions import Caller, SavedQuery

#: Saved queries of one owner, so that a list is one answer.
MAX_QUERIES = 500


class QueryStore:
    """Saved queries. Each belongs to its caller's `Caller.owner` in its tenant; for every other caller it does not
    exist."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def create(self, caller: Caller, name: str, search: Mapping[str, Any]) -> SavedQuery:
        """Save a query. Raises Refused("conflict") if the caller has one of this name, or MAX_QUERIES already."""
        query = SavedQuery(new_id(), name, dict(search), time.time())
        row: dict[str, Any] = {
            "id": query.id,
            "tenant": caller.tenant,
            "owner": caller.owner,
            "name": name,
            "search": query.search,
            "created_at": query.created_at,
        }
        try:
            with self.database.write() as connection:
                count = connection.scalar(sa.select(sa.func.count()).select_from(queries).where(*_owned(caller)))
                if int(count or 0) >= MAX_QUERIES:
                    detail = f"There are {MAX_QUERIES} saved queries, which is the limit; delete one first."
                    raise Refused("conflict", detail)
                connection.execute(sa.insert(queries).values(row))
        except sa.exc.IntegrityError as error:
            detail = f"There is a saved query {name!r} already; delete it first, or choose another name."
            raise Refused("conflict", detail) from error
        return query

    def of_owner(self, caller: Caller) -> list[SavedQuery]:
        """Return the caller's saved queries, by name."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(queries).where(*_owned(caller)))
            return sorted(map(_saved, rows), key=lambda query: query.name)

    def get(self, caller: Caller, query_id: str) -> SavedQuery:
        """Return one saved query. Raises Refused("not-found")."""
        with self.database.read() as connection:
            row = connection.execute(sa.select(queries).where(queries.c.id == query_id, *_owned(caller))).first()
        if row is None:
            raise _not_found()
        return _saved(row)

    def delete(self, caller: Caller, query_id: str) -> None:
        """Delete a saved query. Raises Refused("not-found")."""
        with self.database.write() as connection:
            if not connection.execute(sa.delete(queries).where(queries.c.id == query_id, *_owned(caller))).rowcount:
                raise _not_found()

    def of_tenant(self, tenant: str = "default") -> list[SavedQuery]:
        """Return the saved queries of all callers, oldest first: search quality is measured on them."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(queries).where(queries.c.tenant == tenant))
            return sorted(map(_saved, rows), key=lambda query: (query.created_at, query.id))


def _owned(caller: Caller) -> tuple[sa.ColumnElement[bool], ...]:
    return queries.c.tenant == caller.tenant, queries.c.owner == caller.owner


def _not_found() -> Refused:
    return Refused("not-found", "There is no such saved query, or it belongs to another caller.")


def _saved(row: sa.Row[Any]) -> SavedQuery:
    return SavedQuery(row.id, row.name, row.search, row.created_at)
