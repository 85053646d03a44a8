"""The tray: a watched folder. A complete file is claimed by a rename, received, and only then deleted.

check    regular file; size, time and inode unchanged for a while; not open for writing; complete by its format
claim    rename to .claim/ID, after its path was written to .claim/ID.path: two watchers never take one file;
         a hard link is replaced by a copy, since its other name stays in somebody else's hands
receive  bytes into the blob store (fsync), row into the catalogue (commit), wake-up
drop     unlink the claim; after a crash the remaining claims are received again, which changes nothing
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
import uuid
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from pipeline.disk import link_new, make_folders, new_file
from pipeline.documents import Arrival, QueueName, State
from pipeline.errors import MailroomError, Rejected
from pipeline.faults import fault
from pipeline.ports import Blobs
from workers.queue.notify import Notifier
from workers.services.failed_folder import FAILED, put_failed
from workers.services.intake import Intake
from workers.settings import Settings, TrayFolder
from workers.tray.completeness import FileStat, PendingFile, is_stable, pending_files, stat_of

if TYPE_CHECKING:
    from indexes.catalogue.jobs import JobStore

log = logging.getLogger(__name__)

CLAIMS = ".claim"
#: Suffix of the file that holds the original path of a claim.
ORIGIN = ".path"
CHUNK_BYTES = 1 << 20
#: Seconds before a claim that could not be received (full disk, no catalogue) is tried again.
RETRY_SECONDS = 5.0


class Tray:
    """One watched folder: receives its complete files, and the claims that a crash or a full disk left behind."""

    def __init__(
        self,
        folder: TrayFolder,
        blobs: Blobs,
        job_store: JobStore,
        intake: Intake,
        notifier: Notifier,
        settings: Settings,
    ) -> None:
        self._folder, self._blobs, self._jobs = folder, blobs, job_store
        self._intake, self._notifier, self._settings = intake, notifier, settings
        self.root = settings.tray_path(folder)
        self._claims = self.root / CLAIMS
        self._pending: dict[Path, PendingFile] = {}
        self._retry_at = 0.0
        folder_mode, self._file_mode = settings.tray_modes
        for path in (self.root, self.root / FAILED):
            make_folders(path, folder_mode)
        make_folders(self._claims, 0o700)

    @property
    def has_pending(self) -> bool:
        """True while files wait to become stable and complete."""
        return bool(self._pending)

    def recover(self) -> int:
        """Receive the claims that an earlier run left behind or that had to wait; return how many were received."""
        if time.monotonic() < self._retry_at:
            return 0
        self._retry_at = time.monotonic() + RETRY_SECONDS
        paths = sorted(path for path in self._claims.iterdir() if not path.name.startswith("."))
        for origin in (path for path in paths if path.suffix == ORIGIN):
            if not origin.with_suffix("").exists():  # the crash came before the rename
                origin.unlink(missing_ok=True)
        return sum(self._receive(path) for path in paths if path.suffix != ORIGIN and stat_of(path) is not None)

    def scan(self) -> int:
        """Check every file of the folder once; return how many were received."""
        settings, now = self._settings.tray, time.monotonic()
        pending: dict[Path, PendingFile] = {}
        received = 0
        for path, current in pending_files(self.root, FAILED):
            file = self._pending.get(path)
            if file is None or file.stat != current:
                file = PendingFile(current, now)
            try:
                stable = is_stable(path, file, now, settings.stable_seconds, settings.patience_seconds)
            except OSError:  # it cannot be opened: it is taken last of all, to be refused
                stable = now - file.since >= settings.patience_seconds
            if stable:
                received += self._take(path, current)
            else:
                pending[path] = file
        self._pending = pending
        return received

    def _take(self, path: Path, expected: FileStat) -> bool:
        claim = self._claims / uuid.uuid4().hex
        try:
            # Its path must survive a crash between the rename and the commit.
            with new_file(claim.with_suffix(ORIGIN)) as file:
                file.write(os.fsencode(path.relative_to(self.root)))
            path.rename(claim)
        except OSError as error:
            log.warning("a file in %s could not be claimed: %s", self.root, error.strerror)
            claim.with_suffix(ORIGIN).unlink(missing_ok=True)
            return False
        fault("tray.claimed", path.name)
        if stat_of(claim) != expected:
            self._return(claim)
            return False
        return self._receive(claim)

    def _receive(self, claim: Path) -> bool:
        path = self._original_path(claim)
        try:
            self._unlink_others(claim)
            before = stat_of(claim)
            with open_regular(claim) as file:
                limit = self._settings.api.upload_max_bytes
                content_hash, size = self._blobs.put(iter(lambda: file.read(CHUNK_BYTES), b""), limit)
            fault("tray.stored", path)
            if stat_of(claim) != before:
                self._return(claim)
                return False
            document, created = self._intake.record(content_hash, size, self._arrival(path))
        except (MailroomError, OSError) as error:
            self._refuse(claim, path, error)
            return False
        fault("tray.received", path)
        # A failed document is tried again if its file is dropped in again: no file vanishes without a result.
        failed = document.state in (State.FAILED, State.QUARANTINED)
        if not created and failed and self._jobs.retry(document.id):
            self._notifier.notify(self._jobs, QueueName.INGEST)
        self._drop(claim)
        log.info("received document %s", document.id)
        return True

    def _refuse(self, claim: Path, path: str, error: MailroomError | OSError) -> None:
        """Move a file that is too large or unreadable to failed/ with the reason. After any other error, which is a
        fault of the surroundings, the claim waits for `recover`."""
        if isinstance(error, MailroomError) and error.code == "upload-too-large":
            reason = Rejected("too-large", error.detail)
        elif isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.ELOOP):
            reason = Rejected("damaged", f"The file could not be opened ({error.strerror}); change its permissions.")
        else:
            log.warning("a claimed file waits: %s", error)
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return
        put_failed(self.root, path, claim, reason, "not received", self._file_mode)
        self._drop(claim)

    def _unlink_others(self, claim: Path) -> None:
        """Replace a claim that has other names, which may lie anywhere, by a copy that has none."""
        if claim.lstat().st_nlink < 2:
            return
        copy = claim.with_name(f".{claim.name}")
        copy.unlink(missing_ok=True)  # of an attempt that was killed
        with open_regular(claim) as linked, new_file(copy, 0o600) as file:
            shutil.copyfileobj(linked, file, CHUNK_BYTES)
        copy.replace(claim)

    def _return(self, claim: Path) -> None:
        """Return a file that changed after it was claimed to its path, or beside it if a new file is there already."""
        path = self.root / os.fsdecode(claim.with_suffix(ORIGIN).read_bytes())
        path.parent.mkdir(parents=True, exist_ok=True)
        for target in (path, path.with_name(f"{uuid.uuid4().hex[:8]}{path.suffix}")):
            if link_new(claim, target):
                break
        self._drop(claim)

    def _drop(self, claim: Path) -> None:
        claim.unlink(missing_ok=True)
        claim.with_suffix(ORIGIN).unlink(missing_ok=True)

    def _original_path(self, claim: Path) -> str:
        """Return the relative path that the file had, as valid text on one line."""
        try:
            raw = claim.with_suffix(ORIGIN).read_bytes()
        except FileNotFoundError:
            raw = os.fsencode(claim.name)
        text = raw.decode("utf-8", "replace")
        return "".join(c if c.isprintable() else " " for c in text)

    def _arrival(self, path: str) -> Arrival:
        """Return the arrival: labels are collected from all sub-folders above, the access list is the nearest one."""
        labels, access = list(self._folder.labels), self._folder.access
        for parent in reversed(PurePosixPath(path).parents):
            if subfolder := self._folder.subfolders.get(str(parent)):
                labels += [label for label in subfolder.labels if label not in labels]
                access = access if subfolder.access is None else subfolder.access
        return Arrival(self._folder.source, path, time.time(), access, tuple(labels))


def open_regular(path: Path) -> BinaryIO:
    """Open a file without following a link that may have replaced it."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
