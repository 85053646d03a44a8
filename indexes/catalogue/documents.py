"""The port Documents over SQL."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from indexes.catalogue import attributes
from indexes.catalogue.database import Database, VisibilityVersion, new_id
from indexes.catalogue.rule import readable
from indexes.catalogue.scopes import forget_scopes, insert_new, link_child, link_place
from indexes.catalogue.tables import access, arrivals, chunks, documents, embeddings, events, feedback, jobs, results
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Arrival, Child, Document, Event, QueueName, Stage, State
from pipeline.errors import Refused
from pipeline.facets import Facet
from pipeline.questions import Caller, Filters

#: Answers of `visible` that are kept per process; each is one array of integers.
REMEMBERED = 64
#: Documents that are looked at one by one after a change; of more, all are looked at.
FEW_CHANGED = 5_000

_FIELDS = tuple(Document.__dataclass_fields__)
_TUPLES = ("labels", "languages", "rules", "flags")
#: SQLite allows at most 32,766 variables in a statement.
_BATCH = 10_000

# Asked by every search: made once, for making them takes as long as running them.
_NUMBERS = sa.bindparam("numbers", expanding=True)
_BY_NUMBER = sa.select(documents).where(documents.c.number.in_(_NUMBERS), documents.c.state != State.DELETED)
_LISTED = sa.select(access).where(access.c.number.in_(_NUMBERS)).order_by(access.c.number, access.c.principal)


class DocumentStore:
    """Documents, their arrivals and their decision record."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._remembered: OrderedDict[tuple, tuple[VisibilityVersion, DocumentNumbers]] = OrderedDict()
        self._lock = threading.Lock()

    def receive(self, content_hash: str, size: int, arrival: Arrival, tenant: str = "default") -> tuple[Document, bool]:
        """Record an arrival. New content becomes a document with an ingest job at stage PARSE, in the same
        transaction; existing content (not deleted) only gains an arrival, and its access list is widened. Returns
        (document, created). Safe under concurrency: the unique (tenant, content hash) decides."""
        with self.database.write() as connection:
            number, created = receive(self.database, connection, content_hash, size, arrival, tenant, None)
            return self._one(connection, documents.c.number == number), created

    def get(self, document_id: str) -> Document:
        """Raises Refused("not-found")."""
        with self.database.read() as connection:
            return self._one(connection, documents.c.id == document_id)

    def read(self, caller: Caller, document_id: str) -> Document:
        """The same for what the caller may read; what is not the caller's is not found either."""
        where = (documents.c.id == document_id, documents.c.state != State.DELETED, *readable(caller))
        with self.database.read() as connection:
            return self._one(connection, sa.and_(*where))

    def find(
        self, caller: Caller, filters: Filters, limit: int = 50, offset: int = 0, newest_first: bool = True
    ) -> tuple[list[Document], int]:
        """Documents that the caller may read, in every state but deleted, and how many there are. Refused("bad-request") for
        a filter on a field of metadata that none of the caller's documents has."""
        where = [documents.c.state != State.DELETED, *readable(caller), *matching(filters)]
        order = documents.c.number.desc() if newest_first else documents.c.number
        with self.database.read() as connection:
            check_fields(connection, caller, filters)
            total = connection.scalar(sa.select(sa.func.count()).select_from(documents).where(*where))
            query = sa.select(documents).where(*where).order_by(order).limit(limit).offset(offset)
            return self._all(connection, query), int(total or 0)

    def visible(self, caller: Caller, filters: Filters) -> DocumentNumbers:
        """DocumentNumbers of the searchable documents (they have vectors, and are not deleted) that the caller may read. The
        same object for as long as nothing has changed."""
        # Counted before it is read: what changes in between is read again at the next question.
        at, key = self.database.visibility(), (caller.principals, caller.tenant, caller.admin, filters)
        with self._lock:
            held = self._remembered.get(key)
            if held and held[0] == at:
                self._remembered.move_to_end(key)
                return held[1]
        with self.database.read() as connection:
            check_fields(connection, caller, filters)
            numbers = self._brought_up(connection, caller, filters, at, *held) if held else None
            if numbers is None:
                numbers = DocumentNumbers(connection.scalars(_searchable(caller, filters)))
        with self._lock:
            self._remembered[key] = at, numbers
            self._remembered.move_to_end(key)
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return numbers

    def _brought_up(
        self,
        connection: sa.Connection,
        caller: Caller,
        filters: Filters,
        at: VisibilityVersion,
        since: VisibilityVersion,
        held: DocumentNumbers,
    ) -> DocumentNumbers | None:
        """What was ``held``, with the documents that changed ``since`` looked at again; None where anything may have changed,
        or so many that one look at all is quicker."""
        if at.last_global > since.current or at.unattributed != since.unattributed:
            return None
        query = sa.select(documents.c.number).where(documents.c.changed > since.current).limit(FEW_CHANGED + 1)
        changed = DocumentNumbers(connection.scalars(query))
        if len(changed) > FEW_CHANGED:
            return None
        kept = connection.scalars(_searchable(caller, filters).where(documents.c.number.in_(changed.array.tolist())))
        return held.updated(changed, DocumentNumbers(kept))

    def facets(
        self,
        caller: Caller,
        filters: Filters,
        names: Sequence[str],
        limit: int = 20,
        among: DocumentNumbers | None = None,
    ) -> tuple[Facet, ...]:
        """Of the documents that `find` would find (those ``among`` the numbers), how many have each value of each facet;
        exact. ``limit`` values are told of each."""
        where = [documents.c.state != State.DELETED, *readable(caller), *matching(filters)]
        parts = [None] if among is None else batches(among.array.tolist())
        counted: dict[str, Counter[str]] = {name: Counter() for name in names}
        with self.database.read() as connection:
            check_fields(connection, caller, filters)
            for part in parts:
                only = [] if part is None else [documents.c.number.in_(part)]
                for name in names:
                    counted[name] += attributes.counts(connection, name, [*where, *only])
        return tuple(attributes.facet(name, counted[name], limit) for name in names)

    def finished_since(self, at: float) -> DocumentNumbers:
        """DocumentNumbers of the documents, deleted ones left out, that came to their end at ``at`` (epoch seconds) or later."""
        where = (documents.c.finished_at >= at, documents.c.state != State.DELETED)
        with self.database.read() as connection:
            return DocumentNumbers(connection.scalars(sa.select(documents.c.number).where(*where)))

    def by_number(self, numbers: Collection[int]) -> dict[int, Document]:
        """The documents, deleted ones left out."""
        found: dict[int, Document] = {}
        with self.database.read() as connection:
            for batch in batches(sorted(numbers)):
                rows = connection.execute(_BY_NUMBER, {"numbers": batch}).mappings().all()
                found |= {document.number: document for document in self._documents(connection, rows)}
        return found

    def delete(self, document_id: str) -> Document:
        """Hide at once and forget texts, vectors and cached results; returns the document as it was. The blob is the
        caller's to delete. Idempotent; Refused("not-found") for an unknown id."""
        with self.database.write() as connection:
            # Locked, so that an arrival of the same content comes either before and is deleted too, or after as new.
            connection.execute(sa.select(documents.c.number).where(documents.c.id == document_id).with_for_update())
            document = self._one(connection, documents.c.id == document_id)
            if document.state is State.DELETED:
                return document
            forget(self.database, connection, document)
            return document

    def has_content(self, content_hash: str) -> bool:
        """Does any document that is not deleted, of any tenant, have this content?"""
        where = (documents.c.content_hash == content_hash, documents.c.state != State.DELETED)
        with self.database.read() as connection:
            return connection.scalar(sa.select(documents.c.number).where(*where).limit(1)) is not None

    def history(self, document_id: str) -> tuple[list[Arrival], list[Event]]:
        """The arrivals and the decision record, oldest first."""
        with self.database.read() as connection:
            self._one(connection, documents.c.id == document_id)
            rows = connection.execute(
                sa.select(arrivals).where(arrivals.c.document_id == document_id).order_by(arrivals.c.id)
            )
            received = [
                Arrival(r.source, r.path, r.arrived_at, tuple(r.access), tuple(r.labels), r.metadata) for r in rows
            ]
            log = connection.execute(sa.select(events).where(events.c.document_id == document_id).order_by(events.c.id))
            return received, [Event(r.document_id, r.at, r.stage, r.event, r.data) for r in log]

    def record(self, event: Event) -> None:
        with self.database.write() as connection:
            add_event(connection, event)

    def counts(self) -> Mapping[str, int]:
        """Return the number of documents per state."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(documents.c.state, sa.func.count()).group_by(documents.c.state))
            return {state: int(count) for state, count in rows}

    def _one(self, connection: sa.Connection, where: sa.ColumnElement[bool]) -> Document:
        found = self._all(connection, sa.select(documents).where(where))
        if not found:
            raise Refused("not-found", "There is no such document.")
        return found[0]

    def _all(self, connection: sa.Connection, query: sa.Select) -> list[Document]:
        return self._documents(connection, connection.execute(query).mappings().all())

    def _documents(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> list[Document]:
        lists = access_lists(connection, [row["number"] for row in rows])
        return [to_document(row, lists.get(row["number"], ())) for row in rows]


def to_document(row: Mapping[str, Any], principals: Sequence[str]) -> Document:
    values = {name: row[name] for name in _FIELDS if name != "access"}
    for name in _TUPLES:
        values[name] = tuple(values[name] or ())
    values["state"], values["stage"] = State(values["state"]), Stage(values["stage"])
    return Document(**values, access=tuple(principals))


def access_lists(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, list[str]]:
    lists: dict[int, list[str]] = {}
    for batch in batches(numbers):
        for number, principal in connection.execute(_LISTED, {"numbers": batch}):
            lists.setdefault(number, []).append(principal)
    return lists


def batches(numbers: Sequence[int]) -> list[Sequence[int]]:
    return [numbers[i : i + _BATCH] for i in range(0, len(numbers), _BATCH)]


def _searchable(caller: Caller, filters: Filters) -> sa.Select:
    """DocumentNumbers of those that `DocumentStore.visible` tells."""
    where = [documents.c.embedder.is_not(None), documents.c.state != State.DELETED]
    return sa.select(documents.c.number).where(*where, *readable(caller), *matching(filters))


def matching(filters: Filters) -> list[sa.ColumnElement[bool]]:
    c = documents.c
    where: list[sa.ColumnElement[bool]] = []
    for column, values in (
        (c.label, filters.labels),
        (c.media_type, filters.media_types),
        (c.source, filters.sources),
        (c.state, filters.states),
    ):
        if values:
            where.append(column.in_(values))
    prefix = (filters.folder or "").strip("/") + "/"
    if prefix != "/":
        # Not LIKE: SQLite's knows no difference between "HR/" and "hr/".
        where.append(sa.func.substr(c.path, 1, len(prefix)) == prefix)
    if filters.received_from is not None:
        where.append(c.received_at >= filters.received_from)
    if filters.received_to is not None:
        where.append(c.received_at < filters.received_to)
    return [*where, *attributes.conditions(filters)]


def check_fields(connection: sa.Connection, caller: Caller, filters: Filters) -> None:
    """Refused("bad-request") for a field of metadata that no document has which the caller may read."""
    names = [name for name, _ in filters.metadata]
    if unknown := attributes.unknown(connection, names, readable(caller)):
        known = ", ".join(attributes.known(connection, readable(caller))) or "none yet"
        detail = f"metadata: no document has the field {unknown[0][:80]!r}; known are: {known}."
        raise Refused("bad-request", detail)


def receive(
    database: Database,
    connection: sa.Connection,
    content_hash: str,
    size: int,
    arrival: Arrival,
    tenant: str,
    parent: str | None,
) -> tuple[int, bool]:
    """Inside a transaction: the document's number, and whether it is new."""
    # Two may arrive at once: the unique index decides, and the loser finds the winner's row when it looks again.
    known, made = _known(connection, tenant, content_hash), None
    while known is None and made is None:
        made = _insert(database, connection, content_hash, size, arrival, tenant, parent)
        known = None if made else _known(connection, tenant, content_hash)
    number, document_id = made or known
    connection.execute(
        sa.insert(arrivals).values(
            document_id=document_id,
            source=arrival.source,
            path=arrival.path,
            arrived_at=arrival.arrived_at,
            access=list(arrival.access),
            labels=list(arrival.labels),
            metadata=dict(arrival.metadata),
        )
    )
    moved = link_place(connection, number, arrival.source, arrival.path)
    if _widen(connection, number, arrival.access) or (moved and not made):
        database.bump_visibility(connection, documents.c.number == number)
    data = {
        "source": arrival.source,
        "path": arrival.path,
        "content_hash": content_hash,
        "size": size,
        "new": made is not None,
    }
    add_event(connection, Event(document_id, database.now(connection), Stage.RECEIVE, "received", data))
    return number, made is not None


