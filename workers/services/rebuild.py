"""Rebuild of the index from the catalogue's texts and vectors, while the current one serves; adopted when it is
complete.

Every `CHECKPOINT` chunks are published in a folder of their own: a rebuild that was killed resumes from there. What the
catalogue finishes meanwhile is added by the writer after the adoption. The index of a candidate embedding model is
built in the same way, and stays in its folder until that model is to serve.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from indexes.places import Indexes, index_folder
from indexes.vectors.kinds import EXACT_ROWS
from pipeline.disk import write_durably
from pipeline.documents import EmbeddingModel
from pipeline.faults import fault

if TYPE_CHECKING:
    from indexes.catalogue.chunks import ChunkStore
    from pipeline.document_numbers import DocumentNumbers
    from pipeline.ports import IndexWriter

CHECKPOINT = EXACT_ROWS
MARKER = "build.json"
#: A file of this name in the index's folder requests a rebuild.
REBUILD_REQUEST = "rebuild.request"


@dataclass(frozen=True, slots=True)
class BuildMarker:
    """What a folder holds an index of: written when its build starts, and again when it is complete.

    ``started_at`` is in epoch seconds: documents that were finished later may be missing from the index.
    """

    embedder: str
    started_at: float
    complete: bool = False


def rebuild_folder(root: Path) -> Path:
    """Return the folder of a rebuild that is under way."""
    return index_folder(root, "rebuild")


def candidate_folder(root: Path, digest: str) -> Path:
    """Return the folder of a candidate model's index."""
    return index_folder(root, f"model-{digest[:16]}")


def read_marker(folder: Path) -> BuildMarker | None:
    """Return the marker of a folder, or None if there is none that can be read."""
    try:
        return BuildMarker(**json.loads((folder / MARKER).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_marker(folder: Path, marker: BuildMarker) -> None:
    """Write the marker of a folder, which is created if necessary."""
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / MARKER, json.dumps(asdict(marker)).encode())


def is_ready(root: Path, model: EmbeddingModel) -> bool:
    """Return True if the index of a candidate model is complete, so that the model can serve at once."""
    marker = read_marker(candidate_folder(root, model.digest))
    return marker is not None and marker.complete and marker.embedder == model.digest


class CandidateIndex:
    """Builds an index in a folder of its own, or resumes the build of an earlier process.

    ``documents_done`` counts the documents that are in it, those of an earlier process included.
    """

    def __init__(self, chunks: ChunkStore, indexes: Indexes, folder: Path, model: EmbeddingModel) -> None:
        self.folder = folder
        marker = read_marker(folder)
        if marker is None or marker.embedder != model.digest:  # no build to resume: start one
            indexes.drop(folder)
            marker = BuildMarker(model.digest, time.time())
            write_marker(folder, marker)
        self.marker = marker
        self._writer = indexes.writer(model, folder, compacting=False)
        numbers = self._writer.numbers
        self.documents_done = len(numbers)
        self._source = chunks.scan(model.digest, int(numbers.array[-1]) if self.documents_done else 0)
        self._all_added, self._unpublished = False, 0

    @property
    def numbers(self) -> DocumentNumbers:
        """The documents that are in it, those that are not published yet included."""
        return self._writer.numbers

    def run_for(self, seconds: float | None = None) -> bool:
        """Work for about ``seconds``, or to the end. Return True once a complete generation is published and closed."""
        until = time.monotonic() + seconds if seconds is not None else float("inf")
        if not self._all_added and not self._add_until(until):
            return False
        if seconds is None:
            self._writer.await_compaction()
        if self._writer.is_compacting:
            return False
        self._writer.publish(force=True)
        self._writer.close()
        write_marker(self.folder, BuildMarker(self.marker.embedder, self.marker.started_at, complete=True))
        return True

    def _add_until(self, until: float) -> bool:
        for document, chunks, vectors in self._source:
            self._writer.add(document.number, chunks, vectors, document.title, document.name)
            self.documents_done, self._unpublished = self.documents_done + 1, self._unpublished + len(chunks)
            if self._unpublished >= CHECKPOINT:
                self._writer.publish()
                self._unpublished = 0
                fault("rebuild.checkpoint")
            if time.monotonic() > until:
                return False
        self._writer.publish()
        self._writer.compact()
        self._all_added = True
        return True

    def close(self) -> None:
        """Release the folder; the next process resumes the build."""
        self._writer.close()


class Rebuild:
    """Builds a new index for the model of ``writer``, which then adopts it."""

    def __init__(self, chunks: ChunkStore, indexes: Indexes, writer: IndexWriter) -> None:
        self._writer = writer
        model = EmbeddingModel(writer.embedder, writer.model, writer.dimension)
        self._index = CandidateIndex(chunks, indexes, rebuild_folder(writer.root), model)

    @property
    def documents_done(self) -> int:
        """Documents in the new index, those of an earlier process included."""
        return self._index.documents_done

    @property
    def started_at(self) -> float:
        """When the build started (epoch seconds), in whichever process."""
        return self._index.marker.started_at

    def run_for(self, seconds: float | None = None) -> bool:
        """Work for about ``seconds``, or to the end. Return True once the new index serves."""
        if not self._index.run_for(seconds):
            return False
        self._writer.adopt(self._index.folder, self._index.marker.started_at)
        shutil.rmtree(self._index.folder, ignore_errors=True)
        return True

    def close(self) -> None:
        """Release the folder; the next process resumes the rebuild."""
        self._index.close()


def keep_as_candidate(writer: IndexWriter) -> None:
    """Keep the index that serves in the folder of its model, so that it can be adopted again."""
    folder = candidate_folder(writer.root, writer.embedder)
    built_at = writer.keep_as(folder)
    if built_at is not None:
        write_marker(folder, BuildMarker(writer.embedder, built_at, complete=True))
