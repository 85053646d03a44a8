"""Reclassification plans: saved differences, applied and undone exactly as saved."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from indexes.catalogue.database import Database, bump_visibility, new_id, now
from indexes.catalogue.rows import add_event, enqueue, enqueue_delivery, to_document
from indexes.catalogue.tables import documents, jobs, plan_items, plans
from pipeline.documents import Destination, Document, Event, Job, QueueName, State
from pipeline.errors import Refused
from pipeline.reclassify import CHANGED


@dataclass(frozen=True, slots=True)
class _Action:
    """What an action does to a plan in one of the states ``starts_from``: it takes the items in state ``takes`` from
    their side ``reads`` to their side ``writes`` and leaves them in state ``leaves``. The plan is ``running``
    meanwhile, and ``over`` when no batch is left."""

    starts_from: Collection[str]
    running: str
    over: str
    takes: str
    leaves: str
    reads: str
    writes: str


_ACTIONS = {
    "apply": _Action(
        ("ready", "applying", "applied"),
        "applying",
        "applied",
        takes="pending",
        leaves="applied",
        reads="old",
        writes="new",
    ),
    "undo": _Action(
        ("applying", "applied", "undoing", "undone"),
        "undoing",
        "undone",
        takes="applied",
        leaves="undone",
        reads="new",
        writes="old",
    ),
}


class PlanStore:
    """Saved reclassification differences.

    A plan is {id, created_at, model, rules_digest, selection, state, counts, open_jobs, dead_jobs, trouble}: `counts`
    are items by state, `open_jobs` batches that are not done, `dead_jobs` parked ones, `trouble` the detail of one of
    them. An item is {document_id, old, new, state}: its state is "pending", "applied", "stale" or "undone"; `old` and
    `new` hold label, probability, model, rules, reason, detail and state, and `new` the destinations.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def create(self, model: str, rules_digest: str, selection: Mapping[str, Any]) -> str:
        """Create an empty plan in state "comparing" and return its id."""
        plan_id = new_id()
        with self.database.write() as connection:
            row = {
                "id": plan_id,
                "created_at": now(connection),
                "model": model,
                "rules_digest": rules_digest,
                "selection": dict(selection),
                "state": "comparing",
            }
            connection.execute(sa.insert(plans).values(row))
        return plan_id

    def add(self, plan_id: str, items: Sequence[Mapping[str, Any]], ready: bool) -> None:
        """Append items; an item of a document already in the plan is ignored. ``ready`` ends the comparison."""
        with self.database.write() as connection:
            _add(connection, plan_id, items)
            if ready:
                _set_state(connection, plan_id, "ready")

    def finish_comparison(self, job: Job, items: Sequence[Mapping[str, Any]]) -> bool:
        """End a "compare" job with its items in one transaction; the last job makes the plan ready. Return False if the
        lease is lost."""
        with self.database.write() as connection:
            if not _end(connection, job):
                return False
            _add(connection, job.subject, items)
            if not _count_jobs(connection, job.subject):
                _set_state(connection, job.subject, "ready")
            return True

    def get(self, plan_id: str) -> Mapping[str, Any]:
        """Return a plan. Raises Refused("not-found")."""
        with self.database.read() as connection:
            row = connection.execute(sa.select(plans).where(plans.c.id == plan_id)).mappings().first()
            if row is None:
                raise _not_found(plan_id)
            by_state = sa.select(plan_items.c.state, sa.func.count()).where(plan_items.c.plan_id == plan_id)
            counts = {state: int(n) for state, n in connection.execute(by_state.group_by(plan_items.c.state))}
            # A parked batch is not an open one, but it keeps the action from ending.
            dead = connection.scalars(sa.select(jobs.c.detail).where(jobs.c.subject == plan_id, jobs.c.dead)).all()
            return {
                **row,
                "counts": counts,
                "open_jobs": _count_jobs(connection, plan_id) - len(dead),
                "dead_jobs": len(dead),
                "trouble": next(iter(dead), ""),
            }

    def all(self) -> list[Mapping[str, Any]]:
        """Return all plans, oldest first."""
        with self.database.read() as connection:
            ids = connection.scalars(sa.select(plans.c.id).order_by(plans.c.created_at)).all()
        return [self.get(plan_id) for plan_id in ids]

    def items(
        self, plan_id: str, state: str | None = None, limit: int = 100, after: str = ""
    ) -> list[Mapping[str, Any]]:
        """Return up to ``limit`` items with a document id above ``after``, in order of it; with ``state`` only those in
        this state."""
        conditions = [plan_items.c.plan_id == plan_id, plan_items.c.document_id > after]
        if state is not None:
            conditions.append(plan_items.c.state == state)
        query = sa.select(plan_items).where(*conditions).order_by(plan_items.c.document_id).limit(limit)
        with self.database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def start(self, plan_id: str, action: str, batch: int, document_ids: Sequence[str] = ()) -> list[str]:
        """Enqueue jobs of the queue RECLASSIFY, each over ``batch`` documents (payload {"documents": ids}), and return
        their ids. ``action`` is "compare", over ``document_ids``, or "apply" or "undo", over the plan's open items: a
        repeat enqueues only what is still open. Raises Refused: "not-found", or "conflict" unless the plan is ready
        (apply) or applied (undo)."""
        with self.database.write() as connection:
            state = connection.scalar(sa.select(plans.c.state).where(plans.c.id == plan_id).with_for_update())
            if state is None:
                raise _not_found(plan_id)
            if action != "compare":
                document_ids = _prepare(connection, plan_id, _ACTIONS[action], state)
            elif not document_ids:
                _set_state(connection, plan_id, "ready")
            parts = [list(document_ids[start : start + batch]) for start in range(0, len(document_ids), batch)]
            job_ids = [
                enqueue(connection, QueueName.RECLASSIFY, plan_id, action, {"documents": part}) for part in parts
            ]
            return [job_id for job_id in job_ids if job_id]

    def execute(self, job: Job) -> Mapping[str, int] | None:
        """Apply or undo the job's batch and end the job, in one transaction; return the number of documents by the
        state of their item, or None if the lease is lost. An item whose document changed since the plan was made
        becomes "stale", and its document stays as it is."""
        action = _ACTIONS[job.stage]
        counts = {action.leaves: 0, "stale": 0}
        with self.database.write() as connection:
            if not _end(connection, job):
                return None
            query = sa.select(plan_items).where(
                plan_items.c.plan_id == job.subject,
                plan_items.c.document_id.in_(job.payload["documents"]),
                plan_items.c.state == action.takes,
            )
            for item in connection.execute(query).mappings().all():
                counts[_change(connection, item, action)] += 1
            if not _count_jobs(connection, job.subject):
                _set_state(connection, job.subject, action.over)
            bump_visibility(connection, documents.c.id.in_(job.payload["documents"]))
        return counts


