"""Merging of vector segments: which ones, and the thread that merges while search and additions go on."""

from __future__ import annotations

import logging
import math
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

from indexes.integrity import seal
from indexes.vectors.kinds import EXACT_ROWS
from indexes.vectors.segments import Segment, files_of, merge
from pipeline.document_numbers import DocumentNumbers

log = logging.getLogger(__name__)

#: More small segments than this are merged into one; so are as many large ones of about the same size.
MANY = 4
#: Large segments whose sizes differ by less than this factor are of about the same size.
FACTOR = 4
#: A large segment is rewritten when more than this share of its rows belongs to removed documents.
DEAD_SHARE = 0.2


def choose(segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments that should be merged into one now; empty where there are none."""
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


def choose_to_purge(segments: Sequence[Segment]) -> list[Segment]:
    """Return segments that hold rows of removed documents: all small ones, otherwise a large one; empty for none."""
    affected = [segment for segment in segments if len(segment.dropped)]
    small = [segment for segment in affected if segment.live_count <= EXACT_ROWS]
    while small and not is_quick(small):
        small = small[: len(small) // 2]
    return small or affected[:1]


def is_quick(segments: Sequence[Segment]) -> bool:
    """Return True if merging the segments takes milliseconds: no index has to be trained."""
    return sum(s.live_count for s in segments) <= EXACT_ROWS


class Compaction:
    """One merge in a thread, into the folder "compacting"; what a crash leaves there is removed at the next start.

    ``result`` is the merged segment (None where no row is left), ``files`` its digests and sizes by path in a
    generation, ``error`` why it failed; read them after `done`. ``large``: the kind of a large segment, empty for the
    usual one. FAISS and numpy release Python's lock while they compute.
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
        """The names of the segments that are merged."""
        return frozenset(segment.name for segment in self.sources)

    @property
    def done(self) -> bool:
        """True once the merge has ended, well or not."""
        return not self._thread.is_alive()

    def wait(self) -> None:
        """Wait until `done`."""
        self._thread.join()

    def _run(self) -> None:
        try:
            result = merge(uuid.uuid4().hex, self.sources, self.folder, self._large)
            for name in files_of(result.name, result.kind) if result else ():
                self.files[f"vectors/{name}"] = seal(self.folder / name)
            self.result = result
        except Exception as error:  # stored for the caller to report; segments stay unchanged
            log.exception("segments could not be merged")
            self.error = error

    def replace_sources(self, segments: Sequence[Segment]) -> list[Segment]:
        """Return ``segments`` with the sources replaced by the result.

        Documents dropped from a source since the merge began are dropped from the result.
        """
        dropped_now = {segment.name: segment.dropped for segment in segments}
        since = DocumentNumbers()
        for source in self.sources:
            since = since | (dropped_now.get(source.name, source.documents) - source.dropped)
        others = [segment for segment in segments if segment.name not in self.names]
        return others if self.result is None else [*others, self.result.without(since)]
