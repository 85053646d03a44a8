"""The port Ledger over SQL: leased jobs with a fencing token. The queue only wakes; this remembers."""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import sqlalchemy as sa

from indexes.catalogue import attributes
from indexes.catalogue.database import Database
from indexes.catalogue.documents import add_event, enqueue, insert_new, receive_child, to_document
from indexes.catalogue.tables import chunks, documents, embeddings, jobs, results
from pipeline.documents import TERMINAL, Chunk, Document, Event, Job, Outcome, QueueName, Stage, State

_LANES = {Stage.INDEX: QueueName.INDEX}


class JobStore:
    """The job store: leased jobs. The queue only sends wake-ups."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def claim(
        self, queue: QueueName, owner: str, seconds: float, limit: int = 1, job_id: str | None = None
    ) -> list[Job]:
        """Lease up to ``limit`` due jobs (the given one only, if ``job_id`` is set and due), oldest first, counting the
        attempt in the same transaction. Two callers never hold one job."""
        with self.database.read() as connection:
            # A look before the write lock: most hints come late, and an idle lane must cost nothing.
            if not connection.scalar(self._due(queue, self.database.now(connection), 1, job_id)):
                return []
        with self.database.write() as connection:
            now = self.database.now(connection)
            query = self._due(queue, now, limit, job_id).with_for_update(skip_locked=True)
            return [self._lease(connection, each, owner, now + seconds) for each in connection.scalars(query).all()]

    def renew(self, job: Job, seconds: float) -> bool:
        """Extend the lease; False when it has passed on."""
        with self.database.write() as connection:
            return self._update(connection, job, lease_until=self.database.now(connection) + seconds)

    def commit(self, job: Job, outcome: Outcome, keep: bool = False, seconds: float = 0.0) -> Job | None:
        """Apply the outcome of an ingest or index job in one transaction, if the lease still holds; None if it does not
        (nothing is changed then). With ``next_stage`` the job moves there (queue INDEX for Stage.INDEX), attempts back
        to 0; with ``keep`` it stays leased for ``seconds`` more to the same owner, counted as attempt 1 of the next
        stage, and is returned; else it is released as due now, and the released job is returned. With ``state`` the
        job ends."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            # The document is locked before the job, as in `delete`: two who come at once wait, and never for each other.
            query = sa.select(documents).where(documents.c.id == job.subject).with_for_update()
            row = connection.execute(query).mappings().one()
            if not self._update(connection, job, **_next_lease(job, outcome, keep, now + seconds, now)):
                return None
            document = to_document(row, ())
            _store_output(connection, document, outcome)
            _store_document(connection, document, outcome, now)
            for destination in outcome.deliveries:
                self._enqueue_delivery(connection, document, destination.kind, destination.target, outcome)
            for child in outcome.children:
                receive_child(self.database, connection, document, child)
            _record(connection, document.id, outcome, now)
            if outcome.state or outcome.vectors is not None or row["embedder"] is not None:
                self.database.bump_visibility(connection, documents.c.number == document.number)
            if outcome.state:
                connection.execute(sa.delete(jobs).where(jobs.c.id == job.id))
            return _moved(job, outcome, keep, now + seconds)

    def complete(self, job: Job, data: Mapping[str, Any]) -> bool:
        """End a job of the other queues, recording an event on its document when the subject is one."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            # The row stays where it marks an effect that may happen only once.
            marks_effect = connection.scalar(sa.select(jobs.c.effect).where(jobs.c.id == job.id)) is not None
            if not self._update(connection, job, lease_until=_NEVER, token=None, stage="done"):
                return False
            if not marks_effect:
                connection.execute(sa.delete(jobs).where(jobs.c.id == job.id))
            if connection.scalar(sa.select(documents.c.number).where(documents.c.id == job.subject)):
                add_event(connection, Event(job.subject, now, job.stage, "done", data))
            return True

    def release(self, job: Job, delay: float, reason: str, detail: str, counted: bool = True) -> bool:
        """Give the job back, due after ``delay`` seconds. ``counted=False`` takes the attempt back (the surroundings
        failed, not the document)."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            attempts = job.attempt if counted else job.attempt - 1
            return self._update(
                connection,
                job,
                lease_until=0.0,
                token=None,
                run_after=now + delay,
                attempts=attempts,
                reason=reason,
                detail=detail,
            )

    def park(self, job: Job, reason: str, detail: str) -> bool:
        """A dead letter: the job stays, in state "dead", until `retry`."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            parked = self._update(connection, job, lease_until=0.0, token=None, dead=True, reason=reason, detail=detail)
            if parked and connection.scalar(sa.select(documents.c.number).where(documents.c.id == job.subject)):
                data = {**job.payload, "reason": reason, "detail": detail}
                add_event(connection, Event(job.subject, now, job.stage, "parked", data))
            return parked

    def due(self, queue: QueueName, limit: int = 1000) -> list[str]:
        """Ids of the jobs that could be claimed now (unleased or lease expired, run_after passed)."""
        with self.database.read() as connection:
            return list(connection.scalars(self._due(queue, self.database.now(connection), limit, None)))

    def backlog(self) -> list[Mapping[str, Any]]:
        """Return rows {queue, stage, state ("waiting" | "leased" | "dead"), count, oldest (epoch seconds)} for status and metrics."""
        with self.database.read() as connection:
            now = self.database.now(connection)
            leased = sa.case((jobs.c.dead, "dead"), (jobs.c.lease_until > now, "leased"), else_="waiting")
            query = (
                sa.select(
                    jobs.c.queue,
                    jobs.c.stage,
                    leased.label("state"),
                    sa.func.count().label("count"),
                    sa.func.min(jobs.c.created_at).label("oldest"),
                )
                .where(jobs.c.stage != "done")
                .group_by(jobs.c.queue, jobs.c.stage, leased)
            )
            return [dict(row) for row in connection.execute(query).mappings()]

    def retry(self, document_id: str) -> bool:
        """Send a failed, quarantined or reviewed document back to stage PARSE, and its dead deliveries to the queue;
        False when it is still processing."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            query = sa.select(documents.c.state).where(documents.c.id == document_id).with_for_update()
            state = connection.scalar(query)
            if state not in TERMINAL or state == State.DELETED:
                return False
            fresh = {"state": State.PROCESSING, "stage": Stage.PARSE, "reason": None, "detail": None}
            fresh["finished_at"] = None
            connection.execute(sa.update(documents).where(documents.c.id == document_id).values(fresh))
            connection.execute(
                sa.update(jobs)
                .where(jobs.c.subject == document_id, jobs.c.dead)
                .values(dead=False, attempts=0, run_after=now)
            )
            # A copy in failed/ may be made again when the document fails again.
            connection.execute(
                sa.delete(jobs).where(jobs.c.effect.startswith(f"deliver:{document_id}:failed:", autoescape=True))
            )
            enqueue(self.database, connection, QueueName.INGEST, document_id, Stage.PARSE)
            add_event(connection, Event(document_id, now, "retry", "retried", {"from": state}))
            self.database.bump_visibility(connection, documents.c.id == document_id)
            return True

    def _due(self, queue: QueueName, now: float, limit: int, job_id: str | None) -> sa.Select:
        where = [jobs.c.queue == queue, ~jobs.c.dead, jobs.c.run_after <= now, jobs.c.lease_until <= now]
        if job_id is not None:
            where.append(jobs.c.id == job_id)
        return sa.select(jobs.c.id).where(*where).order_by(jobs.c.run_after, jobs.c.id).limit(limit)

    def _lease(self, connection: sa.Connection, job_id: str, owner: str, until: float) -> Job:
        """Count the attempt before the work: a document that kills its worker is counted too."""
        token = secrets.token_hex(8)
        connection.execute(
            sa.update(jobs)
            .where(jobs.c.id == job_id)
            .values(token=token, owner=owner, lease_until=until, attempts=jobs.c.attempts + 1)
        )
        row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).one()
        return Job(row.id, QueueName(row.queue), row.subject, row.stage, row.attempts, token, until, row.payload)

    def _update(self, connection: sa.Connection, job: Job, **values: Any) -> bool:
        """The fence: nothing happens unless the token is the one that the holder was given and nobody else took over.
        A lease that ran out unnoticed still holds: the work is done, and a clock that jumped must not throw it away."""
        where = (jobs.c.id == job.id, jobs.c.token == job.token)
        return connection.execute(sa.update(jobs).where(*where).values(**values)).rowcount == 1

    def _enqueue_delivery(
        self, connection: sa.Connection, document: Document, kind: str, target: str, outcome: Outcome
    ) -> None:
        payload = {
            "kind": kind,
            "target": target,
            "content_hash": document.content_hash,
            "reason": outcome.reason,
            "detail": outcome.detail,
            "at": self.database.now(connection),
        }
        effect = f"deliver:{document.id}:{kind}:{target}"
        enqueue(self.database, connection, QueueName.DELIVER, document.id, "deliver", payload, effect)