def _known(connection: sa.Connection, tenant: str, content_hash: str) -> tuple[int, str] | None:
    """The content's document, locked until the end of the transaction."""
    where = (documents.c.tenant == tenant, documents.c.content_hash == content_hash, documents.c.state != State.DELETED)
    row = connection.execute(sa.select(documents.c.number, documents.c.id).where(*where).with_for_update()).first()
    return (row.number, row.id) if row else None


def _insert(
    database: Database,
    connection: sa.Connection,
    content_hash: str,
    size: int,
    arrival: Arrival,
    tenant: str,
    parent: str | None,
) -> tuple[int, str] | None:
    """A new document and its job; None when another transaction was first."""
    document_id = new_id()
    row = {
        "id": document_id,
        "tenant": tenant,
        "content_hash": content_hash,
        "size": size,
        "name": arrival.name,
        "source": arrival.source,
        "path": arrival.path,
        "labels": list(arrival.labels),
        "state": State.PROCESSING,
        "stage": Stage.PARSE,
        "received_at": arrival.arrived_at,
        "metadata": dict(arrival.metadata),
        "parent": parent,
    }
    number = connection.scalar(insert_new(connection, documents).values(row).returning(documents.c.number))
    if number is None:
        return None
    attributes.store(connection, number, (), arrival.metadata)
    enqueue(database, connection, QueueName.INGEST, document_id, Stage.PARSE)
    return number, document_id


