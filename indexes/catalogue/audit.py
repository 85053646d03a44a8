"""The audit's table: entries are appended in the transaction of the change that they are of, and only appended.

A transaction's entries get their places at its end, behind one lock for all processes, which is then kept for the
commit alone. The database refuses to change or delete an entry (migration 0011).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import sqlalchemy as sa

from indexes.catalogue.tables import audit, storable
from pipeline.audit import FAILURE, GENESIS, SUCCESS, AuditEntry, entry
from pipeline.documents import Event

#: Where a connection keeps the entries of its transaction.
_PENDING = "mailroom_audit"
_LOCK = sa.text("SELECT pg_advisory_xact_lock(7461292)")
LAST = sa.select(audit.c.sequence, audit.c.hash).order_by(audit.c.sequence.desc()).limit(1)
#: Stage and event of a document's record -> what the audit calls it. Other events are steps of the path in.
ACTIONS: Mapping[tuple[str, str], str] = {
    ("receive", "received"): "document.upload",
    ("deliver", "done"): "document.deliver",
    ("deliver", "parked"): "document.deliver",
    ("review", "approved"): "document.approve",
    ("reclassify", "applied"): "document.reclassify",
    ("reclassify", "undone"): "document.reclassify",
    ("retry", "retried"): "document.retry",
    ("delete", "deleted"): "document.delete",
}
#: The parts of an event's data that hold neither text nor name nor path of a document.
_DATA = ("content_hash", "size", "new", "source", "kind", "target", "attempt", "reason", "plan", "by", "labels")


def add(connection: sa.Connection, new: AuditEntry) -> None:
    """Append an entry at the end of this transaction."""
    connection.info.setdefault(_PENDING, []).append(new)


def add_of(connection: sa.Connection, event: Event) -> None:
    """Append the entry of an event in a document's record, if the audit has that kind of event."""
    action = ACTIONS.get((event.stage, event.event))
    if action is None:
        return
    data = {name: event.data[name] for name in _DATA if name in event.data}
    sides = {side: event.data[side].get("label") for side in ("from", "to") if isinstance(event.data.get(side), dict)}
    outcome = FAILURE if event.event == "parked" else SUCCESS
    add(connection, entry(action, f"document:{event.document_id}", {**data, **sides}, outcome, int(event.at * 1000)))


def begin(connection: sa.Connection) -> None:
    """Forget what a transaction that failed on this connection had to append."""
    connection.info.pop(_PENDING, None)


def seal(connection: sa.Connection, time: float) -> None:
    """Give the transaction's entries their places at the end of the chain. ``time`` in seconds is that of entries
    without one. Nothing may lock anything behind this but the commit."""
    pending: list[AuditEntry] = connection.info.pop(_PENDING, [])
    if not pending:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK)
    last = connection.execute(LAST).first()
    sequence, previous = tuple(last) if last else (0, GENESIS)
    rows = []
    for new in pending:
        sequence += 1
        # The hash is of the texts as the database will return them.
        stored = replace(
            new,
            time=new.time or int(time * 1000),
            resource=storable(new.resource),
            actor=storable(new.actor),
            address=storable(new.address),
        )
        chained = stored.chained(sequence, previous)
        rows.append(asdict(chained))
        previous = chained.hash
    connection.execute(sa.insert(audit), rows)
