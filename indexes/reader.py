"""Readers hold an immutable snapshot and pick up a new generation without a restart."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from indexes import generations as gen
from indexes.integrity import Checked, Files
from indexes.lexical.memory import NothingLexical
from indexes.lexical.tantivy import TantivyLexical, open_to_read
from indexes.vectors.faiss import FaissVectors
from indexes.vectors.segments import Segment, read_segment
from pipeline.document_numbers import DocumentNumbers
from pipeline.errors import Misconfigured
from pipeline.ports import Lexical, Vectors

log = logging.getLogger(__name__)

#: CURRENT is looked at no more often than this, seconds.
LOOK_EVERY = 0.1
#: The files of the open generation are looked over no more often than this, seconds.
CHECK_EVERY = 1.0
#: After a generation could not be opened it is tried again: the first pause, doubled up to the last. What made it fail
#: may pass (no file handles, a network folder away), and a file may be put right.
FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0
#: A new generation with more unseen bytes than this is checked by a thread of its own, and no search waits for it.
MANY_BYTES = 32_000_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One generation, opened. ``numbers``: the documents in it; ``embedder``: the digest of the model of its vectors,
    ``model`` its name; ``without_vectors``: how many documents that model has not embedded yet."""

    generation: str
    embedder: str
    vectors: Vectors
    lexical: Lexical
    numbers: DocumentNumbers
    model: str = ""
    without_vectors: int = 0


EMPTY = Snapshot("none", "", FaissVectors(()), NothingLexical(), DocumentNumbers())


class IndexReader:
    """Thread-safe. ``stale`` says that the newest generation could not be used; ``problem`` why."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problem: str | None = None
        self._lock = threading.Lock()
        self._snapshot = EMPTY
        self._segments: dict[str, Segment] = {}
        self._checked = Checked()
        self._open_files: tuple[Path, Files] | None = None
        self._looked_at = self._looked_over_at = 0.0
        self._seen: gen.Pointer | None = None
        self._pause, self._again_at = FIRST_PAUSE, 0.0

    @property
    def stale(self) -> bool:
        return self.problem is not None

    def snapshot(self) -> Snapshot:
        """The newest usable generation; an empty one before the first is published."""
        # Before the first generation everyone waits for the one who opens it; later one looks and the rest go on.
        first = self._snapshot is EMPTY
        if (first or time.monotonic() - self._looked_at >= LOOK_EVERY) and self._lock.acquire(blocking=first):
            aside = False
            try:
                aside = self._look()
            finally:
                if not aside:
                    self._lock.release()
        return self._snapshot

    def _look(self) -> bool:
        """Take what is new. True where a thread goes on with it, holding the lock."""
        self._looked_at = time.monotonic()
        self._let_go_of_damage()
        try:
            pointer = gen.read_pointer(self.root)
            if pointer is None:
                self._nothing_published()
                return False
        except (Misconfigured, OSError) as error:
            self._fail(str(error))
            return False
        if pointer == self._seen and (self.problem is None or self._looked_at < self._again_at):
            return False
        if self._snapshot is not EMPTY and self._unseen_bytes(pointer) > MANY_BYTES:
            threading.Thread(target=self._follow_aside, args=(pointer,), daemon=True, name="reader").start()
            return True
        self._follow(pointer)
        return False

    def _let_go_of_damage(self) -> None:
        """Close a generation that somebody writes to: its files are mapped, and what is in them now would be served."""
        if self._open_files is None or self._looked_at - self._looked_over_at < CHECK_EVERY:
            return
        self._looked_over_at = self._looked_at
        folder, files = self._open_files
        if (path := self._checked.written_to(folder, files)) is not None:
            log.error("generation %s: %s was altered while it was open", folder.name, path)
            self._snapshot, self._segments, self._seen, self._open_files = EMPTY, {}, None, None

    def _follow_aside(self, pointer: gen.Pointer) -> None:
        try:
            self._follow(pointer)
        finally:
            self._lock.release()

    def _follow(self, pointer: gen.Pointer) -> None:
        folder = self.root / "generations" / pointer.name
        self._seen = pointer
        if self._take(folder, pointer.digest):
            self.problem, self._pause = None, FIRST_PAUSE

    def _nothing_published(self) -> None:
        """Before the first publication, or after somebody took the folder away."""
        if self._snapshot is not EMPTY or gen.generations(self.root):
            self._fail(f"There is no CURRENT in {self.root}; the last generation that was opened is searched.")

    def _fail(self, problem: str) -> None:
        """Say so, try again later, and at the start take an older generation: better than none."""
        self.problem = problem
        self._again_at = time.monotonic() + self._pause
        self._pause = min(LAST_PAUSE, 2 * self._pause)
        if self._snapshot is EMPTY:
            any(self._open_quietly(older) for older in reversed(gen.generations(self.root)))

    def _unseen_bytes(self, pointer: gen.Pointer) -> int:
        try:
            files = gen.read_manifest(self.root / "generations" / pointer.name, pointer.digest).files
        except (Misconfigured, OSError):
            return 0
        return self._checked.unseen(files)

    def _take(self, folder: Path, digest: str) -> bool:
        try:
            self._snapshot = self._open(folder, digest)
        except (Misconfigured, OSError, RuntimeError, ValueError) as error:
            # A generation may be pruned between reading CURRENT and opening it; the next look finds the newer one.
            log.error("generation %s cannot be used: %s", folder.name, error)
            self._fail(str(error))
            return False
        return True

    def _open_quietly(self, folder: Path) -> bool:
        try:
            self._snapshot = self._open(folder, None)
        except (Misconfigured, OSError, RuntimeError, ValueError):
            return False
        return True

    def _open(self, folder: Path, digest: str | None) -> Snapshot:
        manifest = gen.read_manifest(folder, digest)
        self._checked.verify(folder, manifest.files)
        segments = []
        for entry in manifest.segments:
            held = self._segments.get(entry.name)
            if held is None:
                held = read_segment(entry.name, entry.kind, manifest.dimension, folder / "vectors", entry.dropped)
            same = len(held.dropped) == len(entry.dropped)  # documents are only ever added to the list
            segments.append(held if same else held.without(DocumentNumbers(entry.dropped)))
        lexical_index = open_to_read(folder / "lexical")
        numbers = DocumentNumbers(manifest.without_vectors)
        for segment in segments:
            numbers = numbers | (segment.documents - segment.dropped)
        self._segments = {segment.name: segment for segment in segments}
        self._checked.forget_but(manifest.files)
        self._open_files = folder, manifest.files
        return Snapshot(
            manifest.generation,
            manifest.embedder,
            FaissVectors(segments),
            TantivyLexical(lexical_index, numbers),
            numbers,
            manifest.model,
            len(manifest.without_vectors),
        )
