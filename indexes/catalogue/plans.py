"""The port Plans over SQL: saved differences, applied and undone exactly as saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from indexes.catalogue.database import Database, new_id
from indexes.catalogue.documents import add_event, enqueue, to_document
from indexes.catalogue.tables import documents, jobs, plan_items, plans
from pipeline.documents import Document, Event, Job, QueueName, State
from pipeline.errors import Refused
from pipeline.reclassify import CHANGED

#: action -> (plan states it may start from, item states it takes, item state it leaves, side it reads, side it writes)
_ACTIONS = {
    "apply": ({"ready", "applying", "applied"}, ("pending",), "applied", "old", "new"),
    "undo": ({"applying", "applied", "undoing", "undone"}, ("applied",), "undone", "new", "old"),
}
_RUNNING = {"apply": "applying", "undo": "undoing"}
_OVER = {"apply": "applied", "undo": "undone"}


class PlanStore:
    """Saved reclassification differences. A plan is {id, created_at, model, rules_digest, selection, state, counts};
    an item is {document_id, old: {...}, new: {...}, state: "pending" | "applied" | "stale" | "undone"}; old and new hold label,
    probability, model, rules, reason, state."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def create(self, model: str, rules_digest: str, selection: Mapping[str, Any]) -> str:
        with self.database.write() as connection:
            row = {
                "id": new_id(),
                "created_at": self.database.now(connection),
                "model": model,
                "rules_digest": rules_digest,
                "selection": dict(selection),
                "state": "comparing",
            }
            connection.execute(sa.insert(plans).values(row))
        return row["id"]

    def add(self, plan_id: str, items: Sequence[Mapping[str, Any]], ready: bool) -> None:
        """Append items (an item of a document already in the plan is ignored); ``ready`` closes the comparison."""
        with self.database.write() as connection:
            _add(connection, plan_id, items)
            if ready:
                connection.execute(sa.update(plans).where(plans.c.id == plan_id).values(state="ready"))

    def finish_comparison(self, job: Job, items: Sequence[Mapping[str, Any]]) -> bool:
        """End a "compare" job with its items, in one transaction under its fence; the last one makes the plan ready."""
        with self.database.write() as connection:
            if not _end(connection, job):
                return False
            _add(connection, job.subject, items)
            if not _jobs(connection, job.subject):
                connection.execute(sa.update(plans).where(plans.c.id == job.subject).values(state="ready"))
            return True

    def get(self, plan_id: str) -> Mapping[str, Any]:
        """Raises Refused("not-found")."""
        with self.database.read() as connection:
            row = connection.execute(sa.select(plans).where(plans.c.id == plan_id)).mappings().first()
            if row is None:
                raise Refused("not-found", f"There is no plan {plan_id}.")
            counted = sa.select(plan_items.c.state, sa.func.count()).where(plan_items.c.plan_id == plan_id)
            counts = {state: int(n) for state, n in connection.execute(counted.group_by(plan_items.c.state))}
            # A parked batch is no open one, but it keeps the action from being over.
            dead = connection.scalars(sa.select(jobs.c.detail).where(jobs.c.subject == plan_id, jobs.c.dead)).all()
            waiting = _jobs(connection, plan_id) - len(dead)
            return {
                **row,
                "counts": counts,
                "open_jobs": waiting,
                "dead_jobs": len(dead),
                "trouble": next(iter(dead), ""),
            }

    def all(self) -> list[Mapping[str, Any]]:
        """All plans, oldest first."""
        with self.database.read() as connection:
            ids = connection.scalars(sa.select(plans.c.id).order_by(plans.c.created_at)).all()
        return [self.get(plan_id) for plan_id in ids]

    def items(
        self, plan_id: str, state: str | None = None, limit: int = 100, after: str = ""
    ) -> list[Mapping[str, Any]]:
        """In order of document id, from after ``after`` on."""
        where = [plan_items.c.plan_id == plan_id, plan_items.c.document_id > after]
        if state is not None:
            where.append(plan_items.c.state == state)
        query = sa.select(plan_items).where(*where).order_by(plan_items.c.document_id).limit(limit)
        with self.database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def start(self, plan_id: str, action: str, batch: int, document_ids: Sequence[str] = ()) -> list[str]:
        """Enqueue jobs of the queue RECLASSIFY ("compare", "apply" or "undo"), each over a batch of document ids (payload
        {"documents": [...]}), returning their ids; "compare" takes ``document_ids``, the others the plan's open items.
        Refused("conflict") unless the plan is ready (apply) or applied (undo). A repeat enqueues only what is still open."""
        with self.database.write() as connection:
            state = connection.scalar(sa.select(plans.c.state).where(plans.c.id == plan_id).with_for_update())
            if state is None:
                raise Refused("not-found", f"There is no plan {plan_id}.")
            if action != "compare":
                document_ids = self._prepare(connection, plan_id, action, state)
            elif not document_ids:
                connection.execute(sa.update(plans).where(plans.c.id == plan_id).values(state="ready"))
            parts = [list(document_ids[i : i + batch]) for i in range(0, len(document_ids), batch)]
            made = [
                enqueue(self.database, connection, QueueName.RECLASSIFY, plan_id, action, {"documents": part})
                for part in parts
            ]
            return [job_id for job_id in made if job_id]

    def _prepare(self, connection: sa.Connection, plan_id: str, action: str, state: str) -> list[str]:
        """Check the plan's state, drop what an interrupted run left in the queue, and return the open items."""
        allowed, takes, *_ = _ACTIONS[action]
        if state not in allowed:
            raise Refused("conflict", f"Plan {plan_id} is {state}; it cannot be {_OVER[action]} now.")
        connection.execute(sa.delete(jobs).where(jobs.c.subject == plan_id))
        query = sa.select(plan_items.c.document_id).where(
            plan_items.c.plan_id == plan_id, plan_items.c.state.in_(takes)
        )
        ids = list(connection.scalars(query.order_by(plan_items.c.document_id)))
        after = _RUNNING[action] if ids else _OVER[action]
        connection.execute(sa.update(plans).where(plans.c.id == plan_id).values(state=after))
        return ids

    def execute(self, job: Job) -> Mapping[str, int] | None:
        """Apply or undo the job's batch in one transaction under its fence and end the job. An item whose document
        changed since the plan was made becomes "stale" and is left alone. Returns counts, or None when the lease has passed on."""
        _, takes, leaves, reads, writes = _ACTIONS[job.stage]
        counts = {leaves: 0, "stale": 0}
        with self.database.write() as connection:
            if not _end(connection, job):
                return None
            query = sa.select(plan_items).where(
                plan_items.c.plan_id == job.subject,
                plan_items.c.document_id.in_(job.payload["documents"]),
                plan_items.c.state.in_(takes),
            )
            for item in connection.execute(query).mappings().all():
                outcome = self._change(connection, item, reads, writes, leaves)
                counts[outcome] += 1
            if not _jobs(connection, job.subject):
                over = _OVER[job.stage]
                connection.execute(sa.update(plans).where(plans.c.id == job.subject).values(state=over))
            self.database.bump_visibility(connection, documents.c.id.in_(job.payload["documents"]))
        return counts

    def _change(self, connection: sa.Connection, item: Mapping[str, Any], reads: str, writes: str, leaves: str) -> str:
        """Change one document from one side of the item to the other, unless it is no longer what the plan saw."""
        row = connection.execute(
            sa.select(documents).where(documents.c.id == item["document_id"]).with_for_update()
        ).mappings().first()  # fmt: skip
        expected, wanted = item[reads], item[writes]
        state = leaves if row is not None and snapshot(row) == {k: expected[k] for k in CHANGED} else "stale"
        where = (plan_items.c.plan_id == item["plan_id"], plan_items.c.document_id == item["document_id"])
        connection.execute(sa.update(plan_items).where(*where).values(state=state))
        if state == "stale":
            return state
        values = {key: wanted[key] for key in CHANGED}
        connection.execute(sa.update(documents).where(documents.c.id == item["document_id"]).values(values))
        data = {"plan": item["plan_id"], "from": expected, "to": wanted}
        add_event(connection, Event(item["document_id"], self.database.now(connection), "reclassify", leaves, data))
        if leaves == "applied":
            self._deliver(connection, to_document(row, ()), wanted.get("destinations", ()), item["plan_id"])
        return state

    def _deliver(
        self, connection: sa.Connection, document: Document, destinations: Sequence[str], plan_id: str
    ) -> None:
        """Once for each plan: under a new label the same template or receiver is served again."""
        for destination in destinations:
            kind, _, target = destination.partition(":")
            payload = {
                "kind": kind,
                "target": target,
                "content_hash": document.content_hash,
                "reason": None,
                "detail": None,
            }
            payload["at"] = self.database.now(connection)
            effect = f"deliver:{document.id}:{kind}:{target}:{plan_id}"
            enqueue(self.database, connection, QueueName.DELIVER, document.id, "deliver", payload, effect)


