"""Merging of vector segments: which ones, and the thread that does it while search and additions go on."""

from __future__ import annotations

import logging
import math
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

from indexes.integrity import sealed
from indexes.vectors.kinds import EXACT_ROWS
from indexes.vectors.segments import Segment, files_of, merge
from pipeline.document_numbers import DocumentNumbers

log = logging.getLogger(__name__)

#: More small segments than this are made one; as many large ones of about the same size, too.
MANY = 4
#: Large segments whose sizes differ by less than this factor are of about the same size.
FACTOR = 4
#: A large segment is written anew when more of its rows than this share are of documents that are gone.
DEAD_SHARE = 0.2


def choose(segments: Sequence[Segment]) -> list[Segment]:
    """What should be merged into one now; empty when all is well."""
    small = [s for s in segments if s.live_count <= EXACT_ROWS]
    if len(small) > MANY:
        return small
    tiers: dict[int, list[Segment]] = {}
    for segment in segments:
        if segment.live_count > EXACT_ROWS:
            tiers.setdefault(int(math.log(segment.live_count / EXACT_ROWS, FACTOR)), []).append(segment)
    for tier in tiers.values():
        if len(tier) >= MANY:
            return tier
    return next(([s] for s in segments if len(s) > EXACT_ROWS and s.live_count < (1 - DEAD_SHARE) * len(s)), [])


def is_quick(segments: Sequence[Segment]) -> bool:
    """Whether merging them takes milliseconds: no index has to be trained."""
    return sum(s.live_count for s in segments) <= EXACT_ROWS


class Compaction:
    """One merge in a thread, into a folder of its own; what a crash leaves there is removed at the next start. ``large``:
    the kind that a large segment gets, empty for the usual.

    FAISS and numpy let go of Python's lock while they compute.
    """

    def __init__(self, root: Path, sources: Sequence[Segment], large: str = "") -> None:
        self._large = large
        self.folder = root / "compacting"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.sources = tuple(sources)
        self.result: Segment | None = None
        self.files: dict[str, tuple[str, int]] = {}
        self.error: Exception | None = None
        self._thread = Thread(target=self._run, daemon=True, name="compaction")
        self._thread.start()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(segment.name for segment in self.sources)

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def wait(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            result = merge(uuid.uuid4().hex, self.sources, self.folder, self._large)
            for name in files_of(result.name, result.kind) if result else ():
                self.files[f"vectors/{name}"] = sealed(self.folder / name)
            self.result = result
        except Exception as error:  # said by whoever asks; the segments stay as they are
            log.exception("segments could not be merged")
            self.error = error

    def absorb(self, segments: Sequence[Segment]) -> list[Segment]:
        """``segments`` with the sources replaced by the result. What was dropped from a source meanwhile is dropped from
        the result."""
        now = {s.name: s.dropped for s in segments}
        since = DocumentNumbers()
        for source in self.sources:
            since = since | (now.get(source.name, source.documents) - source.dropped)
        kept = [s for s in segments if s.name not in self.names]
        return kept if self.result is None else [*kept, self.result.without(since)]
