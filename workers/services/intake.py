"""Taking bytes in and letting go of them: the two acts that must not meet half-way.

Blobs are shared by content. Without care an erasure could unlink bytes that an upload of the same content has just
found in place. A file lock in the data folder keeps the two apart: many receivers, or one eraser.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.documents import Document, Lane, Sighting
from pipeline.errors import Unavailable
from workers.assemble import House
from workers.queue.notify import Hints


def receive(house: House, hints: Hints, stream: Iterable[bytes], sighting: Sighting) -> tuple[Document, bool]:
    """Store the bytes durably, commit the row, hint. Returns (document, created).

    Raises Refused("upload-too-large") over api.upload_max_bytes and Unavailable("disk-full").
    """
    revision, size = house.blobs.put(stream, house.settings.api.upload_max_bytes)
    return record(house, hints, revision, size, sighting)


def record(house: House, hints: Hints, revision: str, size: int, sighting: Sighting) -> tuple[Document, bool]:
    """Commit the arrival of bytes that are stored already, and hint."""
    with _hold(house.settings.run_path, fcntl.LOCK_SH):
        _still_there(house, revision)
        document, created = house.catalogue.documents.receive(revision, size, sighting)
    if created:
        hints.nudge(house.catalogue.ledger, Lane.INGEST)
    return document, created


def erase(house: House, document_id: str) -> Document:
    """Hide the document at once, forget what was derived from it, and unlink its bytes unless another one has the same.
    The index writer drops its passages afterwards; search does not show them meanwhile. Returns it as it was."""
    with _hold(house.settings.run_path, fcntl.LOCK_EX):
        document = house.catalogue.documents.delete(document_id)
        if not house.catalogue.documents.holds(document.revision):
            house.blobs.delete(document.revision)
    return document


def drop_unused(house: House, revision: str) -> None:
    """Unlink bytes that were stored for an upload that was then refused."""
    with _hold(house.settings.run_path, fcntl.LOCK_EX):
        if not house.catalogue.documents.holds(revision):
            house.blobs.delete(revision)


def _still_there(house: House, revision: str) -> None:
    try:
        house.blobs.open(revision).close()
    except KeyError:
        raise Unavailable(
            "store-unavailable", "The same content was erased while it was sent; send it again."
        ) from None


@contextmanager
def _hold(folder: Path, kind: int) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "content.lock").open("w") as file:
        fcntl.flock(file, kind)
        yield