def snapshot(row: sa.RowMapping) -> dict[str, Any]:
    """Return what a plan may change of a document, from its row, as JSON values."""
    values = {key: row[key] for key in CHANGED}
    values["rules"] = list(values["rules"] or ())
    values["state"] = str(State(values["state"]))
    return values


def deliver(connection: sa.Connection, document: Document, destinations: Sequence[str], decision: str) -> None:
    """Enqueue deliveries to ``destinations`` ("kind:target"), once for each ``decision``, the id of a plan or a review:
    under a new label the same folder or receiver is served again."""
    for destination in destinations:
        kind, _, target = destination.partition(":")
        enqueue_delivery(connection, document, Destination(kind, target), decision)


def _not_found(plan_id: str) -> Refused:
    return Refused("not-found", f"There is no plan {plan_id}.")


def _set_state(connection: sa.Connection, plan_id: str, state: str) -> None:
    connection.execute(sa.update(plans).where(plans.c.id == plan_id).values(state=state))


def _prepare(connection: sa.Connection, plan_id: str, action: _Action, state: str) -> list[str]:
    """Check the plan's state, delete what an interrupted run left in the queue, and return the document ids of the open
    items."""
    if state not in action.starts_from:
        raise Refused("conflict", f"Plan {plan_id} is {state}; it cannot be {action.over} now.")
    connection.execute(sa.delete(jobs).where(jobs.c.subject == plan_id))
    same = (plan_items.c.plan_id == plan_id, plan_items.c.state == action.takes)
    query = sa.select(plan_items.c.document_id).where(*same).order_by(plan_items.c.document_id)
    document_ids = list(connection.scalars(query))
    _set_state(connection, plan_id, action.running if document_ids else action.over)
    return document_ids


def _change(connection: sa.Connection, item: sa.RowMapping, action: _Action) -> str:
    """Take one document from one side of the item to the other, unless it is no longer what the plan saw; return the
    item's new state."""
    same_document = documents.c.id == item["document_id"]
    row = connection.execute(sa.select(documents).where(same_document).with_for_update()).mappings().first()
    before, after = item[action.reads], item[action.writes]
    unchanged = row is not None and snapshot(row) == {key: before[key] for key in CHANGED}
    state = action.leaves if unchanged else "stale"
    same_item = (plan_items.c.plan_id == item["plan_id"], plan_items.c.document_id == item["document_id"])
    connection.execute(sa.update(plan_items).where(*same_item).values(state=state))
    if row is None or not unchanged:
        return state
    connection.execute(sa.update(documents).where(same_document).values({key: after[key] for key in CHANGED}))
    data = {"plan": item["plan_id"], "from": before, "to": after}
    add_event(connection, Event(item["document_id"], now(connection), "reclassify", state, data))
    if state == "applied":
        deliver(connection, to_document(row, ()), after.get("destinations", ()), item["plan_id"])
    return state


def _add(connection: sa.Connection, plan_id: str, items: Sequence[Mapping[str, Any]]) -> None:
    ids = [item["document_id"] for item in items]
    same = (plan_items.c.plan_id == plan_id, plan_items.c.document_id.in_(ids))
    existing = set(connection.scalars(sa.select(plan_items.c.document_id).where(*same)))
    rows = [
        {**{key: item[key] for key in ("document_id", "old", "new")}, "plan_id": plan_id, "state": "pending"}
        for item in items
        if item["document_id"] not in existing
    ]
    if rows:
        connection.execute(sa.insert(plan_items), rows)


def _end(connection: sa.Connection, job: Job) -> bool:
    """End the job, or return False if the lease is lost. The plan's row is locked first: of two batches that end at
    once the later one has to see that the other is gone, since it is the one that ends the action."""
    connection.execute(sa.select(plans.c.id).where(plans.c.id == job.subject).with_for_update())
    return connection.execute(sa.delete(jobs).where(jobs.c.id == job.id, jobs.c.token == job.token)).rowcount == 1


def _count_jobs(connection: sa.Connection, plan_id: str) -> int:
    """Return the number of batches that are not done: waiting, leased or parked."""
    return int(connection.scalar(sa.select(sa.func.count()).select_from(jobs).where(jobs.c.subject == plan_id)) or 0)
