"""The audit as it is read, and appended to for what is in no other table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from indexes.catalogue.audit import LAST, add
from indexes.catalogue.database import Database
from indexes.catalogue.tables import audit
from pipeline.audit import Anchor, AuditEntry, ChainCheck, check_chain

#: Filters that compare a column as it is.
_EQUAL = ("actor", "key_id", "resource", "outcome", "request_id")
#: Entries that are read at once.
BATCH = 5_000


class AuditStore:
    """Reads the audit and appends to it; there is no other change."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def append(self, entries: Sequence[AuditEntry]) -> None:
        """Append entries of what is not in this database, or happened before: all of them or none."""
        with self.database.write() as connection:
            for new in entries:
                add(connection, new)

    def find(
        self,
        tenant: str = "default",
        filters: Mapping[str, Any] | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[AuditEntry]:
        """Return entries, newest first, those before the number ``before``.

        ``filters``: actor, key_id, resource, outcome, request_id; action, where a domain with a dot at its end stands
        for all its verbs; since and until (epoch seconds, half open).
        """
        c, filters = audit.c, filters or {}
        conditions = [c.tenant == tenant, *(c[name] == filters[name] for name in _EQUAL if name in filters)]
        if action := filters.get("action"):
            matches = c.action.startswith(action, autoescape=True) if action.endswith(".") else c.action == action
            conditions.append(matches)
        if "since" in filters:
            conditions.append(c.time >= int(filters["since"] * 1000))
        if "until" in filters:
            conditions.append(c.time < int(filters["until"] * 1000))
        if before is not None:
            conditions.append(c.sequence < before)
        query = sa.select(audit).where(*conditions).order_by(audit.c.sequence.desc()).limit(limit)
        with self.database.read() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def entries(self, after: int = 0) -> Iterator[AuditEntry]:
        """Yield every entry behind the number ``after``, in order, in batches that keep no transaction open."""
        while True:
            query = sa.select(audit).where(audit.c.sequence > after).order_by(audit.c.sequence).limit(BATCH)
            with self.database.read() as connection:
                rows = [_entry(row) for row in connection.execute(query)]
            yield from rows
            if len(rows) < BATCH:
                return
            after = rows[-1].sequence

    def head(self) -> Anchor:
        """Return the number and the hash of the last entry."""
        with self.database.read() as connection:
            row = connection.execute(LAST).first()
        return Anchor(*row) if row else Anchor()

    def holds(self, anchor: Anchor) -> bool:
        """Return True if the entry that was anchored is there, unchanged."""
        query = sa.select(audit.c.hash).where(audit.c.sequence == anchor.sequence)
        with self.database.read() as connection:
            return not anchor.sequence or connection.scalar(query) == anchor.hash

    def verify(self, anchors: Sequence[Anchor] = ()) -> ChainCheck:
        """Read the whole audit and check it against itself and the anchors."""
        return check_chain(self.entries(), anchors)


def _entry(row: sa.Row[Any]) -> AuditEntry:
    return AuditEntry(*row)
