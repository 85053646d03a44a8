"""A reader of an index in Milvus: what the server holds, and which documents these are."""

from __future__ import annotations

import threading
import time

from indexes.milvus.filter import DocumentFilter
from indexes.milvus.lexical import MilvusLexical
from indexes.milvus.schema import CHUNKS, DOCUMENTS, names
from indexes.milvus.server import Server
from indexes.milvus.state import Status, StoredDocument, changed_since, read_status
from indexes.milvus.vectors import MilvusVectors
from indexes.reader import EMPTY, FIRST_PAUSE, LAST_PAUSE
from pipeline.document_numbers import DocumentNumbers
from pipeline.errors import Misconfigured, Unavailable
from pipeline.ports import Snapshot

#: The status is read no more often than this, seconds.
POLL_SECONDS = 0.3


class MilvusReader:
    """Implements `pipeline.ports.IndexReader`.

    A snapshot describes what was published when it was taken; the server answers from what it holds now, which may be
    newer.
    """

    def __init__(self, server: Server, role: str) -> None:
        self.problem: str | None = None
        self._server, self._names = server, names(role)
        self._lock = threading.Lock()
        self._snapshot = EMPTY
        self._status: Status | None = None
        self._documents: dict[int, StoredDocument] = {}
        self._poll_at, self._pause = 0.0, FIRST_PAUSE

    @property
    def stale(self) -> bool:
        """True while the server cannot be asked and the last known publication is searched."""
        return self.problem is not None

    def snapshot(self) -> Snapshot:
        """Return the newest publication; an empty one before the first."""
        first = self._snapshot is EMPTY
        if time.monotonic() >= self._poll_at and self._lock.acquire(blocking=first):
            try:
                self._poll()
            finally:
                self._lock.release()
        return self._snapshot

    def _poll(self) -> None:
        try:
            status = read_status(self._server, self._names[DOCUMENTS])
            if status != self._status:
                self._follow(status)
        except (Unavailable, Misconfigured) as error:
            self.problem, self._poll_at = error.detail, time.monotonic() + self._pause
            self._pause = min(LAST_PAUSE, 2 * self._pause)
            return
        self.problem, self._pause = None, FIRST_PAUSE
        self._poll_at = time.monotonic() + POLL_SECONDS

    def _follow(self, status: Status | None) -> None:
        """Read the documents that changed; all of them where another index has taken the place of the known one."""
        last = self._status
        if last is None or status is None or status.identity != last.identity or status.serial < last.serial:
            self._documents, last = {}, None
        if status is not None:
            for document in changed_since(self._server, self._names[DOCUMENTS], last.serial if last else 0):
                self._documents[document.number] = document
            self._documents = {number: document for number, document in self._documents.items() if document.chunks}
        self._status = status
        self._snapshot = self._open(status) if status else EMPTY

    def _open(self, status: Status) -> Snapshot:
        numbers, documents = DocumentNumbers(self._documents), self._documents.values()
        chunks = sum(document.chunks for document in documents)
        without_vectors = [document for document in documents if not document.embedded]
        embedded = chunks - sum(document.chunks for document in without_vectors)
        document_filter = DocumentFilter(numbers)
        return Snapshot(
            generation=f"{status.serial:012d}",
            embedder=status.embedder,
            vectors=MilvusVectors(
                self._server, self._names[CHUNKS], document_filter, embedded, complete=not without_vectors
            ),
            lexical=MilvusLexical(self._server, self._names, document_filter, chunks, status.languages),
            numbers=numbers,
            model=status.model,
            without_vectors=len(without_vectors),
        )
