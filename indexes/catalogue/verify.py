"""Is what we hold consistent? Run after faults by the tests, by benchmarks, and by whoever doubts a store."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator

import sqlalchemy as sa

from indexes.catalogue.catalogue import Catalogue
from indexes.catalogue.tables import access, chunks, documents, embeddings, jobs, results
from pipeline.documents import State
from pipeline.errors import Misconfigured
from pipeline.ports import Blobs

_PIECE = 1 << 20


def verify(catalogue: Catalogue, blobs: Blobs, index_numbers: Collection[int] | None = None) -> list[str]:
    """One sentence for each breach; empty when all is well. Meant for a store at rest: an arrival under way shows as a
    content without a document. ``index_numbers`` are the document numbers that the active index holds; None leaves the
    index out. Reads every blob.

    The originals are there with their digests and nothing else is (I1, I6), every open document has one job (I2),
    catalogue and index hold the same documents (I3), the database is sound, and nothing hangs on a deleted document (I7).
    """
    found = list(_unsound(catalogue))
    with catalogue.database.read() as connection:
        found += _contents(connection, blobs)
        found += _jobs(connection)
        found += _leftovers(connection)
        if index_numbers is not None:
            found += _index(connection, frozenset(index_numbers))
    return found


def _unsound(catalogue: Catalogue) -> Iterator[str]:
    try:
        catalogue.check()
    except Misconfigured as error:
        yield error.detail


def _contents(connection: sa.Connection, blobs: Blobs) -> Iterator[str]:
    held = set(blobs.digests())
    query = sa.select(documents.c.id, documents.c.content_hash).where(documents.c.state != State.DELETED)
    rows = connection.execute(query).all()
    for row in rows:
        if row.content_hash not in held:
            yield f"document {row.id} has no content {row.content_hash[:12]}"
    for digest in sorted(held):
        with blobs.open(digest) as file:
            hashed = hashlib.sha256()
            while piece := file.read(_PIECE):
                hashed.update(piece)
        if hashed.hexdigest() != digest:
            yield f"content {digest[:12]} is damaged: its bytes have another digest"
    for digest in sorted(held - {row.content_hash for row in rows}):
        yield f"content {digest[:12]} belongs to no document"


def _jobs(connection: sa.Connection) -> Iterator[str]:
    """An open document has one job on the path in; one at its end has none."""
    path = sa.and_(jobs.c.subject == documents.c.id, jobs.c.queue.in_(("ingest", "index")))
    count = sa.func.count(jobs.c.id)
    joined = documents.outerjoin(jobs, path)
    query = sa.select(documents.c.id, documents.c.state, count.label("jobs")).select_from(joined)
    for row in connection.execute(query.group_by(documents.c.id, documents.c.state)):
        wanted = 1 if row.state == State.PROCESSING else 0
        if row.jobs != wanted:
            yield f"document {row.id} is {row.state} and has {row.jobs or 'no'} job(s) on the path in, not {wanted}"


def _leftovers(connection: sa.Connection) -> Iterator[str]:
    deleted = documents.c.state == State.DELETED
    for table, of in ((chunks, chunks.c.number), (access, access.c.number), (embeddings, embeddings.c.number)):
        query = sa.select(documents.c.id).where(deleted, sa.exists().where(of == documents.c.number))
        for document_id in connection.scalars(query):
            yield f"document {document_id} is deleted and still has rows in {table.name}"
    for table, of in ((results, results.c.document_id), (jobs, jobs.c.subject)):
        query = sa.select(documents.c.id).where(deleted, sa.exists().where(of == documents.c.id))
        for document_id in connection.scalars(query):
            yield f"document {document_id} is deleted and still has rows in {table.name}"
    embedded = (chunks.c.number == documents.c.number, chunks.c.vector.is_(None))
    query = sa.select(documents.c.id).where(documents.c.embedder.is_not(None), sa.exists().where(*embedded))
    for document_id in connection.scalars(query):
        yield f"document {document_id} counts as embedded and has a passage without a vector"


def _index(connection: sa.Connection, numbers: frozenset[int]) -> Iterator[str]:
    done = (State.INDEXED, State.REVIEW)
    has_passages = sa.exists().where(chunks.c.number == documents.c.number)
    where = (documents.c.embedder.is_not(None), documents.c.state.in_(done), has_passages)
    searchable = set(connection.scalars(sa.select(documents.c.number).where(*where)))
    alive = set(connection.scalars(sa.select(documents.c.number).where(documents.c.state != State.DELETED)))
    for number in sorted(searchable - numbers):
        yield f"document number {number} is not in the index"
    for number in sorted(numbers - alive):
        yield f"document number {number} is in the index without being in the catalogue"
