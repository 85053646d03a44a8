"""The job store: leased jobs with a fencing token. The queue only sends wake-ups; the job store remembers."""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from indexes.catalogue import attributes
from indexes.catalogue.database import Database, bump_visibility, now
from indexes.catalogue.revisions import lock_place, settle
from indexes.catalogue.rows import add_event, enqueue, enqueue_delivery, receive_attachment, to_document
from indexes.catalogue.scopes import insert_new
from indexes.catalogue.tables import chunks, documents, embeddings, jobs, results
from pipeline.documents import TERMINAL, Document, Event, Job, Outcome, QueueName, Stage, State

#: A lease that never ends: the job is done, and its row only records the effect.
_NEVER = 4e9


class JobStore:
    """Leased jobs. Times are epoch seconds by the database's clock, durations seconds. Every change of a job is fenced:
    it applies only while the job's token is the one of the lease, so that a late worker changes nothing."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def claim(
        self, queue: QueueName, owner: str, seconds: float, limit: int = 1, job_id: str | None = None
    ) -> list[Job]:
        """Lease up to ``limit`` due jobs for ``seconds``, oldest first; with ``job_id`` only this one, if it is due.
        The attempt is counted in the same transaction, so that a document that kills its worker is counted too. No two
        callers get one job."""
        with self.database.read() as connection:
            # Read before the write lock: most wake-ups come late, and an idle queue must cost nothing.
            if not connection.scalar(_due(queue, now(connection), 1, job_id)):
                return []
        with self.database.write() as connection:
            time_now = now(connection)
            query = _due(queue, time_now, limit, job_id).with_for_update(skip_locked=True)
            return [_lease(connection, due, owner, time_now + seconds) for due in connection.scalars(query).all()]

    def renew(self, job: Job, seconds: float) -> bool:
        """Extend the lease to ``seconds`` from now; return False if it is lost."""
        with self.database.write() as connection:
            return _update(connection, job, lease_until=now(connection) + seconds)

    def commit(self, job: Job, outcome: Outcome, keep: bool = False, seconds: float = 0.0) -> Job | None:
        """Apply the outcome of an ingest or index job in one transaction; return None and change nothing if the lease
        is lost.

        With ``outcome.next_stage`` the job moves to that stage (in the queue INDEX for Stage.INDEX) and is returned.
        With ``keep`` it stays leased to the same owner for ``seconds`` more, as attempt 1 of that stage; otherwise it
        is released, due now, with 0 attempts. With ``outcome.state`` the job ends.
        """
        with self.database.write() as connection:
            time_now = now(connection)
            # The document is locked before the job, as in `delete`, so that two at once never wait for each other.
            query = sa.select(documents).where(documents.c.id == job.subject)
            if outcome.state:
                lock_place(
                    connection,
                    *connection.execute(query.with_only_columns(documents.c.tenant, documents.c.place)).one(),
                )
            row = connection.execute(query.with_for_update()).mappings().one()
            moved = _moved(job, outcome, keep, time_now + seconds)
            if not _update(connection, job, **_columns_after(moved, outcome, keep, time_now)):
                return None
            document = to_document(row, ())
            _store_output(connection, document.number, document.id, outcome)
            _store_document(connection, document, outcome, time_now)
            for destination in outcome.deliveries:
                enqueue_delivery(connection, document, destination, reason=outcome.reason, detail=outcome.detail)
            for child in outcome.children:
                receive_attachment(connection, document, child)
            state = {"state": str(outcome.state), "reason": outcome.reason} if outcome.state else {}
            name = "ended" if outcome.state else "done"
            add_event(connection, Event(document.id, time_now, outcome.stage, name, {**outcome.data, **state}))
            if outcome.state and document.parent is None:
                settle(connection, row["tenant"], row["place"])
            if outcome.state or outcome.vectors is not None or row["embedder"] is not None:
                bump_visibility(connection, documents.c.number == document.number)
            if outcome.state:
                connection.execute(sa.delete(jobs).where(jobs.c.id == job.id))
            return moved

    def complete(self, job: Job, data: Mapping[str, Any]) -> bool:
        """End a job of the other queues, with ``data`` in the record of its document, if its subject is one; return
        False if the lease is lost."""
        with self.database.write() as connection:
            time_now = now(connection)
            # The row stays if it stands for an effect that may happen only once.
            has_effect = connection.scalar(sa.select(jobs.c.effect).where(jobs.c.id == job.id)) is not None
            if not _update(connection, job, lease_until=_NEVER, token=None, stage="done"):
                return False
            if not has_effect:
                connection.execute(sa.delete(jobs).where(jobs.c.id == job.id))
            _record_on_document(connection, Event(job.subject, time_now, job.stage, "done", data))
            return True

    def release(self, job: Job, delay: float, reason: str, detail: str, counted: bool = True) -> bool:
        """Give the job back, due after ``delay`` seconds; return False if the lease is lost. ``counted=False`` takes
        the attempt back, since the surroundings failed and not the document."""
        with self.database.write() as connection:
            return _update(
                connection,
                job,
                lease_until=0.0,
                token=None,
                run_after=now(connection) + delay,
                attempts=job.attempt if counted else job.attempt - 1,
                reason=reason,
                detail=detail,
            )

    def park(self, job: Job, reason: str, detail: str) -> bool:
        """Make the job a dead letter: it stays, in state "dead", until `retry`. Return False if the lease is lost."""
        with self.database.write() as connection:
            time_now = now(connection)
            parked = _update(connection, job, lease_until=0.0, token=None, dead=True, reason=reason, detail=detail)
            if parked:
                data = {**job.payload, "reason": reason, "detail": detail}
                _record_on_document(connection, Event(job.subject, time_now, job.stage, "parked", data))
            return parked

    def due(self, queue: QueueName, limit: int = 1000) -> list[str]:
        """Return the ids of jobs that could be claimed now: due, and not leased or the lease expired."""
        with self.database.read() as connection:
            return list(connection.scalars(_due(queue, now(connection), limit, None)))

    def backlog(self) -> list[Mapping[str, Any]]:
        """Return rows {queue, stage, state, count, oldest, due} for status and metrics: state is "waiting", "leased" or
        "dead", oldest when its oldest job was created, due since when the first one is due (epoch seconds)."""
        with self.database.read() as connection:
            state = sa.case((jobs.c.dead, "dead"), (jobs.c.lease_until > now(connection), "leased"), else_="waiting")
            count, oldest = sa.func.count().label("count"), sa.func.min(jobs.c.created_at).label("oldest")
            due = sa.func.min(jobs.c.run_after).label("due")
            columns = sa.select(jobs.c.queue, jobs.c.stage, state.label("state"), count, oldest, due)
            query = columns.where(jobs.c.stage != "done").group_by(jobs.c.queue, jobs.c.stage, state)
            return [dict(row) for row in connection.execute(query).mappings()]

    def retry(self, document_id: str) -> bool:
        """Send a failed, quarantined or reviewed document back to stage PARSE, and its dead deliveries to the queue;
        return False if it is deleted or still processing."""
        with self.database.write() as connection:
            time_now = now(connection)
            query = sa.select(documents.c.state).where(documents.c.id == document_id).with_for_update()
            state = connection.scalar(query)
            if state not in TERMINAL or state == State.DELETED:
                return False
            values = {
                "state": State.PROCESSING,
                "stage": Stage.PARSE,
                "reason": None,
                "detail": None,
                "finished_at": None,
            }
            connection.execute(sa.update(documents).where(documents.c.id == document_id).values(values))
            revived = {"dead": False, "attempts": 0, "run_after": time_now}
            dead = (jobs.c.subject == document_id, jobs.c.dead)
            connection.execute(sa.update(jobs).where(*dead).values(revived))
            # The file may be copied to failed/ again when the document fails again.
            copied = jobs.c.effect.startswith(f"deliver:{document_id}:failed:", autoescape=True)
            connection.execute(sa.delete(jobs).where(copied))
            enqueue(connection, QueueName.INGEST, document_id, Stage.PARSE)
            add_event(connection, Event(document_id, time_now, "retry", "retried", {"from": state}))
            bump_visibility(connection, documents.c.id == document_id)
            return True


def _due(queue: QueueName, time_now: float, limit: int, job_id: str | None) -> sa.Select[Any]:
    conditions = [jobs.c.queue == queue, ~jobs.c.dead, jobs.c.run_after <= time_now, jobs.c.lease_until <= time_now]
    if job_id is not None:
        conditions.append(jobs.c.id == job_id)
    return sa.select(jobs.c.id).where(*conditions).order_by(jobs.c.run_after, jobs.c.id).limit(limit)


def _lease(connection: sa.Connection, job_id: str, owner: str, until: float) -> Job:
    token = secrets.token_hex(8)
    values = {"token": token, "owner": owner, "lease_until": until, "attempts": jobs.c.attempts + 1}
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(values))
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).one()
    return Job(row.id, QueueName(row.queue), row.subject, row.stage, row.attempts, token, until, row.payload)


def _update(connection: sa.Connection, job: Job, **values: Any) -> bool:
    """Fence a change: apply it only if the job's token is still the one of this lease; return False otherwise. A lease
    that ran out unnoticed still counts: the work is done, and a clock that jumped must not discard it."""
    same_lease = (jobs.c.id == job.id, jobs.c.token == job.token)
    return connection.execute(sa.update(jobs).where(*same_lease).values(**values)).rowcount == 1


def _moved(job: Job, outcome: Outcome, keep: bool, until: float) -> Job:
    """Return the job as it is after the commit."""
    stage, queue = job.stage, job.queue
    if outcome.next_stage:
        stage = outcome.next_stage
        queue = QueueName.INDEX if stage == Stage.INDEX else QueueName.INGEST
    lease = (1, job.token, until) if keep else (0, "", 0.0)
    return Job(job.id, queue, job.subject, stage, *lease, job.payload)


def _columns_after(moved: Job, outcome: Outcome, keep: bool, time_now: float) -> dict[str, Any]:
    """Return the job's columns to write at the commit."""
    if outcome.next_stage is None:
        return {"lease_until": 0.0}
    values: dict[str, Any] = {
        "stage": moved.stage,
        "queue": moved.queue,
        "run_after": time_now,
        "reason": None,
        "detail": None,
        "attempts": moved.attempt,
        "lease_until": moved.lease_until,
    }
    return values if keep else {**values, "token": None}