#: A lease that never ends: the job is over and its row only marks the effect.
_NEVER = 4e9


def _next_lease(job: Job, outcome: Outcome, keep: bool, until: float, now: float) -> dict[str, Any]:
    """The job's columns after the commit."""
    if outcome.next_stage is None:
        return {"lease_until": 0.0}
    queue = _LANES.get(outcome.next_stage, QueueName.INGEST)
    moved = {"stage": outcome.next_stage, "queue": queue, "run_after": now, "reason": None, "detail": None}
    if keep:
        return {**moved, "attempts": 1, "lease_until": until}
    return {**moved, "attempts": 0, "lease_until": 0.0, "token": None}


def _moved(job: Job, outcome: Outcome, keep: bool, until: float) -> Job:
    stage = outcome.next_stage or job.stage
    queue = _LANES.get(outcome.next_stage, QueueName.INGEST) if outcome.next_stage else job.queue
    held = (1, job.token, until) if keep else (0, "", 0.0)
    return Job(job.id, queue, job.subject, stage, *held, job.payload)


def _store_output(connection: sa.Connection, document: Document, outcome: Outcome) -> None:
    if outcome.result is not None:
        key, payload = outcome.result
        row = {"key": key, "document_id": document.id, "payload": zlib.compress(payload)}
        connection.execute(insert_new(connection, results).values(row))
    if outcome.chunks is not None:
        connection.execute(sa.delete(chunks).where(chunks.c.number == document.number))
        connection.execute(sa.delete(embeddings).where(embeddings.c.number == document.number))
        if outcome.chunks:
            connection.execute(sa.insert(chunks), [_chunk_row(document.number, c) for c in outcome.chunks])
    if outcome.vectors is not None:
        rows = np.ascontiguousarray(outcome.vectors, dtype="<f4")
        update = (
            sa.update(chunks)
            .where(chunks.c.number == document.number, chunks.c.ordinal == sa.bindparam("at"))
            .values(vector=sa.bindparam("row"))
        )
        if len(rows):
            connection.execute(update, [{"at": i, "row": row.tobytes()} for i, row in enumerate(rows)])