def _widen(connection: sa.Connection, number: int, principals: Sequence[str]) -> bool:
    """The principals join the document's list; whether one of them is new there."""
    held = set(connection.scalars(sa.select(access.c.principal).where(access.c.number == number)))
    new = sorted(set(principals) - held)
    if new:
        connection.execute(sa.insert(access), [{"number": number, "principal": p} for p in new])
    return bool(new)


def receive_child(database: Database, connection: sa.Connection, parent: Document, child: Child) -> int:
    number, new = receive(database, connection, child.content_hash, child.size, child.arrival, parent.tenant, parent.id)
    if new:
        link_child(connection, number, parent.number)
    return number


def enqueue(
    database: Database,
    connection: sa.Connection,
    queue: QueueName,
    subject: str,
    stage: str,
    payload: Mapping[str, Any] | None = None,
    effect: str | None = None,
) -> str | None:
    """A new job, due now; None when a job with this ``effect`` exists already."""
    if effect and connection.scalar(sa.select(jobs.c.id).where(jobs.c.effect == effect)):
        return None
    now, job_id = database.now(connection), new_id()
    connection.execute(
        sa.insert(jobs).values(
            id=job_id,
            queue=queue,
            subject=subject,
            stage=stage,
            payload=dict(payload or {}),
            effect=effect,
            run_after=now,
            created_at=now,
        )
    )
    return job_id


