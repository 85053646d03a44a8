"""The one writer of the index: collects changes, publishes them as a new generation."""

from __future__ import annotations

import fcntl
import json
import logging
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from indexes import generations as gen
from indexes.generations import Manifest, SegmentEntry
from indexes.lexical import tantivy as lexical
from indexes.vectors.faiss import Segment, make_segment, merge, read_segment, write_segment
from pipeline.documents import Chunk, Document
from pipeline.errors import Misconfigured, Refused
from pipeline.questions import chunk_key

log = logging.getLogger(__name__)

#: More segments than this make every search slower; then the smallest are merged into one.
MAX_SEGMENTS = 8
HEAP_BYTES = 64_000_000


class IndexWriter:
    """Exclusive by a file lock: a second one on the same folder is Refused("conflict").

    ``rebuild_needed`` is True when there was no usable generation, or one of another embedding model: the caller then
    feeds `rebuild` from the catalogue. Until then readers keep what they have.
    """

    def __init__(self, root: Path, embedder: str, dimension: int) -> None:
        self.root, self.embedder, self.dimension = root, embedder, dimension
        (root / "generations").mkdir(parents=True, exist_ok=True)
        self._lock = (root / "writer.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise Refused("conflict", f"Another writer holds the index in {root}.") from None
        self._reset()
        self.rebuild_needed = not self._resume()

    @property
    def numbers(self) -> frozenset[int]:
        """The documents that the next generation will hold."""
        return frozenset(self._numbers)

    def add(
        self, number: int, chunks: Sequence[Chunk], vectors: np.ndarray, title: str | None = None, name: str = ""
    ) -> None:
        """Add the document, or replace it."""
        if vectors.shape != (len(chunks), self.dimension) or not np.isfinite(vectors).all():
            raise Misconfigured("bad-index", f"document {number}: vectors {vectors.shape} do not fit its chunks")
        self.remove(number)
        lexical.add_document(self._writer, number, chunks, title, name)
        self._pending[number] = (np.array([chunk_key(number, c.ordinal) for c in chunks], np.int64), vectors)
        self._numbers.add(number)

    def remove(self, number: int) -> None:
        """Forget the document; nothing happens where it is not held."""
        if number not in self._numbers:
            return
        lexical.remove_document(self._writer, number)
        if self._pending.pop(number, None) is None:
            self._segments = [
                replace(s, dropped=s.dropped | {number}) if number in s.documents else s for s in self._segments
            ]
        self._numbers.discard(number)
        self._changed = True

    def publish(self) -> str | None:
        """Make the changes visible to readers; returns the generation's name, or None when nothing has changed."""
        if not self._pending and not self._changed:
            return None
        self._writer.commit()
        staging = gen.fresh_staging(self.root)
        self._stage_vectors(staging / "vectors")
        self._stage_lexical(staging / "lexical")
        manifest = self._manifest(staging)
        folder = gen.publish(self.root, staging, manifest)
        self._published, self._files, self._changed = folder, dict(manifest.files), False
        gen.prune(self.root)
        return manifest.generation

    def rebuild(
        self,
        source: Iterable[tuple[Document, list[Chunk], np.ndarray]],
        progress: Callable[[int], None] = lambda n: None,
    ) -> str:
        """Replace everything by ``source``, published at the end; readers keep the old generation until then."""
        self._reset()
        for done, (document, chunks, vectors) in enumerate(source, 1):
            self.add(document.number, chunks, vectors, document.title, document.name)
            progress(done)
        self._changed, self.rebuild_needed = True, False
        return self.publish() or ""

    def close(self) -> None:
        """Let go of the folder; what was not published is dropped."""
        self._writer = None
        shutil.rmtree(self._work, ignore_errors=True)
        self._lock.close()

    def _reset(self) -> None:
        self._segments: list[Segment] = []
        self._pending: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._numbers: set[int] = set()
        self._changed = False
        self._published: Path | None = None
        self._files: dict[str, tuple[str, int]] = {}
        self._open_working_copy(None)

    def _resume(self) -> bool:
        """Go on from the published generation, after checking every digest."""
        try:
            folder = gen.current(self.root)
            if folder is None:
                return False
            manifest = gen.read_manifest(folder)
            gen.verify(folder, manifest, set())
        except Misconfigured as error:
            log.error("the index has to be rebuilt: %s", error)
            return False
        if (manifest.embedder, manifest.dimension) != (self.embedder, self.dimension):
            log.warning("the index was made by another embedding model; rebuilding")
            return False
        self._segments = [read_segment(s.name, folder / "vectors", s.dropped) for s in manifest.segments]
        self._numbers = {int(n) for s in self._segments for n in np.unique(s.documents) if n not in s.dropped}
        self._published, self._files = folder, dict(manifest.files)
        self._open_working_copy(folder / "lexical")
        return True

    def _open_working_copy(self, origin: Path | None) -> None:
        """Tantivy writes in a folder of its own, always made anew from a published generation."""
        self._writer = None  # lets go of Tantivy's lock
        for old in self.root.glob("work-*"):
            shutil.rmtree(old, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix="work-", dir=self.root))
        for file in origin.iterdir() if origin else ():
            if not file.name.endswith(".lock"):
                shutil.copy2(file, work / file.name)
        self._work = work
        self._writer = lexical.open_index(work).writer(HEAP_BYTES, 1)

    def _stage_vectors(self, folder: Path) -> None:
        fresh: list[Segment] = []
        if self._pending:
            keys, rows = zip(*self._pending.values(), strict=True)
            if sum(map(len, keys)):
                fresh.append(make_segment(uuid.uuid4().hex, np.concatenate(keys), np.concatenate(rows)))
            self._pending = {}
        segments = [s for s in self._segments if s.live is None or s.live.any()] + fresh
        if len(segments) > MAX_SEGMENTS:
            segments.sort(key=len, reverse=True)
            merged = merge(uuid.uuid4().hex, segments[1:])
            segments = segments[:1] + ([merged] if merged else [])
            if merged and 2 * len(merged) > len(segments[0]):
                whole = merge(uuid.uuid4().hex, segments)
                segments = [whole] if whole else []
        for segment in segments:
            if f"vectors/{segment.name}.faiss" in self._files and self._published:
                for suffix in ("faiss", "npy"):
                    (folder / f"{segment.name}.{suffix}").hardlink_to(
                        self._published / "vectors" / f"{segment.name}.{suffix}"
                    )
            else:
                write_segment(segment, folder)
        self._segments = segments

    def _stage_lexical(self, folder: Path) -> None:
        """Link the files of one commit. Tantivy merges in the background: a file that has gone means that there is a
        newer commit, whose list is then taken."""
        for _ in range(20):
            meta = (self._work / "meta.json").read_text()
            live = [segment["segment_id"].replace("-", "") for segment in json.loads(meta)["segments"]]
            try:
                for file in [p for p in self._work.iterdir() if p.name.split(".")[0] in live]:
                    (folder / file.name).hardlink_to(file)
            except FileNotFoundError:
                shutil.rmtree(folder)
                folder.mkdir()
                continue
            (folder / "meta.json").write_text(meta)
            (folder / ".managed.json").write_text(
                json.dumps(sorted([*(p.name for p in folder.iterdir()), "meta.json"]))
            )
            return
        raise Misconfigured("bad-index", "The lexical index changes faster than it can be copied.")

    def _manifest(self, staging: Path) -> Manifest:
        files: dict[str, tuple[str, int]] = {}
        for path in sorted(p for p in staging.rglob("*") if p.is_file()):
            relative = path.relative_to(staging).as_posix()
            known = self._files.get(relative) if not relative.endswith(".json") else None
            files[relative] = known or (gen.file_digest(path), path.stat().st_size)
        return Manifest(
            generation=gen.next_name(self.root),
            created_at=gen.now(),
            embedder=self.embedder,
            dimension=self.dimension,
            chunks=sum(int(s.live.sum()) if s.live is not None else len(s) for s in self._segments),
            documents=len(self._numbers),
            segments=tuple(SegmentEntry(s.name, len(s), tuple(sorted(s.dropped))) for s in self._segments),
            files=files,
        )