def _chunk_row(number: int, chunk: Chunk) -> dict[str, Any]:
    return {
        "number": number,
        "ordinal": chunk.ordinal,
        "text": chunk.text,
        "start": chunk.start,
        "end": chunk.end,
        "page_first": chunk.page_first,
        "page_last": chunk.page_last,
        "heading": chunk.heading,
    }


def _store_document(connection: sa.Connection, document: Document, outcome: Outcome, now: float) -> None:
    values: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in outcome.document.items()
    }
    if outcome.stage == Stage.PARSE and outcome.result is not None:
        values["parsed_key"] = outcome.result[0]
    if outcome.chunks is not None:
        values["embedder"] = None
    if outcome.embedder is not None:
        values["embedder"] = outcome.embedder
    if outcome.next_stage:
        values["stage"] = outcome.next_stage
    if outcome.state:
        values |= {"state": outcome.state, "finished_at": now, "reason": outcome.reason, "detail": outcome.detail}
    if values:
        connection.execute(sa.update(documents).where(documents.c.number == document.number).values(values))
    if not {"languages", "metadata"}.isdisjoint(values):
        languages, metadata = values.get("languages", document.languages), values.get("metadata", document.metadata)
        attributes.store(connection, document.number, languages, metadata)


def _record(connection: sa.Connection, document_id: str, outcome: Outcome, now: float) -> None:
    data = dict(outcome.data)
    if outcome.state:
        data |= {"state": str(outcome.state), "reason": outcome.reason}
    add_event(connection, Event(document_id, now, outcome.stage, "ended" if outcome.state else "done", data))
