"""The port Queries over SQL: searches that someone gave a name."""

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
    """Saved queries. Each belongs to its caller's `Caller.owner` in its tenant; to every other caller it is not there."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def create(self, caller: Caller, name: str, search: Mapping[str, Any]) -> SavedQuery:
        """Refused("conflict") where the caller has one of this name, or as many as there may be."""
        made = SavedQuery(new_id(), name, dict(search), time.time())
        row = {"id": made.id, "tenant": caller.tenant, "owner": caller.owner, "name": name}
        row |= {"search": made.search, "created_at": made.created_at}
        try:
            with self.database.write() as connection:
                counted = sa.select(sa.func.count()).select_from(queries).where(*_owned(caller))
                if int(connection.scalar(counted) or 0) >= MAX_QUERIES:
                    raise Refused(
                        "conflict", f"There are {MAX_QUERIES} saved queries, as many as may be; delete one first."
                    )
                connection.execute(sa.insert(queries).values(row))
        except sa.exc.IntegrityError as error:
            detail = f"A saved query is called {name!r} already; delete it first, or choose another name."
            raise Refused("conflict", detail) from error
        return made

    def of_owner(self, caller: Caller) -> list[SavedQuery]:
        """The caller's, by name."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(queries).where(*_owned(caller)))
            return sorted(map(_saved, rows), key=lambda query: query.name)

    def get(self, caller: Caller, query_id: str) -> SavedQuery:
        """Raises Refused("not-found")."""
        with self.database.read() as connection:
            row = connection.execute(sa.select(queries).where(queries.c.id == query_id, *_owned(caller))).first()
        if row is None:
            raise _missing()
        return _saved(row)

    def delete(self, caller: Caller, query_id: str) -> None:
        """Raises Refused("not-found")."""
        with self.database.write() as connection:
            if not connection.execute(sa.delete(queries).where(queries.c.id == query_id, *_owned(caller))).rowcount:
                raise _missing()

    def of_tenant(self, tenant: str = "default") -> list[SavedQuery]:
        """Return the saved queries of all callers, oldest first, for measuring search."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(queries).where(queries.c.tenant == tenant))
            return sorted(map(_saved, rows), key=lambda query: (query.created_at, query.id))


def _owned(caller: Caller) -> tuple[sa.ColumnElement[bool], ...]:
    return queries.c.tenant == caller.tenant, queries.c.owner == caller.owner


def _missing() -> Refused:
    return Refused("not-found", "There is no such saved query, or it is another's.")


def _saved(row: Any) -> SavedQuery:
    return SavedQuery(row.id, row.name, row.search, row.created_at)
