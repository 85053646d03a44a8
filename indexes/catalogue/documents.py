"""Documents, their arrivals and their decision record."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from indexes.catalogue import attributes, holds
from indexes.catalogue.database import Database, VisibilityVersion
from indexes.catalogue.revisions import lock_place, settle
from indexes.catalogue.rows import NUMBERS, access_lists, add_event, batches, forget, receive, to_document, to_numbers
from indexes.catalogue.rule import readable
from indexes.catalogue.tables import arrivals, documents, events
from pipeline.documents import Arrival, Document, Event, State
from pipeline.erasure import ErasureOrder
from pipeline.errors import Refused
from pipeline.facets import Facet
from pipeline.questions import NEWEST, Caller, Filters
from pipeline.retention import Hold

if TYPE_CHECKING:
    from pipeline.document_numbers import DocumentNumbers

#: Results of `visible` that are cached per process; each is one array of integers.
MAX_CACHED = 64
#: Documents that are read again one by one after a change; if more have changed, all are read again.
MAX_CHANGED = 5_000

# Every search runs it: building the statement each time takes as long as running it.
_BY_NUMBER = sa.select(documents).where(documents.c.number.in_(NUMBERS), documents.c.state != State.DELETED)


class DocumentStore:
    """Documents, their arrivals and their decision record. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._cache: OrderedDict[tuple[Any, ...], tuple[VisibilityVersion, DocumentNumbers]] = OrderedDict()
        self._lock = threading.Lock()

    def receive(self, content_hash: str, size: int, arrival: Arrival, tenant: str = "default") -> tuple[Document, bool]:
        """Record an arrival of ``size`` bytes; return the document and whether it is new.

        Content that is new at this place of this owner becomes a document with an ingest job at stage PARSE, in the
        same transaction, whether or not it exists elsewhere. An undeleted document only gains an arrival; its access
        list is widened, and it is the newest revision again. Safe under concurrency: the unique index on (tenant,
        place, content hash) decides.
        """
        with self.database.write() as connection:
            number, created = receive(connection, content_hash, size, arrival, tenant)
            return _one(connection, documents.c.number == number), created

    def get(self, document_id: str) -> Document:
        """Return the document, deleted ones too. Raises Refused("not-found")."""
        with self.database.read() as connection:
            return _one(connection, documents.c.id == document_id)

    def read(self, caller: Caller, document_id: str) -> Document:
        """Return the document. Raises Refused("not-found") also if it is deleted or the caller may not read it."""
        conditions = (documents.c.id == document_id, documents.c.state != State.DELETED, *readable(caller))
        with self.database.read() as connection:
            return _one(connection, sa.and_(*conditions))

    def find(
        self,
        caller: Caller,
        filters: Filters,
        limit: int = 50,
        offset: int = 0,
        newest_first: bool = True,
        after: str | None = None,
    ) -> tuple[list[Document], int]:
        """Return a page of the documents that the caller may read, in every state but deleted, and how many there are
        in all. With the id ``after`` the page begins behind that document, whatever became of it meanwhile.

        Raises Refused("not-found") for a metadata field that none of the caller's documents has, and if there was never
        a document ``after``.
        """
        c, conditions = documents.c, _matching(caller, filters)
        with self.database.read() as connection:
            _check_fields(connection, caller, filters)
            total = connection.scalar(sa.select(sa.func.count()).select_from(documents).where(*conditions))
            if after is not None:
                number = connection.scalar(sa.select(c.number).where(c.id == after, c.tenant == caller.tenant))
                if number is None:
                    raise Refused("not-found", "cursor: it leads nowhere; begin again without it.")
                conditions.append(c.number < number if newest_first else c.number > number)
            order = c.number.desc() if newest_first else c.number
            query = sa.select(documents).where(*conditions).order_by(order).limit(limit).offset(offset)
            return _documents(connection, connection.execute(query)), int(total or 0)

    def visible(self, caller: Caller, filters: Filters) -> DocumentNumbers:
        """Return the numbers of the searchable documents (embedded and not deleted) that the caller may read: the same
        object for as long as nothing has changed. Raises Refused as `find` does."""
        # The version is read before the documents: a change in between is seen by the next call.
        version, key = self.database.visibility(), (caller.principals, caller.tenant, caller.admin, filters)
        with self._lock:
            cached = self._cache.get(key)
            if cached and cached[0] == version:
                self._cache.move_to_end(key)
                return cached[1]
        with self.database.read() as connection:
            _check_fields(connection, caller, filters)
            conditions = (documents.c.embedder.is_not(None), *_matching(caller, filters))
            query = sa.select(documents.c.number).where(*conditions)
            numbers = _updated(connection, query, version, *cached) if cached else None
            if numbers is None:
                numbers = to_numbers(connection.scalars(query))
        with self._lock:
            self._cache[key] = version, numbers
            self._cache.move_to_end(key)
            while len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)
        return numbers

    def facets(
        self,
        caller: Caller,
        filters: Filters,
        names: Sequence[str],
        limit: int = 20,
        among: DocumentNumbers | None = None,
    ) -> tuple[Facet, ...]:
        """Count how many of the documents that `find` would find, and that are ``among`` these numbers, have each
        value of each facet. The counts are exact; each facet has its first ``limit`` values. Raises Refused as
        `find` does."""
        conditions = _matching(caller, filters)
        parts = [None] if among is None else batches(list(among))
        counters: dict[str, Counter[str]] = {name: Counter() for name in names}
        with self.database.read() as connection:
            _check_fields(connection, caller, filters)
            for part in parts:
                in_part = [] if part is None else [documents.c.number.in_(part)]
                for name in names:
                    counters[name] += attributes.counts(connection, name, [*conditions, *in_part])
        return tuple(attributes.facet(name, counters[name], limit) for name in names)

    def finished_since(self, at: float) -> DocumentNumbers:
        """Return the numbers of the undeleted documents that reached a terminal state since ``at`` (epoch seconds)."""
        conditions = (documents.c.finished_at >= at, documents.c.state != State.DELETED)
        with self.database.read() as connection:
            return to_numbers(connection.scalars(sa.select(documents.c.number).where(*conditions)))

    def by_number(self, numbers: Collection[int]) -> dict[int, Document]:
        """Return the undeleted ones of these documents by number."""
        by_number: dict[int, Document] = {}
        with self.database.read() as connection:
            for batch in batches(sorted(numbers)):
                result = connection.execute(_BY_NUMBER, {"numbers": batch})
                by_number |= {document.number: document for document in _documents(connection, result)}
        return by_number

    def delete(self, document_id: str, order: ErasureOrder | None = None) -> list[Document]:
        """Hide a document and all that is attached to it at once, and delete their texts, vectors and cached results;
        return them as they were, the document first. The revision before it stands again. The caller deletes the blobs.
        With ``order`` they become part of that erasure. Idempotent. Raises Refused: "not-found" for an unknown id,
        "legal-hold" for a document under one."""
        c = documents.c
        query = sa.select(c.tenant, c.place).where(c.id == document_id)
        with self.database.write() as connection:
            tenant, place = connection.execute(query).one_or_none() or ("", "")
            # Locked, so that an arrival of the same content comes either before and is deleted too, or after as new.
            lock_place(connection, tenant, place)
            document = _one(connection, c.id == document_id)
            if document.state is State.DELETED:
                return [document]
            erased = [document, *_attached(connection, document)]
            holds.check(connection, erased)
            for one in erased:
                forget(connection, one, order)
            settle(connection, tenant, place)
            return erased

    def holds_on(self, document_id: str) -> list[Hold]:
        """Return the legal holds that stop the erasure of a document, or of what is attached to it. Raises
        Refused("not-found")."""
        with self.database.write() as connection:
            document = _one(connection, documents.c.id == document_id)
            return holds.on_family(connection, [document, *_attached(connection, document)], document.tenant)

    def same_content(self, numbers: Collection[int]) -> DocumentNumbers:
        """Return the numbers of the other undeleted documents with the content of one of these."""
        others: list[int] = []
        first, other = documents.alias("first"), documents.alias("other")
        same = first.join(
            other, sa.and_(other.c.content_hash == first.c.content_hash, other.c.tenant == first.c.tenant)
        )
        with self.database.read() as connection:
            for batch in batches(sorted(numbers)):
                query = sa.select(other.c.number).select_from(same)
                conditions = (first.c.number.in_(batch), other.c.state != State.DELETED)
                others += connection.scalars(query.where(*conditions)).all()
        return to_numbers(others) - to_numbers(numbers)

    def revisions(self, caller: Caller, document: Document) -> list[Document]:
        """Return the other undeleted contents at the document's place that the caller may read, oldest first."""
        c = documents.c
        place = sa.select(c.place).where(c.number == document.number).scalar_subquery()
        others = (c.place == place, c.place != "", c.number != document.number, c.state != State.DELETED)
        query = sa.select(documents).where(*others, *readable(caller)).order_by(c.number)
        with self.database.read() as connection:
            return _documents(connection, connection.execute(query)) if document.parent is None else []

    def readable_family(self, caller: Caller, document_id: str) -> set[str]:
        """Return the ids of the document and all that is attached to it, as far as the caller may read them."""
        c, level = documents.c, [document_id]
        family: set[str] = set()
        with self.database.read() as connection:
            while level:
                conditions = (c.id.in_(level), *readable(caller))
                family |= set(connection.scalars(sa.select(c.id).where(*conditions)))
                level = list(connection.scalars(sa.select(c.id).where(c.parent.in_(level), c.state != State.DELETED)))
        return family

    def has_content(self, content_hash: str) -> bool:
        """Return True if an undeleted document of any tenant has this content."""
        conditions = (documents.c.content_hash == content_hash, documents.c.state != State.DELETED)
        with self.database.read() as connection:
            return connection.scalar(sa.select(documents.c.number).where(*conditions).limit(1)) is not None

    def history(self, document_id: str) -> tuple[list[Arrival], list[Event]]:
        """Return the arrivals and the decision record, oldest first. Raises Refused("not-found")."""
        arrival_query = sa.select(arrivals).where(arrivals.c.document_id == document_id).order_by(arrivals.c.id)
        event_query = sa.select(events).where(events.c.document_id == document_id).order_by(events.c.id)
        with self.database.read() as connection:
            owner = _one(connection, documents.c.id == document_id).owner
            return [
                Arrival(row.source, row.path, row.arrived_at, tuple(row.access), tuple(row.labels), row.metadata, owner)
                for row in connection.execute(arrival_query)
            ], [
                Event(row.document_id, row.at, row.stage, row.event, row.data)
                for row in connection.execute(event_query)
            ]

    def record(self, event: Event) -> None:
        """Add an entry to a document's decision record."""
        with self.database.write() as connection:
            add_event(connection, event)

    def counts(self) -> Mapping[str, int]:
        """Return the number of documents per state."""
        query = sa.select(documents.c.state, sa.func.count()).group_by(documents.c.state)
        with self.database.read() as connection:
            return {state: int(count) for state, count in connection.execute(query)}