def snapshot(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a plan may change of a document, as JSON values; also made from a Document with `vars`-like access."""
    values = {key: row[key] for key in CHANGED}
    values["rules"] = list(values["rules"] or ())
    values["state"] = str(State(values["state"]))
    return values


def _add(connection: sa.Connection, plan_id: str, items: Sequence[Mapping[str, Any]]) -> None:
    ids = [item["document_id"] for item in items]
    known = set(
        connection.scalars(
            sa.select(plan_items.c.document_id).where(
                plan_items.c.plan_id == plan_id, plan_items.c.document_id.in_(ids)
            )
        )
    )
    rows = [
        {"plan_id": plan_id, "document_id": i["document_id"], "old": i["old"], "new": i["new"], "state": "pending"}
        for i in items
        if i["document_id"] not in known
    ]
    if rows:
        connection.execute(sa.insert(plan_items), rows)


def _end(connection: sa.Connection, job: Job) -> bool:
    """End the job if the lease still holds. The plan's row is locked first: of two batches that end at once the later
    one has to see that the other is gone, since it is the one that ends the action."""
    connection.execute(sa.select(plans.c.id).where(plans.c.id == job.subject).with_for_update())
    return connection.execute(sa.delete(jobs).where(jobs.c.id == job.id, jobs.c.token == job.token)).rowcount == 1


def _jobs(connection: sa.Connection, plan_id: str) -> int:
    """Batches that are not done: waiting, leased or parked."""
    return int(connection.scalar(sa.select(sa.func.count()).select_from(jobs).where(jobs.c.subject == plan_id)) or 0)
