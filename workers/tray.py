"""The tray: a watched folder. A file is taken when it is complete, claimed by a rename, and let go of only when the
ledger has it.

    settle   regular file; size, time and inode unchanged for a while; opens as what it claims
    claim    rename into .claim/ID-NAME: two watchers never take one file
    receive  bytes into the blob store (fsync), row into the catalogue (commit), hint
    let go   unlink the claim; after a crash the claims that are left are received again, which changes nothing
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from watchfiles import watch

from pipeline.documents import Lane, Sighting
from pipeline.errors import MailroomError, Rejected
from pipeline.parse.complete import is_complete
from workers.assemble import House
from workers.failed import FAILED, put_failed
from workers.hints import Hints
from workers.process import Stopping
from workers.settings import TrayFolder

log = logging.getLogger(__name__)

CLAIMS = ".claim"
#: What programs write while they are not done.
UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".download", ".swp", "~")
PIECE = 1 << 20
#: File systems on which inotify does not see what other machines write.
NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "vboxsf", "virtiofs", "ceph", "glusterfs"}


@dataclass(frozen=True, slots=True)
class Look:
    """What must not change while a file settles."""

    size: int
    modified_ns: int
    inode: int


class Tray:
    """One watched folder. `scan` takes what is complete; `recover` finishes what a crash left."""

    def __init__(self, house: House, folder: TrayFolder, hints: Hints | None = None) -> None:
        self._house, self._folder = house, folder
        self.root = house.settings.tray_path(folder)
        self._hints = hints or Hints(house.settings)
        self._claims = self.root / CLAIMS
        self._seen: dict[Path, tuple[Look, float, float]] = {}
        for path in (self.root, self._claims, self.root / FAILED):
            path.mkdir(parents=True, exist_ok=True)

    @property
    def settling(self) -> bool:
        """Whether files are waiting to be complete."""
        return bool(self._seen)

    def recover(self) -> int:
        """Receive the claims that an earlier run left behind."""
        return sum(self._receive(path) for path in sorted(self._claims.iterdir()) if not path.name.endswith(".path"))

    def scan(self) -> int:
        """Look through the folder once; returns how many documents were received."""
        now, settings = time.monotonic(), self._house.settings.tray
        present: dict[Path, tuple[Look, float, float]] = {}
        taken = 0
        for path, look in self._files():
            before = self._seen.get(path)
            first, since = (before[1], before[2]) if before else (now, now)
            since = since if before and before[0] == look else now
            settled = now - since >= settings.stable_seconds
            if settled and self._is_ready(path, now - first >= settings.patience_seconds):
                taken += self._take(path, look)
            else:
                present[path] = (look, first, since)
        self._seen = present
        return taken

    def _files(self) -> Iterator[tuple[Path, Look]]:
        """Regular files that could be taken, links and special files left alone."""
        for folder, folders, names in os.walk(self.root):
            top = Path(folder) == self.root
            folders[:] = [f for f in folders if not f.startswith(".") and not (top and f == FAILED)]
            for name in names:
                path = Path(folder) / name
                if name.startswith((".", "~$")) or name.lower().endswith(UNFINISHED):
                    continue
                if (look := look_at(path)) is not None:
                    yield path, look

    def _is_ready(self, path: Path, out_of_patience: bool) -> bool:
        try:
            complete, why = is_complete(path)
        except OSError:
            return False
        if not complete and not out_of_patience:
            log.debug("waiting for %r: %s", path.name, why)
        # After long enough it is taken as it is; the parser then says what is wrong with it.
        return complete or out_of_patience

    def _take(self, path: Path, look: Look) -> bool:
        claim = self._claims / f"{uuid.uuid4().hex}"
        # The place it came from must outlive a crash between the rename and the commit.
        claim.with_suffix(".path").write_bytes(os.fsencode(path.relative_to(self.root)))
        try:
            path.rename(claim)
        except OSError as error:
            log.info("%r was gone or could not be claimed: %s", path.name, error.strerror)
            claim.with_suffix(".path").unlink(missing_ok=True)
            return False
        if look_at(claim) != look:
            self._give_back(claim)
            return False
        return self._receive(claim)

    def _receive(self, claim: Path) -> bool:
        place = self._place_of(claim)
        try:
            before = look_at(claim)
            revision, size = self._house.blobs.put(pieces(claim), limit=self._house.settings.api.upload_max_bytes)
            if look_at(claim) != before:
                self._give_back(claim)
                return False
            document, created = self._house.catalogue.documents.receive(revision, size, self._sighting(place))
        except MailroomError as error:
            self._refuse(claim, place, error)
            return False
        if created:
            self._hints.nudge(self._house.catalogue.ledger, Lane.INGEST)
        claim.unlink()
        claim.with_suffix(".path").unlink(missing_ok=True)
        log.info("received document %s", document.id)
        return True

    def _refuse(self, claim: Path, place: str, error: MailroomError) -> None:
        """Too large: into failed/ with its reason. Anything else is the surroundings': the claim waits for `recover`."""
        if error.code != "upload-too-large":
            log.warning("a claimed file waits: %s", error)
            return
        put_failed(self.root, place, claim, Rejected("too-large", error.detail), "not received")
        claim.with_suffix(".path").unlink(missing_ok=True)

    def _give_back(self, claim: Path) -> None:
        """It changed under us: back to its place, unless something new is there already."""
        place = self.root / os.fsdecode(claim.with_suffix(".path").read_bytes())
        if place.exists():
            place = place.with_name(f"{uuid.uuid4().hex[:8]}-{place.name}")
        place.parent.mkdir(parents=True, exist_ok=True)
        claim.rename(place)
        claim.with_suffix(".path").unlink(missing_ok=True)

    def _place_of(self, claim: Path) -> str:
        try:
            raw = claim.with_suffix(".path").read_bytes()
        except FileNotFoundError:
            raw = os.fsencode(claim.name)
        return raw.decode("utf-8", "replace").replace("\n", " ").replace("\r", " ").replace("\0", " ")

    def _sighting(self, place: str) -> Sighting:
        labels, access = list(self._folder.labels), self._folder.access
        for parent in reversed(PurePosixPath(place).parents):
            if sub := self._folder.subfolders.get(str(parent)):
                labels += [label for label in sub.labels if label not in labels]
                access = access if sub.access is None else sub.access
        return Sighting(self._folder.source, place, time.time(), access, tuple(labels))


