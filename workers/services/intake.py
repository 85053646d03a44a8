"""Intake and erasure of documents, which exclude each other.

Blobs are shared by content. Without a lock an erasure could unlink bytes that an upload of the same content has just
found stored. A file lock in the data folder keeps them apart: many receivers, or one erasure.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.disk import locked
from pipeline.documents import Arrival, Document, QueueName
from pipeline.erasure import ErasureOrder
from pipeline.errors import Unavailable
from pipeline.ports import Blobs
from workers.queue.notify import Notifier

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue

#: Shared by receivers, exclusive for an erasure.
CONTENT_LOCK = "content.lock"


class Intake:
    """Receives and erases documents. ``run_path`` is the folder of the lock, ``limit`` the size of the largest document
    in bytes."""

    def __init__(self, catalogue: Catalogue, blobs: Blobs, notifier: Notifier, run_path: Path, limit: int) -> None:
        self._catalogue, self._blobs, self._notifier = catalogue, blobs, notifier
        self._lock, self._limit = run_path / CONTENT_LOCK, limit

    def receive(self, stream: Iterable[bytes], arrival: Arrival) -> tuple[Document, bool]:
        """Store the bytes durably, commit the row, wake a worker up. Return (document, created).

        Raises Refused("upload-too-large") over the limit and Unavailable("disk-full").
        """
        content_hash, size = self._blobs.put(stream, self._limit)
        return self.record(content_hash, size, arrival)

    def record(self, content_hash: str, size: int, arrival: Arrival) -> tuple[Document, bool]:
        """Commit the arrival of bytes that are stored already, and wake a worker up. Return (document, created)."""
        with locked(self._lock, shared=True):
            try:
                self._blobs.open(content_hash).close()
            except KeyError:
                text = "The same content was erased while it was sent; send it again."
                raise Unavailable("store-unavailable", text) from None
            document, created = self._catalogue.documents.receive(content_hash, size, arrival)
        if created:
            self._notifier.notify(self._catalogue.jobs, QueueName.INGEST)
        return document, created

    def erase(self, document_id: str, order: ErasureOrder | None = None) -> list[Document]:
        """Hide the document and all that is attached to it at once, delete what was derived from them, and their bytes
        unless another document has the same.

        Return them as they were, the document first. The index writer removes their chunks afterwards; search does not
        show them meanwhile.
        """
        with locked(self._lock):
            erased = self._catalogue.documents.delete(document_id, order)
            for content_hash in {document.content_hash for document in erased}:
                if not self._catalogue.documents.has_content(content_hash):
                    self._blobs.delete(content_hash)
        return erased

    def drop_unused(self, content_hash: str) -> None:
        """Unlink bytes that were stored for an upload which was then refused."""
        with locked(self._lock):
            if not self._catalogue.documents.has_content(content_hash):
                self._blobs.delete(content_hash)
