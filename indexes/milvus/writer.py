"""The one writer of an index in Milvus. A publication is: old rows out, new rows in, then the status that shows them.

It is not atomic as a generation is, so it is announced: after a crash the next writer deletes the rows of every
announced document, and the catalogue adds again what it has of them. No reader shows a chunk that the catalogue does
not have.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from indexes.milvus import schema, state
from indexes.milvus.lexical import fields_of
from indexes.milvus.schema import CHUNKS, DOCUMENTS, WORDS
from indexes.milvus.server import Server
from indexes.milvus.state import Status, StoredDocument
from indexes.milvus.vocabulary import VocabularyWriter, words_of, words_only_in
from indexes.vectors.rows import check_vectors
from pipeline.disk import ProcessLock
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk
from pipeline.errors import Misconfigured
from pipeline.faults import fault
from pipeline.ports import DocumentTexts
from pipeline.questions import chunk_key

log = logging.getLogger(__name__)

#: Rows of one insertion, and documents of one deletion: a message stays under a few megabytes.
INSERTED_ROWS, DELETED_DOCUMENTS = 500, 1000
#: Milvus's index types by ours; the empty one leaves the choice to the server.
KINDS = {"": "AUTOINDEX", "exact": "FLAT"}

_T = TypeVar("_T")


class MilvusWriter:
    """Implements `pipeline.ports.IndexWriter`; the server merges and compacts by itself.

    ``root`` holds the lock; ``role`` names the collections; ``large``: the vector index's kind, a key of `KINDS`.
    """

    is_compacting = False

    def __init__(
        self, server: Server, root: Path, role: str, embedder: str, dimension: int, model: str = "", large: str = ""
    ) -> None:
        if large not in KINDS:
            raise Misconfigured("bad-settings", "index.kind: Milvus chooses the kind; leave it empty, or give exact.")
        self.root, self.embedder, self.dimension, self.model, self.large = root, embedder, dimension, model, large
        self._server, self._role, self._names = server, role, schema.names(role)
        self._lock = ProcessLock(root / "writer.lock", "An index writer")
        self.openings, self.rebuild_needed = 0, True
        self.reopen()

    @property
    def numbers(self) -> DocumentNumbers:
        """The documents that the index will hold after the next publication."""
        return DocumentNumbers(self._documents)

    @property
    def without_vectors(self) -> DocumentNumbers:
        """Those of `numbers` that search finds by words alone."""
        return DocumentNumbers(number for number, document in self._documents.items() if not document.embedded)

    @property
    def is_open(self) -> bool:
        """False after a failed opening or publication, or when somebody removed the lock's folder."""
        return self._open and self._lock.is_held

    @property
    def damage(self) -> str | None:
        """None: the server checks what it stores."""
        return None

    def reopen(self) -> None:
        """Drop what is not published and resume from what is.

        Raises Unavailable where the server does not answer, Refused("conflict") where another process has the lock.
        """
        self._rows: dict[int, list[dict[str, Any]]] = {}
        self._changed: dict[int, StoredDocument] = {}
        self._before: dict[int, StoredDocument | None] = {}
        self._documents: dict[int, StoredDocument] = {}
        self._languages: set[str] = set()
        self._status: Status | None = None
        self.since, self.openings, self._open = 0.0, self.openings + 1, False
        self._lock.acquire()
        status = state.read_status(self._server, self._names[DOCUMENTS])
        self._vocabulary = VocabularyWriter(self._server, self._names[WORDS])
        self.rebuild_needed = status is None or (status.embedder, status.dimension) != (self.embedder, self.dimension)
        if status is not None and not self.rebuild_needed:
            self._resume(status)
        self._open = True

    def _resume(self, status: Status) -> None:
        self._status, self._languages = status, set(status.languages)
        self.since, self.model = status.since, self.model or status.model
        documents = state.changed_since(self._server, self._names[DOCUMENTS], 0)
        self._documents = {document.number: document for document in documents if document.chunks}
        for document in state.changed_since(self._server, self._names[DOCUMENTS], status.serial):
            removed = StoredDocument(document.number, 0)  # announced by a publication that did not end
            self._change(removed, before=removed)

    def add(
        self, number: int, chunks: Sequence[Chunk], vectors: np.ndarray | None, title: str | None = None, name: str = ""
    ) -> None:
        """Add or replace a document; without ``vectors`` search finds it by words alone."""
        check_vectors(number, vectors, len(chunks), self.dimension)
        rows = []
        stored = np.zeros((len(chunks), self.dimension)) if vectors is None else vectors
        for chunk, vector in zip(chunks, stored, strict=True):
            fields, language = fields_of(chunk, title, name)
            key = chunk_key(number, chunk.ordinal)
            row = {"key": key, "document": number, "embedded": vectors is not None, "vector": vector.tolist()}
            rows.append({**row, **fields})
            self._languages.add(language)
        self._change(StoredDocument(number, len(rows), vectors is not None))
        self._rows[number] = rows

    def remove(self, number: int) -> None:
        """Remove a document. Does nothing for one that the index does not hold."""
        if number in self._documents:
            self._change(StoredDocument(number, 0))

    def publish(self, force: bool = False) -> str | None:
        """Make the changes visible to readers; return the publication's name, or None without changes.

        With ``force`` it publishes even then. Raises Unavailable; then the index has to be reopened, which drops this
        step, and the catalogue still has it.
        """
        if not (force or self._changed):
            return None
        try:
            return self._publish()
        except Exception:
            self._open = False
            raise

    def purge(self, texts: DocumentTexts, seconds: float) -> bool:
        """Ask the server to compact what it deleted; return True once that is published.

        The server deletes the files of compacted segments when its own garbage collection is due.
        """
        if self._changed:
            return False
        for name in self._names.values():
            try:
                self._server.call("compact", name)
            except Misconfigured as error:  # milvus-lite has no compaction of its own
                log.info("the server does not compact %s: %s", name, error)
        return True

    def adopt(self, other: Path, since: float) -> str:
        """Put the candidate index known as ``other`` in this one's place; return its publication's name.

        ``since``: when it was begun. Raises Misconfigured("bad-index") where there is none.
        """
        candidate = schema.names(other.name)[DOCUMENTS]
        status = state.read_status(self._server, candidate)
        if status is None:
            raise Misconfigured("bad-index", f"There is no candidate index {other.name}.")
        state.write(self._server, candidate, replace(status, since=since), {})
        schema.rename(self._server, other.name, self._role)
        self.change_model(status.embedder, status.dimension, status.model)
        return f"{status.serial:012d}"

    def keep_as(self, target: Path) -> float | None:
        """Rename the published index to a candidate; return the time it was made, or None where there is none."""
        if self._status is None:
            return None
        schema.rename(self._server, self._role, target.name)
        return self._status.since

    def change_model(self, embedder: str, dimension: int, model: str) -> None:
        """Resume with vectors of another model; what is not published is dropped."""
        self.embedder, self.dimension, self.model = embedder, dimension, model
        self.reopen()

    def compact(self) -> None:
        """Do nothing: the server merges by itself."""

    def await_compaction(self) -> None:
        """Do nothing: the server merges by itself."""

    def close(self) -> None:
        """Release the lock; what was not published is dropped."""
        self._lock.release()

    def _change(self, document: StoredDocument, before: StoredDocument | None = None) -> None:
        """Note what the next publication makes of a document. ``before``: how the server may hold it now."""
        self._before.setdefault(document.number, before or self._documents.get(document.number))
        self._rows.pop(document.number, None)
        self._documents.pop(document.number, None)
        self._changed[document.number] = document
        if document.chunks:
            self._documents[document.number] = document

    def _publish(self) -> str:
        status = self._next_status()
        if self._status is None:
            schema.drop(self._server, self._role)
            schema.create(self._server, self._role, self.dimension, KINDS[self.large])
        else:
            before = {number: document or StoredDocument(number, 0) for number, document in self._before.items()}
            state.announce(self._server, self._names[DOCUMENTS], status.serial, before)
        new_words = {word for rows in self._rows.values() for row in rows for word in words_of(row)}
        self._vocabulary.add(new_words)
        stored = (number for number, document in self._before.items() if document)
        for numbers in _batches(stored, DELETED_DOCUMENTS):
            # The words go first: after a crash the rows still show which these were.
            old_words = words_only_in(self._server, self._names[CHUNKS], numbers)
            self._vocabulary.delete(old_words - new_words)
            self._server.call("delete", self._names[CHUNKS], filter=f"document in {numbers}")
        for rows in _batches(chain.from_iterable(self._rows.values()), INSERTED_ROWS):
            self._server.call("insert", self._names[CHUNKS], rows)
        fault("index.manifest")
        state.write(self._server, self._names[DOCUMENTS], status, self._changed)
        self._status, self._rows, self._changed, self._before = status, {}, {}, {}
        return f"{status.serial:012d}"

    def _next_status(self) -> Status:
        last = self._status
        return Status(
            serial=last.serial + 1 if last else 1,
            embedder=self.embedder,
            dimension=self.dimension,
            model=self.model,
            since=time.time(),
            identity=last.identity if last else uuid.uuid4().hex,
            languages=tuple(sorted(self._languages)),
        )


def _batches(values: Iterable[_T], size: int) -> Iterator[list[_T]]:
    batch: list[_T] = []
    for value in values:
        batch.append(value)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
