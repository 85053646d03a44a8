"""The tray: a watched folder. A file is taken when it is complete, claimed by a rename, and let go of only when the
job store has it.

    settle   regular file; size, time and inode unchanged for a while; open for writing nowhere; opens as what it claims
    claim    rename to .claim/ID, its place written down beforehand: two watchers never take one file
    receive  bytes into the blob store (fsync), row into the catalogue (commit), hint
    let go   unlink the claim; after a crash the claims that are left are received again, which changes nothing
"""

from __future__ import annotations

import errno
import logging
import os
import time
import uuid
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from pipeline.disk import new_file
from pipeline.documents import Arrival, Document, QueueName, State
from pipeline.errors import MailroomError, Rejected
from pipeline.faults import fault
from pipeline.ports import Blobs
from workers.queue.notify import Notifier
from workers.services.failed_folder import FAILED, put_failed
from workers.services.intake import Intake
from workers.settings import Settings, TrayFolder
from workers.tray.completeness import Candidate, Look, files, is_ready, look_at

if TYPE_CHECKING:
    from indexes.catalogue.jobs import JobStore

log = logging.getLogger(__name__)

CLAIMS = ".claim"
PLACE = ".path"
PIECE = 1 << 20
#: Seconds before a claim that could not be received (disk full, catalogue away) is tried again.
AGAIN_SECONDS = 5.0


class Tray:
    """One watched folder. `scan` takes what is complete; `recover` finishes what a crash, or a full disk, left."""

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
        self._seen: dict[Path, Candidate] = {}
        self._again_at = 0.0
        for path in (self.root, self._claims, self.root / FAILED):
            path.mkdir(parents=True, exist_ok=True)

    @property
    def settling(self) -> bool:
        """Whether files are waiting to be complete."""
        return bool(self._seen)

    def recover(self) -> int:
        """Receive the claims that an earlier run left behind, or that had to wait."""
        if time.monotonic() < self._again_at:
            return 0
        self._again_at = time.monotonic() + AGAIN_SECONDS
        left = sorted(path for path in self._claims.iterdir() if not path.name.startswith("."))
        for place in left:
            if place.suffix == PLACE and not place.with_suffix("").exists():
                place.unlink(missing_ok=True)  # the crash came before the rename
        return sum(self._receive(path) for path in left if path.suffix != PLACE and look_at(path) is not None)

    def scan(self) -> int:
        """Look through the folder once; returns how many arrivals were received."""
        now = time.monotonic()
        present: dict[Path, Candidate] = {}
        taken = 0
        for path, look in files(self.root, FAILED):
            known = self._seen.get(path)
            if known is None or known.look != look:
                known = Candidate(look, now, known.first if known else now)
            if self._is_ready(path, known, now):
                taken += self._take(path, look)
            else:
                present[path] = known
        self._seen = present
        return taken

    def _is_ready(self, path: Path, candidate: Candidate, now: float) -> bool:
        """What cannot be opened waits until patience ends; then it goes to failed/, told of, whoever it belongs to."""
        settings = self._settings.tray
        try:
            return is_ready(path, candidate, now, settings.stable_seconds, settings.patience_seconds)
        except OSError:
            return now - candidate.since >= settings.patience_seconds

    def _take(self, path: Path, look: Look) -> bool:
        claim = self._claims / uuid.uuid4().hex
        try:
            # The place it came from must outlive a crash between the rename and the commit.
            with new_file(claim.with_suffix(PLACE)) as file:
                file.write(os.fsencode(path.relative_to(self.root)))
            path.rename(claim)
        except OSError as error:
            log.warning("%r could not be claimed: %s", path.name, error.strerror)
            claim.with_suffix(PLACE).unlink(missing_ok=True)
            return False
        fault("tray.claimed", path.name)
        if look_at(claim) != look:
            self._give_back(claim)
            return False
        return self._receive(claim)

    def _receive(self, claim: Path) -> bool:
        place, before = self._place_of(claim), look_at(claim)
        try:
            with opened(claim) as file:
                limit = self._settings.api.upload_max_bytes
                content_hash, size = self._blobs.put(iter(lambda: file.read(PIECE), b""), limit)
            fault("tray.stored", place)
            if look_at(claim) != before:
                self._give_back(claim)
                return False
            document, created = self._intake.record(content_hash, size, self._sighting(place))
        except (MailroomError, OSError) as error:
            self._refuse(claim, place, error)
            return False
        fault("tray.received", place)
        if not created:
            self._once_more(document)
        self._let_go(claim)
        log.info("received document %s", document.id)
        return True

    def _once_more(self, document: Document) -> None:
        """A content that failed before and is dropped in again is tried again: a file never vanishes without an answer."""
        if document.state in (State.FAILED, State.QUARANTINED) and self._jobs.retry(document.id):
            self._notifier.notify(self._jobs, QueueName.INGEST)

    def _refuse(self, claim: Path, place: str, error: MailroomError | OSError) -> None:
        """Too large, or not ours to read: into failed/ with its reason. Anything else is the surroundings', and the claim
        waits for `recover`."""
        if isinstance(error, MailroomError) and error.code == "upload-too-large":
            reason = Rejected("too-large", error.detail)
        elif isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.ELOOP):
            reason = Rejected("damaged", f"The file could not be opened ({error.strerror}); change its permissions.")
        else:
            log.warning("a claimed file waits: %s", error)
            self._again_at = time.monotonic() + AGAIN_SECONDS
            return
        put_failed(self.root, place, claim, reason, "not received")
        self._let_go(claim)

    def _give_back(self, claim: Path) -> None:
        """It changed under us: back to its place, unless something new is there already."""
        place = self.root / os.fsdecode(claim.with_suffix(PLACE).read_bytes())
        place.parent.mkdir(parents=True, exist_ok=True)
        for target in (place, place.with_name(f"{uuid.uuid4().hex[:8]}{place.suffix}")):
            try:
                target.hardlink_to(claim)
                break
            except FileExistsError:
                continue
        self._let_go(claim)

    def _let_go(self, claim: Path) -> None:
        claim.unlink(missing_ok=True)
        claim.with_suffix(PLACE).unlink(missing_ok=True)

    def _place_of(self, claim: Path) -> str:
        """The relative path that the file had, as valid text on one line."""
        try:
            raw = claim.with_suffix(PLACE).read_bytes()
        except FileNotFoundError:
            raw = os.fsencode(claim.name)
        text = raw.decode("utf-8", "replace")
        return "".join(c if c.isprintable() else " " for c in text)

    def _sighting(self, place: str) -> Arrival:
        """Labels add up on the way down the sub-folders; the access list is the nearest one configured."""
        labels, access = list(self._folder.labels), self._folder.access
        for parent in reversed(PurePosixPath(place).parents):
            if sub := self._folder.subfolders.get(str(parent)):
                labels += [label for label in sub.labels if label not in labels]
                access = access if sub.access is None else sub.access
        return Arrival(self._folder.source, place, time.time(), access, tuple(labels))


def opened(path: Path) -> BinaryIO:
    """The file, without following a link that took its place."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
