"""Copies of documents that Mailroom put into folders: found by the receipts of their deliveries, removed by an erasure.

A file that a person has changed or replaced since is theirs: it stays, and the receipt names it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from pipeline.disk import sync_folder
from pipeline.erasure import Delivery
from pipeline.names import safe_part
from workers.services.failed_folder import FAILED, MAX_NAME_BYTES, REASON
from workers.settings import Settings

FILED_COPIES, FAILED_COPIES = "filed copies", "failed copies"


class FiledCopies:
    """Removes the copies of a document. ``removed`` counts them by store; ``remaining`` is what was left, as (store,
    what, why, until).

    ``shared``: returns True for (content hash, path under the folder root) of a copy that another document has, too.
    """

    def __init__(self, settings: Settings, shared: Callable[[str, str], bool]) -> None:
        self._settings, self._shared = settings, shared
        self.removed = {FILED_COPIES: 0, FAILED_COPIES: 0}
        self.remaining: list[tuple[str, str, str, str]] = []

    def remove(self, document_id: str, content_hash: str, delivery: Delivery) -> None:
        """Remove what a delivery put into a folder. Raises OSError where it cannot be removed now."""
        if delivery.kind == "folder":
            self._remove_filed(content_hash, delivery)
        elif delivery.kind == "failed":
            self._remove_failed(document_id, content_hash, delivery)
        elif delivery.kind == "webhook" and delivery.place is not None:
            why = "a receiver outside of Mailroom was notified; ask it to erase what it has"
            self.remaining.append(("webhooks", delivery.target, why, "its receiver erases it"))

    def _remove_filed(self, content_hash: str, delivery: Delivery) -> None:
        root = self._settings.folders_root
        for path in _candidates(delivery, content_hash):
            if self._shared(content_hash, path):
                why = "the same file is the copy of another document"
                self.remaining.append((FILED_COPIES, path, why, "that document is erased"))
                continue
            self._remove_file(FILED_COPIES, root / path, content_hash, must_match=delivery.place is not None)
        for folder in {(root / path).parent for path in _candidates(delivery, content_hash)}:
            _remove_leftovers(folder, delivery.job)
            _remove_empty(folder, root)

    def _remove_failed(self, document_id: str, content_hash: str, delivery: Delivery) -> None:
        tray = next((tray for tray in self._settings.tray.folders if tray.source == delivery.target), None)
        if tray is None:
            why = f"there is no tray with the source {delivery.target!r} in the settings any more"
            self.remaining.append((FAILED_COPIES, "a copy in its folder failed/", why, "a person removes it"))
            return
        folder = self._settings.tray_path(tray) / FAILED
        _remove_leftovers(folder, delivery.job)
        name = delivery.place or safe_part(PurePosixPath(delivery.expected).name, MAX_NAME_BYTES)
        for file in (folder / name, folder / f"{document_id[-8:]}-{name}"):
            reason = file.with_name(f"{file.name}{REASON}")
            if not _is_reason_of(reason, document_id):
                continue
            self._remove_file(FAILED_COPIES, file, content_hash, must_match=True)
            reason.unlink(missing_ok=True)
            sync_folder(folder)

    def _remove_file(self, store: str, file: Path, content_hash: str, must_match: bool) -> None:
        """Remove a file if it has this content. ``must_match``: another content is worth a line in the receipt."""
        if file.is_symlink() or not file.is_file():
            return
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if digest == content_hash:
            file.unlink(missing_ok=True)
            sync_folder(file.parent)
            self.removed[store] += 1
        elif must_match:
            why = "it was changed after it was put there"
            self.remaining.append((store, str(file), why, "a person removes it"))


def _candidates(delivery: Delivery, content_hash: str) -> Iterator[str]:
    """Yield the paths where a delivery has put the file, or may have put it if it had not ended."""
    if delivery.place is not None:
        yield delivery.place
        return
    path = PurePosixPath(delivery.expected)
    yield str(path)
    yield str(path.with_name(f"{path.stem}-{content_hash[:8]}{path.suffix}"))


def _remove_leftovers(folder: Path, job: str) -> None:
    """Remove what a courier that was killed has left in a folder."""
    for file in folder.glob(f".{job}.*") if job else ():
        file.unlink(missing_ok=True)


def _remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder and those above it, as long as they are empty: their names may be those of people."""
    with contextlib.suppress(OSError):  # one is not empty, or a courier has just made it
        while folder != root and root in folder.parents:
            folder.rmdir()
            folder = folder.parent


def _is_reason_of(file: Path, document_id: str) -> bool:
    try:
        return f"\ndocument: {document_id}\n" in file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