def look_at(path: Path) -> Look | None:
    """The file as it stands; None for what is no regular file or has gone."""
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return Look(found.st_size, found.st_mtime_ns, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def pieces(path: Path) -> Iterator[bytes]:
    """The file's bytes, without following a link that took its place."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        while piece := file.read(PIECE):
            yield piece


def needs_polling(path: Path) -> bool:
    """Whether inotify cannot be relied on: the folder is on a network file system."""
    best, kind = "", ""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, filesystem, *_ = line.split()
        mount = mount.replace("\\040", " ")
        if str(path.resolve()).startswith(mount.rstrip("/") + "/") and len(mount) > len(best):
            best, kind = mount, filesystem
    return kind in NETWORK


class Watcher:
    """All trays of one installation: woken by events where the system gives them, else by the clock."""

    def __init__(self, house: House) -> None:
        hints = Hints(house.settings)
        self._house = house
        self._trays = [Tray(house, folder, hints) for folder in house.settings.tray.folders]
        self._stirred = threading.Event()

    def run(self, stopping: Stopping) -> None:
        settings = self._house.settings.tray
        self._listen(stopping)
        for tray in self._trays:
            tray.recover()
        # While something settles the folder is looked at often; otherwise an event or the clock wakes us.
        while not stopping:
            for tray in self._trays:
                self._guarded(tray)
            settling = any(tray.settling for tray in self._trays)
            pause = (
                min(settings.scan_seconds, max(0.1, settings.stable_seconds / 3)) if settling else settings.scan_seconds
            )
            self._stirred.wait(pause)
            self._stirred.clear()
            stopping.wait(0.05)

    def _guarded(self, tray: Tray) -> None:
        try:
            tray.recover()
            tray.scan()
        except (MailroomError, OSError) as error:
            log.warning("tray %s: %s", tray.root, error)

    def _listen(self, stopping: Stopping) -> None:
        roots = [tray.root for tray in self._trays if not needs_polling(tray.root)]
        if roots:
            threading.Thread(target=self._events, args=(roots, stopping), daemon=True, name="inotify").start()

    def _events(self, roots: list[Path], stopping: Stopping) -> None:
        try:
            for _ in watch(*roots, stop_event=stopping, rust_timeout=1000, yield_on_timeout=False, debounce=200):
                self._stirred.set()
        except Exception as error:  # no inotify here: the clock is enough
            log.warning("no events for the trays (%s); they are polled", error)
