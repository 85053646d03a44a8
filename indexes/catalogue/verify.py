"""A consistency check of catalogue, contents and index: for the tests after faults, for benchmarks, and for operators
who doubt an installation."""

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
    """Return one sentence for each breach; empty if all is well. Reads every blob.

    Meant for an installation at rest: an arrival under way shows as a content without a document. ``index_numbers`` are
    the document numbers in the active index; None leaves the index out.

    Checked are: the database is sound; the originals exist with their digests and nothing else does (I1, I6); every
    open document has one job (I2); catalogue and index have the same documents (I3); nothing belongs to a deleted
    document (I7).
    """
    breaches: list[str] = []
    try:
        catalogue.check()
    except Misconfigured as error:
        breaches.append(error.detail)
    with catalogue.database.read() as connection:
        breaches += _contents(connection, blobs)
        breaches += _jobs(connection)
        breaches += _leftovers(connection)
        if index_numbers is not None:
            breaches += _index(connection, frozenset(index_numbers))
    return breaches


def _contents(connection: sa.Connection, blobs: Blobs) -> Iterator[str]:
    stored = set(blobs.digests())
    query = sa.select(documents.c.id, documents.c.content_hash).where(documents.c.state != State.DELETED)
    rows = connection.execute(query).all()
    for row in rows:
        if row.content_hash not in stored:
            yield f"document {row.id} has no content {row.content_hash[:12]}"
    for digest in sorted(stored):
        with blobs.open(digest) as file:
            sha256 = hashlib.sha256()
            while piece := file.read(_PIECE):
                sha256.update(piece)
        if sha256.hexdigest() != digest:
            yield f"content {digest[:12]} is damaged: its bytes have another digest"
    for digest in sorted(stored - {row.content_hash for row in rows}):
        yield f"content {digest[:12]} belongs to no document"


def _jobs(connection: sa.Connection) -> Iterator[str]:
    """Yield the documents without the right number of jobs on the path in: one if they are open, otherwise none."""
    on_path = sa.and_(jobs.c.subject == documents.c.id, jobs.c.queue.in_(("ingest", "index")))
    columns = sa.select(documents.c.id, documents.c.state, sa.func.count(jobs.c.id).label("jobs"))
    query = columns.select_from(documents.outerjoin(jobs, on_path)).group_by(documents.c.id, documents.c.state)
    for row in connection.execute(query):
        expected = 1 if row.state == State.PROCESSING else 0
        if row.jobs != expected:
            yield f"document {row.id} is {row.state} and has {row.jobs or 'no'} job(s) on the path in, not {expected}"


def _leftovers(connection: sa.Connection) -> Iterator[str]:
    references = (
        (chunks, chunks.c.number == documents.c.number),
        (access, access.c.number == documents.c.number),
        (embeddings, embeddings.c.number == documents.c.number),
        (results, results.c.document_id == documents.c.id),
        (jobs, jobs.c.subject == documents.c.id),
    )
    for table, same_document in references:
        query = sa.select(documents.c.id).where(documents.c.state == State.DELETED, sa.exists().where(same_document))
        for document_id in connection.scalars(query):
            yield f"document {document_id} is deleted and still has rows in {table.name}"
    without_vector = sa.exists().where(chunks.c.number == documents.c.number, chunks.c.vector.is_(None))
    query = sa.select(documents.c.id).where(documents.c.embedder.is_not(None), without_vector)
    for document_id in connection.scalars(query):
        yield f"document {document_id} counts as embedded and has a chunk without a vector"


def _index(connection: sa.Connection, numbers: frozenset[int]) -> Iterator[str]:
    finished = documents.c.state.in_((State.INDEXED, State.REVIEW))
    has_chunks = sa.exists().where(chunks.c.number == documents.c.number)
    conditions = (documents.c.embedder.is_not(None), finished, has_chunks)
    searchable = set(connection.scalars(sa.select(documents.c.number).where(*conditions)))
    undeleted = set(connection.scalars(sa.select(documents.c.number).where(documents.c.state != State.DELETED)))
    for number in sorted(searchable - numbers):
        yield f"document number {number} is not in the index"
    for number in sorted(numbers - undeleted):
        yield f"document number {number} is in the index without being in the catalogue"
