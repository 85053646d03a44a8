"""Taking bytes in and letting go of them: the two acts that must not meet half-way.

Blobs are shared by content. Without care an erasure could unlink bytes that an upload of the same content has just
found in place. A file lock in the data folder keeps the two apart: many receivers, or one eraser.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.disk import locked
from pipeline.documents import Arrival, Document, QueueName
from pipeline.errors import Unavailable
from workers.assemble import Mailroom
from workers.queue.notify import Notifier

#: Shared by those who receive, held alone by the one who erases.
CONTENT_LOCK = "content.lock"


def receive(mailroom: Mailroom, notifier: Notifier, stream: Iterable[bytes], arrival: Arrival) -> tuple[Document, bool]:
    """Store the bytes durably, commit the row, hint. Returns (document, created).

    Raises Refused("upload-too-large") over api.upload_max_bytes and Unavailable("disk-full").
    """
    content_hash, size = mailroom.blobs.put(stream, mailroom.settings.api.upload_max_bytes)
    return record(mailroom, notifier, content_hash, size, arrival)


def record(
    mailroom: Mailroom, notifier: Notifier, content_hash: str, size: int, arrival: Arrival
) -> tuple[Document, bool]:
    """Commit the arrival of bytes that are stored already, and hint."""
    with locked(mailroom.settings.run_path / CONTENT_LOCK, shared=True):
        _still_there(mailroom, content_hash)
        document, created = mailroom.catalogue.documents.receive(content_hash, size, arrival)
    if created:
        notifier.notify(mailroom.catalogue.jobs, QueueName.INGEST)
    return document, created


def erase(mailroom: Mailroom, document_id: str) -> Document:
    """Hide the document at once, forget what was derived from it, and unlink its bytes unless another one has the same.
    The index writer drops its passages afterwards; search does not show them meanwhile. Returns it as it was."""
    with locked(mailroom.settings.run_path / CONTENT_LOCK):
        document = mailroom.catalogue.documents.delete(document_id)
        if not mailroom.catalogue.documents.has_content(document.content_hash):
            mailroom.blobs.delete(document.content_hash)
    return document


def drop_unused(mailroom: Mailroom, content_hash: str) -> None:
    """Unlink bytes that were stored for an upload that was then refused."""
    with locked(mailroom.settings.run_path / CONTENT_LOCK):
        if not mailroom.catalogue.documents.has_content(content_hash):
            mailroom.blobs.delete(content_hash)


def _still_there(mailroom: Mailroom, content_hash: str) -> None:
    try:
        mailroom.blobs.open(content_hash).close()
    except KeyError:
        raise Unavailable(
            "store-unavailable", "The same content was erased while it was sent; send it again."
        ) from None
