"""Deliveries that wait or were given up: listed, sent again, dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from indexes.catalogue import audit
from indexes.catalogue.database import Database, now
from indexes.catalogue.rows import add_event
from indexes.catalogue.tables import jobs
from pipeline.audit import entry
from pipeline.documents import Event
from pipeline.errors import Refused

#: Stage of the jobs that copy or send a document. Others of the same queue, such as erasures, are never dropped.
STAGE = "deliver"


class DeliveryStore:
    """The jobs of the outbox, for an operator. Erasure and the effects of other jobs are not touched."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def find(self, dead: bool, limit: int = 100) -> list[Mapping[str, Any]]:
        """Return rows {id, document_id, kind, target, state, attempts, created_at, run_after, reason, detail}, oldest
        first: only those that were given up (``dead``), or all that are not done."""
        conditions = [jobs.c.stage == STAGE, *([jobs.c.dead] if dead else [])]
        query = sa.select(jobs).where(*conditions).order_by(jobs.c.created_at, jobs.c.id).limit(limit)
        with self.database.read() as connection:
            return [_row(dict(row)) for row in connection.execute(query).mappings()]

    def retry(self, delivery_ids: Sequence[str] | None, by: str) -> int:
        """Make deliveries that were given up due again, all of them for None; return how many."""
        with self.database.write() as connection:
            conditions = [jobs.c.stage == STAGE, jobs.c.dead]
            if delivery_ids is not None:
                conditions.append(jobs.c.id.in_(delivery_ids))
            rows = connection.execute(sa.select(jobs.c.id, jobs.c.subject).where(*conditions)).all()
            values = {"dead": False, "attempts": 0, "run_after": now(connection)}
            for job_id, subject in rows:
                connection.execute(sa.update(jobs).where(jobs.c.id == job_id, jobs.c.dead).values(values))
                _record(connection, job_id, subject, "retried", by)
            return len(rows)

    def drop(self, delivery_id: str, by: str) -> None:
        """Remove a delivery that was given up. Raises Refused("not-found") if there is none with this id."""
        with self.database.write() as connection:
            match = (jobs.c.id == delivery_id, jobs.c.stage == STAGE, jobs.c.dead)
            subject = connection.scalar(sa.delete(jobs).where(*match).returning(jobs.c.subject))
            if subject is None:
                raise Refused("not-found", f"No delivery {delivery_id[:32]} was given up; list those that were.")
            _record(connection, delivery_id, subject, "dropped", by)


def _row(row: Mapping[str, Any]) -> Mapping[str, Any]:
    names = ("id", "attempts", "created_at", "reason", "detail")
    state = "dead" if row["dead"] else "waiting"
    place = {"document_id": row["subject"], "kind": row["payload"]["kind"], "target": row["payload"]["target"]}
    return {**{name: row[name] for name in names}, **place, "state": state, "run_after": row["run_after"]}


def _record(connection: sa.Connection, job_id: str, document_id: str, event: str, by: str) -> None:
    add_event(connection, Event(document_id, now(connection), STAGE, event, {"delivery": job_id, "by": by}))
    action = {"retried": "delivery.retry", "dropped": "delivery.drop"}[event]
    audit.add(connection, entry(action, f"document:{document_id}", {"delivery": job_id}))
