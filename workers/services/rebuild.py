"""The index anew from the catalogue's texts and vectors, beside the one that serves, and adopted when it is whole.

Every `CHECKPOINT` passages are published in a folder of their own: a rebuild that was killed goes on from there. What
the catalogue finishes meanwhile is added after the adoption, by the writer. The index of another embedding model is made
the same way, and lies in its folder until that model is to serve.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from indexes.places import Indexes, Writer, beside
from indexes.vectors.kinds import EXACT_ROWS
from pipeline.disk import write_durably
from pipeline.documents import EmbeddingModel
from pipeline.faults import fault

if TYPE_CHECKING:
    from indexes.catalogue.chunks import ChunkStore

CHECKPOINT = EXACT_ROWS


def folder_of(root: Path, digest: str = "") -> Path:
    """Where the rebuild of an index stands while one is under way; with a digest, the index of that embedding model."""
    return beside(root, f"model-{digest[:16]}" if digest else "rebuild")


@dataclass(frozen=True, slots=True)
class BuildMarker:
    """What a side index is. ``at``: when it was begun (epoch seconds); what was finished later may be missing in it.
    ``whole``: nothing else is."""

    embedder: str
    at: float
    whole: bool = False


def read_marker(root: Path) -> BuildMarker | None:
    try:
        return BuildMarker(**json.loads((root / "begun.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_marker(root: Path, marker: BuildMarker) -> None:
    root.mkdir(parents=True, exist_ok=True)
    write_durably(root / "begun.json", json.dumps(asdict(marker)).encode())


def is_ready(root: Path, model: EmbeddingModel) -> bool:
    """Return True if the model's index is built, so that it can serve at once."""
    marker = read_marker(folder_of(root, model.digest))
    return marker is not None and marker.whole and marker.embedder == model.digest


class SideIndex:
    """`advance` until it is True: then the folder holds one whole generation. ``done``: documents so far, those of an earlier
    attempt included."""

    def __init__(self, chunks: ChunkStore, indexes: Indexes, root: Path, model: EmbeddingModel) -> None:
        self.root, self._indexes = root, indexes
        self.marker = self._begun(model.digest)
        self._writer = indexes.writer(model, root, compacting=False)
        held = self._writer.numbers
        self.done = len(held)
        self._source = chunks.scan(model.digest, int(held.array[-1]) if self.done else 0)
        self._scanned, self._rows = False, 0

    def _begun(self, digest: str) -> BuildMarker:
        """When this was begun, by whichever process. One of another model is thrown away."""
        marker = read_marker(self.root)
        if marker is None or marker.embedder != digest:
            self._indexes.drop(self.root)
            marker = BuildMarker(digest, time.time())
            write_marker(self.root, marker)
        return marker

    def advance(self, seconds: float | None = None) -> bool:
        """Work for about so long (None: to the end); True once it is whole, and closed."""
        until = time.monotonic() + seconds if seconds is not None else float("inf")
        if not self._scanned and not self._scan(until):
            return False
        if seconds is None:
            self._writer.await_compaction()
        if self._writer.is_compacting:
            return False
        self._writer.publish(anyway=True)
        self._writer.close()
        write_marker(self.root, BuildMarker(self.marker.embedder, self.marker.at, whole=True))
        return True

    def _scan(self, until: float) -> bool:
        for document, chunks, vectors in self._source:
            self._writer.add(document.number, chunks, vectors, document.title, document.name)
            self.done, self._rows = self.done + 1, self._rows + len(chunks)
            if self._rows >= CHECKPOINT:
                self._writer.publish()
                self._rows = 0
                fault("rebuild.checkpoint")
            if time.monotonic() > until:
                return False
        self._writer.publish()
        self._writer.compact()
        self._scanned = True
        return True

    def close(self) -> None:
        """Leave it as it is, to be gone on with."""
        self._writer.close()


class Rebuild:
    """`advance` until it is True: then the new index is the current one."""

    def __init__(self, chunks: ChunkStore, indexes: Indexes, main: Writer) -> None:
        self._main = main
        model = EmbeddingModel(main.embedder, main.model, main.dimension)
        self._side = SideIndex(chunks, indexes, folder_of(main.root), model)

    @property
    def done(self) -> int:
        return self._side.done

    @property
    def begun_at(self) -> float:
        """Epoch seconds, of whichever process began it."""
        return self._side.marker.at

    def advance(self, seconds: float | None = None) -> bool:
        """As `SideIndex.advance`."""
        if not self._side.advance(seconds):
            return False
        self._main.adopt(self._side.root, self._side.marker.at)
        shutil.rmtree(self._side.root, ignore_errors=True)
        return True

    def close(self) -> None:
        """Leave it as it is, to be gone on with."""
        self._side.close()


def set_aside(main: Writer) -> None:
    """Keep the index that serves as the index of its model, to be adopted again."""
    target = folder_of(main.root, main.embedder)
    made_at = main.set_aside(target)
    if made_at is not None:
        write_marker(target, BuildMarker(main.embedder, made_at, whole=True))