def _store_output(connection: sa.Connection, number: int, document_id: str, outcome: Outcome) -> None:
    if outcome.result is not None:
        key, payload = outcome.result
        row = {"key": key, "document_id": document_id, "payload": zlib.compress(payload)}
        connection.execute(insert_new(connection, results).values(row))
    if outcome.chunks is not None:
        connection.execute(sa.delete(chunks).where(chunks.c.number == number))
        connection.execute(sa.delete(embeddings).where(embeddings.c.number == number))
        if outcome.chunks:
            rows = [
                {
                    "number": number,
                    "ordinal": chunk.ordinal,
                    "text": chunk.text,
                    "start": chunk.start,
                    "end": chunk.end,
                    "page_first": chunk.page_first,
                    "page_last": chunk.page_last,
                    "heading": chunk.heading,
                }
                for chunk in outcome.chunks
            ]
            connection.execute(sa.insert(chunks), rows)
    if outcome.vectors is not None and len(outcome.vectors):
        import numpy as np  # takes longer to import than most commands take to run

        vectors = np.ascontiguousarray(outcome.vectors, dtype="<f4")
        same = (chunks.c.number == number, chunks.c.ordinal == sa.bindparam("at"))
        update = sa.update(chunks).where(*same).values(vector=sa.bindparam("row"))
        connection.execute(update, [{"at": ordinal, "row": row.tobytes()} for ordinal, row in enumerate(vectors)])


def _store_document(connection: sa.Connection, document: Document, outcome: Outcome, time_now: float) -> None:
    values: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in outcome.document.items()
    }
    if outcome.stage == Stage.PARSE and outcome.result is not None:
        values["parsed_key"] = outcome.result[0]
        values["detectors"] = outcome.data.get("detectors")
    if outcome.chunks is not None:
        values["embedder"] = None
    if outcome.embedder is not None:
        values["embedder"] = outcome.embedder
    if outcome.next_stage:
        values["stage"] = outcome.next_stage
    if outcome.state:
        values |= {
            "state": outcome.state,
            "finished_at": time_now,
            "reason": outcome.reason,
            "detail": outcome.detail,
        }
    if values:
        connection.execute(sa.update(documents).where(documents.c.number == document.number).values(values))
    if not set(attributes.SOURCES).isdisjoint(values):
        current = (values.get(name, getattr(document, name)) for name in attributes.SOURCES)
        attributes.store(connection, document.number, *current)


def _record_on_document(connection: sa.Connection, event: Event) -> None:
    """Add the event, unless the job's subject is a plan and not a document."""
    if connection.scalar(sa.select(documents.c.number).where(documents.c.id == event.document_id)):
        add_event(connection, event)