def _one(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Document:
    matches = _documents(connection, connection.execute(sa.select(documents).where(condition)))
    if not matches:
        raise Refused("not-found", "There is no such document.")
    return matches[0]


def _attached(connection: sa.Connection, document: Document) -> list[Document]:
    """Return the undeleted documents that are attached to a document, however deeply, locked."""
    attached: list[Document] = []
    level = [document.id]
    # Locked level by level: an attachment that arrives meanwhile comes either before, or its parent is gone.
    while level:
        conditions = (documents.c.parent.in_(level), documents.c.state != State.DELETED)
        query = sa.select(documents).where(*conditions).order_by(documents.c.number).with_for_update()
        children = _documents(connection, connection.execute(query))
        attached += children
        level = [child.id for child in children]
    return attached


def _documents(connection: sa.Connection, result: sa.CursorResult[Any]) -> list[Document]:
    rows = result.mappings().all()
    lists = access_lists(connection, [row["number"] for row in rows])
    return [to_document(row, lists.get(row["number"], ())) for row in rows]


def _updated(
    connection: sa.Connection,
    query: sa.Select[Any],
    version: VisibilityVersion,
    since: VisibilityVersion,
    numbers: DocumentNumbers,
) -> DocumentNumbers | None:
    """Return ``numbers``, the result of ``query`` at the version ``since``, with the documents that changed after it
    read again; None if any document may have changed, or so many that running the whole query is quicker."""
    if version.last_global > since.current or version.unattributed != since.unattributed:
        return None
    later = sa.select(documents.c.number).where(documents.c.changed > since.current).limit(MAX_CHANGED + 1)
    changed = to_numbers(connection.scalars(later))
    if len(changed) > MAX_CHANGED:
        return None
    still_visible = connection.scalars(query.where(documents.c.number.in_(list(changed))))
    return numbers.updated(changed, to_numbers(still_visible))


def _matching(caller: Caller, filters: Filters) -> list[sa.ColumnElement[bool]]:
    """Return the conditions under which an undeleted document is the caller's to read and passes the filters."""
    c = documents.c
    conditions = [c.state != State.DELETED, *readable(caller)]
    if filters.revisions == NEWEST:
        conditions.append(c.superseded_by.is_(None))
    for column, values in (
        (c.label, filters.labels),
        (c.media_type, filters.media_types),
        (c.source, filters.sources),
        (c.state, filters.states),
    ):
        if values:
            conditions.append(column.in_(values))
    prefix = (filters.folder or "").strip("/") + "/"
    if prefix != "/":
        # Not LIKE: to SQLite's LIKE "HR/" and "hr/" are the same.
        conditions.append(sa.func.substr(c.path, 1, len(prefix)) == prefix)
    if filters.received_from is not None:
        conditions.append(c.received_at >= filters.received_from)
    if filters.received_to is not None:
        conditions.append(c.received_at < filters.received_to)
    return [*conditions, *attributes.conditions(filters)]


def _check_fields(connection: sa.Connection, caller: Caller, filters: Filters) -> None:
    """Raise Refused("not-found") for a metadata field that no document has which the caller may read."""
    names = [name for name, _ in filters.metadata]
    if unknown := attributes.unknown_fields(connection, names, readable(caller)):
        fields = ", ".join(attributes.known_fields(connection, readable(caller))) or "none yet"
        detail = f"metadata: no document has the field {unknown[0][:80]!r}; known are: {fields}."
        raise Refused("not-found", detail)
