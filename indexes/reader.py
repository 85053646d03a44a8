"""The reader of an index folder: holds an immutable snapshot and picks up a new generation without a restart."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from pathlib import Path

from indexes import generations as gen
from indexes.integrity import Files, VerifiedFiles
from indexes.lexical.empty import EmptyLexical
from indexes.lexical.tantivy import TantivyLexical, open_to_read
from indexes.vectors.faiss import FaissVectors
from indexes.vectors.segments import Segment, read_segment
from pipeline.document_numbers import DocumentNumbers
from pipeline.errors import Misconfigured
from pipeline.ports import Snapshot

log = logging.getLogger(__name__)

#: CURRENT is read no more often than this, seconds.
POLL_SECONDS = 0.1
#: The files of the open generation are checked no more often than this, seconds.
CHECK_SECONDS = 1.0
#: A generation that could not be opened is tried again: the first pause, doubled up to the last. The cause may pass
#: (no file handles, a network folder away), and a file may be repaired.
FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0
#: A new generation with more unverified bytes than this is verified by a thread of its own, and no search waits for it.
MANY_BYTES = 32_000_000

EMPTY = Snapshot("none", "", FaissVectors(()), EmptyLexical(), DocumentNumbers())


class FolderReader:
    """Implements `pipeline.ports.IndexReader` over generations in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problem: str | None = None
        self._lock = threading.Lock()
        self._snapshot = EMPTY
        self._segments: dict[str, Segment] = {}
        self._verified = VerifiedFiles()
        self._open_files: tuple[Path, Files] | None = None
        self._polled_at = self._checked_at = 0.0
        self._followed: gen.Pointer | None = None
        self._pause, self._retry_at = FIRST_PAUSE, 0.0

    @property
    def stale(self) -> bool:
        """True while the newest generation cannot be used and an older one is searched."""
        return self.problem is not None

    def snapshot(self) -> Snapshot:
        """Return the newest usable generation; an empty one before the first is published."""
        # Before the first generation every caller waits for the one that opens it; later one polls and the others go
        # on.
        first = self._snapshot is EMPTY
        if (first or time.monotonic() - self._polled_at >= POLL_SECONDS) and self._lock.acquire(blocking=first):
            in_thread = False
            try:
                in_thread = self._poll()
            finally:
                if not in_thread:
                    self._lock.release()
        return self._snapshot

    def _poll(self) -> bool:
        """Follow a new generation. Returns True where a thread does so, which then releases the lock."""
        self._polled_at = time.monotonic()
        self._close_if_altered()
        try:
            pointer = gen.read_pointer(self.root)
            if pointer is None:
                if self._snapshot is not EMPTY or gen.generations(self.root):
                    self._fail(f"There is no CURRENT in {self.root}; the last generation that was opened is searched.")
                return False
        except (Misconfigured, OSError) as error:
            self._fail(str(error))
            return False
        if pointer == self._followed and (self.problem is None or self._polled_at < self._retry_at):
            return False
        if self._snapshot is not EMPTY and self._unverified_bytes(pointer) > MANY_BYTES:
            threading.Thread(target=self._follow_in_thread, args=(pointer,), daemon=True, name="reader").start()
            return True
        self._follow(pointer)
        return False

    def _close_if_altered(self) -> None:
        """Close a generation that somebody writes to: its files are mapped, so the altered bytes would be served."""
        if self._open_files is None or self._polled_at - self._checked_at < CHECK_SECONDS:
            return
        self._checked_at = self._polled_at
        folder, files = self._open_files
        if (path := self._verified.altered_in_place(folder, files)) is not None:
            log.error("generation %s: %s was altered while it was open", folder.name, path)
            self._snapshot, self._segments, self._followed, self._open_files = EMPTY, {}, None, None

    def _follow_in_thread(self, pointer: gen.Pointer) -> None:
        try:
            self._follow(pointer)
        finally:
            self._lock.release()

    def _follow(self, pointer: gen.Pointer) -> None:
        folder = self.root / "generations" / pointer.name
        self._followed = pointer
        try:
            self._snapshot = self._open(folder, pointer.digest)
        except (Misconfigured, OSError, RuntimeError, ValueError) as error:
            # A generation may be pruned between reading CURRENT and opening it; the next poll finds the newer one.
            log.error("generation %s cannot be used: %s", folder.name, error)
            self._fail(str(error))
            return
        self.problem, self._pause = None, FIRST_PAUSE

    def _fail(self, problem: str) -> None:
        """Record the problem, retry later, and at the start open an older generation: better than none."""
        self.problem = problem
        self._retry_at = time.monotonic() + self._pause
        self._pause = min(LAST_PAUSE, 2 * self._pause)
        for older in reversed(gen.generations(self.root)) if self._snapshot is EMPTY else ():
            with suppress(Misconfigured, OSError, RuntimeError, ValueError):
                self._snapshot = self._open(older, None)
                break

    def _unverified_bytes(self, pointer: gen.Pointer) -> int:
        try:
            files = gen.read_manifest(self.root / "generations" / pointer.name, pointer.digest).files
        except (Misconfigured, OSError):
            return 0
        return self._verified.unverified_bytes(files)

    def _open(self, folder: Path, digest: str | None) -> Snapshot:
        manifest = gen.read_manifest(folder, digest)
        self._verified.verify(folder, manifest.files)
        segments = [self._segment(entry, manifest.dimension, folder / "vectors") for entry in manifest.segments]
        lexical_index = open_to_read(folder / "lexical")
        numbers = DocumentNumbers(manifest.without_vectors)
        for segment in segments:
            numbers = numbers | (segment.documents - segment.dropped)
        self._segments = {segment.name: segment for segment in segments}
        self._verified.forget_except(manifest.files)
        self._open_files = folder, manifest.files
        return Snapshot(
            generation=manifest.generation,
            embedder=manifest.embedder,
            vectors=FaissVectors(segments),
            lexical=TantivyLexical(lexical_index, numbers),
            numbers=numbers,
            model=manifest.model,
            without_vectors=len(manifest.without_vectors),
        )

    def _segment(self, entry: gen.SegmentEntry, dimension: int, folder: Path) -> Segment:
        """Return a segment of the last snapshot where it is the same, otherwise open it."""
        segment = self._segments.get(entry.name)
        if segment is None:
            return read_segment(entry.name, entry.kind, dimension, folder, entry.dropped)
        unchanged = len(segment.dropped) == len(entry.dropped)  # documents are only ever added to the list
        return segment if unchanged else segment.without(DocumentNumbers(entry.dropped))
