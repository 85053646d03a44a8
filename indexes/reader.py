"""Readers hold an immutable snapshot and pick up a new generation without a restart."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexes import generations as gen
from indexes.lexical.memory import NothingLexical
from indexes.lexical.tantivy import TantivyLexical, open_index
from indexes.vectors.faiss import FaissVectors, Segment, read_segment
from pipeline.errors import Misconfigured
from pipeline.ports import Lexical, Vectors

log = logging.getLogger(__name__)

#: CURRENT is looked at no more often than this, seconds.
LOOK_EVERY = 0.1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One generation, opened. ``numbers``: the documents in it; ``embedder``: the digest of the model of its vectors."""

    generation: str
    embedder: str
    vectors: Vectors
    lexical: Lexical
    numbers: frozenset[int]


EMPTY = Snapshot("none", "", FaissVectors(()), NothingLexical(), frozenset())


class IndexReader:
    """Thread-safe. ``stale`` says that the newest generation could not be used; ``problem`` why."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problem: str | None = None
        self._lock = threading.Lock()
        self._snapshot = EMPTY
        self._segments: dict[str, Segment] = {}
        self._known: set[gen.Checked] = set()
        self._looked_at = 0.0
        self._seen: tuple[str, int] | None = None

    @property
    def stale(self) -> bool:
        return self.problem is not None

    def snapshot(self) -> Snapshot:
        """The newest usable generation; an empty one before the first is published."""
        # Before the first generation everyone waits for the one who opens it; later one looks and the rest go on.
        first = self._snapshot is EMPTY
        if (first or time.monotonic() - self._looked_at >= LOOK_EVERY) and self._lock.acquire(blocking=first):
            try:
                self._look()
            finally:
                self._lock.release()
        return self._snapshot

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        try:
            folder = gen.current(self.root)
        except (Misconfigured, OSError) as error:
            self.problem = str(error)
            self._take_older(None)
            return
        if folder is None:
            return
        seen = (folder.name, (self.root / "CURRENT").stat().st_mtime_ns)
        if seen == self._seen:
            return
        if self._take(folder):
            self.problem = None
        else:
            self._take_older(folder)
        self._seen = seen

    def _take_older(self, damaged: Path | None) -> None:
        """At start an older generation is better than none, and said to be stale."""
        if self._snapshot is EMPTY:
            any(self._take(older) for older in reversed(gen.generations(self.root)) if older != damaged)

    def _take(self, folder: Path) -> bool:
        try:
            self._snapshot = self._open(folder)
        except (Misconfigured, OSError, RuntimeError, ValueError) as error:
            # A generation may be pruned between reading CURRENT and opening it; the next look finds the newer one.
            self.problem = str(error)
            log.error("generation %s cannot be used: %s", folder.name, error)
            return False
        return True

    def _open(self, folder: Path) -> Snapshot:
        manifest = gen.read_manifest(folder)
        gen.verify(folder, manifest, self._known)
        segments = []
        for entry in manifest.segments:
            held = self._segments.get(entry.name) or read_segment(entry.name, folder / "vectors")
            segments.append(Segment(held.name, held.index, held.keys, frozenset(entry.dropped)))
        self._segments = {segment.name: segment for segment in segments}
        self._known = {known for known in self._known if manifest.files.get(known[0], ("",))[0] == known[1]}
        numbers = frozenset(int(n) for s in segments for n in np.unique(s.documents) if n not in s.dropped)
        lexical = TantivyLexical(open_index(folder / "lexical"), numbers)
        return Snapshot(manifest.generation, manifest.embedder, FaissVectors(segments), lexical, numbers)