def add_event(connection: sa.Connection, event: Event) -> None:
    connection.execute(
        sa.insert(events).values(
            document_id=event.document_id, at=event.at, stage=event.stage, event=event.event, data=dict(event.data)
        )
    )


def forget(database: Database, connection: sa.Connection, document: Document) -> None:
    """Hide the document and drop what was derived from it. The row stays, so that its number is never given out again."""
    connection.execute(sa.delete(jobs).where(jobs.c.subject == document.id))
    connection.execute(sa.delete(chunks).where(chunks.c.number == document.number))
    connection.execute(sa.delete(embeddings).where(embeddings.c.number == document.number))
    _forget_results(connection, document)
    connection.execute(sa.delete(access).where(access.c.number == document.number))
    attributes.forget(connection, document.number)
    forget_scopes(connection, document.number)
    connection.execute(sa.delete(feedback).where(feedback.c.document_id == document.id))
    gone = {"state": State.DELETED, "title": None, "metadata": {}, "embedder": None, "parsed_key": None}
    gone["finished_at"] = time.time()
    connection.execute(sa.update(documents).where(documents.c.number == document.number).values(gone))
    add_event(connection, Event(document.id, database.now(connection), "delete", "deleted", {}))
    database.bump_visibility(connection, documents.c.number == document.number)


def _forget_results(connection: sa.Connection, document: Document) -> None:
    """Results follow from the content alone: another tenant's document of the same content inherits them."""
    same = (documents.c.content_hash == document.content_hash, documents.c.state != State.DELETED)
    heir = connection.scalar(sa.select(documents.c.id).where(*same, documents.c.id != document.id).limit(1))
    mine = results.c.document_id == document.id
    change = sa.update(results).where(mine).values(document_id=heir) if heir else sa.delete(results).where(mine)
    connection.execute(change)
