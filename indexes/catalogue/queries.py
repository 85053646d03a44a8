"""The port Queries over SQL: searches that someone gave a name."""

from __future__ import annotations

import builtins
import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from indexes.catalogue.store import Store, new_id
from indexes.catalogue.tables import queries
from pipeline.errors import Refused
from pipeline.questions import Caller, SavedQuery

#: Saved queries of one owner, so that a list is one answer.
MAX_QUERIES = 500


class SqlQueries:
    """Implements `pipeline.ports.Queries`."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def create(self, caller: Caller, name: str, search: Mapping[str, Any]) -> SavedQuery:
        made = SavedQuery(new_id(), name, dict(search), time.time())
        row = {"id": made.id, "tenant": caller.tenant, "owner": caller.owner, "name": name}
        row |= {"search": made.search, "created_at": made.created_at}
        try:
            with self.store.write() as connection:
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

    def list(self, caller: Caller) -> builtins.list[SavedQuery]:
        with self.store.read() as connection:
            rows = connection.execute(sa.select(queries).where(*_owned(caller)))
            return sorted(map(_saved, rows), key=lambda query: query.name)

    def get(self, caller: Caller, query_id: str) -> SavedQuery:
        with self.store.read() as connection:
            row = connection.execute(sa.select(queries).where(queries.c.id == query_id, *_owned(caller))).first()
        if row is None:
            raise _missing()
        return _saved(row)

    def delete(self, caller: Caller, query_id: str) -> None:
        with self.store.write() as connection:
            if not connection.execute(sa.delete(queries).where(queries.c.id == query_id, *_owned(caller))).rowcount:
                raise _missing()

    def everyones(self, tenant: str = "default") -> builtins.list[SavedQuery]:
        with self.store.read() as connection:
            rows = connection.execute(sa.select(queries).where(queries.c.tenant == tenant))
            return sorted(map(_saved, rows), key=lambda query: (query.created_at, query.id))


def _owned(caller: Caller) -> tuple[sa.ColumnElement[bool], ...]:
    return queries.c.tenant == caller.tenant, queries.c.owner == caller.owner


def _missing() -> Refused:
    return Refused("not-found", "There is no such saved query, or it is another's.")


def _saved(row: Any) -> SavedQuery:
    return SavedQuery(row.id, row.name, row.search, row.created_at)
