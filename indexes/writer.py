"""The one writer of the index: collects changes, publishes them as a new generation."""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from indexes import generations as gen
from indexes.compaction import Compaction, choose, is_quick
from indexes.generations import Manifest, SegmentEntry
from indexes.integrity import Checked, sealed
from indexes.lexical.working import WorkingCopy
from indexes.vectors.segments import Segment, files_of, make_segment, merge, read_segment, write_segment
from pipeline import disk
from pipeline.disk import ProcessLock
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk
from pipeline.errors import Misconfigured, Unavailable
from pipeline.faults import fault
from pipeline.questions import chunk_key

log = logging.getLogger(__name__)

#: Files made durable at once.
SYNCING = 8


class IndexWriter:
    """Exclusive by a file lock: a second one on the same folder is Refused("conflict").

    ``rebuild_needed`` is True when there was no usable generation, or one of another embedding model. Until it is made
    anew readers keep what they have. ``since``: what the catalogue finished after this time (epoch seconds) may be
    missing here. ``compacting=False`` leaves segments as they come, for one who merges all of them in the end. ``large``:
    the kind that a large segment gets, empty for the usual.
    """

    def __init__(
        self, root: Path, embedder: str, dimension: int, model: str = "", compacting: bool = True, large: str = ""
    ) -> None:
        self.root, self.embedder, self.dimension, self.model = root, embedder, dimension, model
        self.compacting, self.large = compacting, large
        self._checked = Checked()
        self._published: Path | None = None
        self._compaction: Compaction | None = None
        self._work: WorkingCopy | None = None
        self._lock = ProcessLock(root / "writer.lock", "An index writer")
        #: Counts how often this went on from what is on the disk: then the catalogue may have more.
        self.openings = 0
        self.reopen()

    @property
    def numbers(self) -> DocumentNumbers:
        """The documents that the next generation will hold."""
        return DocumentNumbers(np.fromiter(self._numbers, np.int64, len(self._numbers)))

    @property
    def without_vectors(self) -> DocumentNumbers:
        """Those of them that are found by their words only: this model has not embedded them yet."""
        return DocumentNumbers(self._bare)

    def reopen(self) -> None:
        """Forget what is not published and go on from the newest usable generation."""
        self._close_work()
        self._segments: list[Segment] = []
        self._homes: dict[str, Path] = {}
        self._pending: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._drops: set[int] = set()
        self._numbers: set[int] = set()
        self._bare: set[int] = set()
        self._files: dict[str, tuple[str, int]] = {}
        self._published = None
        self._changed, self.since = False, 0.0
        self.openings += 1
        with translated(self.root):
            self._lock.acquire()
            (self.root / "generations").mkdir(parents=True, exist_ok=True)
            self.rebuild_needed = not self._resume()

    @property
    def is_there(self) -> bool:
        """False when somebody took the folder away, or another one was put in its place."""
        return self._lock.is_held

    @property
    def is_open(self) -> bool:
        """False, too, when the last attempt to open it failed."""
        return self._work is not None and self.is_there

    @property
    def damage(self) -> str | None:
        """A file of the current generation that is gone or is no longer what was checked or written; None when all is well.
        Whoever finds one reopens: nothing new is made of it."""
        return self._checked.doubtful(self._published, self._files) if self._published else None

    def add(
        self, number: int, chunks: Sequence[Chunk], vectors: np.ndarray | None, title: str | None = None, name: str = ""
    ) -> None:
        """Add the document, or replace it. Without ``vectors`` it is found by its words only."""
        if vectors is not None and (vectors.shape != (len(chunks), self.dimension) or not np.isfinite(vectors).all()):
            raise Misconfigured("bad-index", f"document {number}: vectors {vectors.shape} do not fit its chunks")
        self.remove(number)
        self._work.add(number, chunks, title, name)
        if vectors is None:
            self._bare.add(number)
        elif len(chunks):
            keys = np.array([chunk_key(number, chunk.ordinal) for chunk in chunks], np.int64)
            self._pending[number] = (keys, np.asarray(vectors, np.float32))
        self._numbers.add(number)
        self._changed = True

    def remove(self, number: int) -> None:
        """Forget the document; nothing happens where it is not held."""
        if number not in self._numbers:
            return
        self._work.remove(number)
        if self._pending.pop(number, None) is None and number not in self._bare:
            self._drops.add(number)
        self._bare.discard(number)
        self._numbers.discard(number)
        self._changed = True

    def publish(self, anyway: bool = False) -> str | None:
        """Make the changes visible to readers; returns the generation's name, or None when nothing has changed (unless
        ``anyway``). When the folder cannot be written, Unavailable; then nothing of this step is kept, and the catalogue
        still has it all."""
        if not (anyway or self._changed or (self._compaction and self._compaction.done)):
            return None
        try:
            with translated(self.root):
                return self._publish()
        except Exception:
            self._forget_quietly()
            raise

    def adopt(self, other: Path, since: float) -> str:
        """Publish what another folder of generations holds as the next generation here. What is not published here is
        forgotten. ``since``: when the other one was begun; what was finished later may be missing in it."""
        with translated(self.root):
            manifest = gen.carry(other, self.root, self._checked, since)
        self.change_model(manifest.embedder, manifest.dimension, manifest.model)
        return gen.current(self.root).name

    def set_aside(self, target: Path) -> float | None:
        """Make the current generation one of another folder, too, by links; `adopt` takes it back. Returns when it was made
        (epoch seconds), None where there is none of this model."""
        folder = gen.current(self.root)
        if folder is None or (manifest := gen.read_manifest(folder)).embedder != self.embedder:
            return None
        shutil.rmtree(target, ignore_errors=True)
        with translated(self.root):
            gen.carry(self.root, target, self._checked)
        return manifest.created_at

    def change_model(self, embedder: str, dimension: int, model: str) -> None:
        """Go on with vectors of another model; ``rebuild_needed`` where the current generation has those of another one.
        What is not published is forgotten."""
        self.embedder, self.dimension, self.model = embedder, dimension, model
        self.reopen()

    def compact(self) -> None:
        """Begin to merge all segments into one, in the background; `publish` takes the result when it is there."""
        if self._compaction is None and len(self._segments) > 1:
            self._compaction = Compaction(self.root, self._segments, self.large)

    @property
    def is_compacting(self) -> bool:
        return self._compaction is not None and not self._compaction.done

    def await_compaction(self) -> None:
        if self._compaction is not None:
            self._compaction.wait()

    def close(self) -> None:
        """Let go of the folder; what was not published is dropped."""
        self._close_work()
        self._lock.release()

    def _close_work(self) -> None:
        if self._compaction is not None:
            self._compaction.wait()
            shutil.rmtree(self._compaction.folder, ignore_errors=True)
            self._compaction = None
        if self._work is not None:
            self._work.close()
            self._work = None

    def _forget_quietly(self) -> None:
        try:
            self.reopen()
        except (Unavailable, Misconfigured) as error:
            log.error("the index cannot be written now: %s", error)

    def _resume(self) -> bool:
        """Go on from the published generation, after checking every digest; from an older one, where that is damaged."""
        found = self._usable()
        if found is not None and (found[1].embedder, found[1].dimension) != (self.embedder, self.dimension):
            log.warning("the index was made by another embedding model")
            found = None
        try:
            self._work = WorkingCopy(self.root, found[0] / "lexical" if found else None)
        except Misconfigured as error:
            log.error("%s The index has to be rebuilt.", error)  # of another version's fields
            self._work, found = WorkingCopy(self.root, None), None
        if found is None:
            return False
        folder, manifest = found
        vectors = folder / "vectors"
        self._segments = [read_segment(s.name, s.kind, self.dimension, vectors, s.dropped) for s in manifest.segments]
        self._homes = {segment.name: vectors for segment in self._segments}
        self._bare = set(manifest.without_vectors)
        held = [s.documents - s.dropped for s in self._segments]
        self._numbers = set(np.concatenate([n.array for n in held]).tolist() if held else ()) | self._bare
        self._files, self.since, self._published = dict(manifest.files), manifest.created_at, folder
        self.model = self.model or manifest.model
        return True

    def _usable(self) -> tuple[Path, Manifest] | None:
        try:
            pointer = gen.read_pointer(self.root)
            if pointer is None and not gen.generations(self.root):
                return None
            if pointer is None:
                raise Misconfigured("bad-index", "CURRENT is gone.")
            folder = self.root / "generations" / pointer.name
            manifest = gen.read_manifest(folder, pointer.digest)
            self._checked.verify(folder, manifest.files)
            return folder, manifest
        except Misconfigured as error:
            found = gen.newest_usable(self.root, self._checked)
            log.error("%s %s", error, f"Going on from {found[0].name}." if found else "The index has to be rebuilt.")
            self._changed = found is not None  # the next publication puts CURRENT right
            return found

    def _publish(self) -> str:
        if (path := self.damage) is not None:
            raise Unavailable("index-unavailable", f"{path} of the index in {self.root} was altered or taken away.")
        self._work.commit()
        staging = gen.fresh_staging(self.root)
        segments = self._stage_vectors(staging / "vectors")
        self._work.link(staging / "lexical")
        manifest = self._manifest(staging, segments)
        fault("index.manifest")
        self._published = gen.publish(self.root, staging, manifest)
        self._checked.trust(self._published, manifest.files)
        self._checked.forget_but(manifest.files)
        vectors = self._published / "vectors"
        self._segments = [self._mapped(segment, vectors) for segment in segments]
        self._homes = {segment.name: vectors for segment in segments}
        self._files, self._changed = dict(manifest.files), False
        self._pending, self._drops = {}, set()
        gen.prune(self.root)
        if self._compaction is None:
            shutil.rmtree(self.root / "compacting", ignore_errors=True)
        self._begin_compaction()
        return manifest.generation

    def _mapped(self, segment: Segment, vectors: Path) -> Segment:
        """A new segment read back from its files, so that its rows leave this process's memory."""
        if segment.name in self._homes:
            return segment
        return read_segment(segment.name, segment.kind, self.dimension, vectors, segment.dropped.array)

    def _stage_vectors(self, folder: Path) -> list[Segment]:
        drops = DocumentNumbers(self._drops)
        segments = [s.without(s.dropped | (s.documents & drops)) for s in self._segments] if drops else self._segments
        segments = self._absorbed(segments)
        if self._pending:
            keys, rows = zip(*self._pending.values(), strict=True)
            new = make_segment(uuid.uuid4().hex, np.concatenate(keys), np.concatenate(rows), large=self.large)
            segments = [*segments, new]
        segments = self._quickly_merged([s for s in segments if s.live_count], folder)
        for segment in segments:
            self._place(segment, folder)
        return segments

    def _absorbed(self, segments: list[Segment]) -> list[Segment]:
        """Take in what the background has merged."""
        if self._compaction is None or not self._compaction.done:
            return segments
        done, self._compaction = self._compaction, None
        if done.error is not None:
            return segments
        if done.result is not None:
            self._homes[done.result.name] = done.folder
            self._files |= done.files
        return done.absorb(segments)

    def _quickly_merged(self, segments: list[Segment], folder: Path) -> list[Segment]:
        busy = self._compaction.names if self._compaction else frozenset()
        free = [segment for segment in segments if segment.name not in busy]
        chosen = choose(free) if self.compacting else []
        if not chosen or not is_quick(chosen):
            return segments
        merged = merge(uuid.uuid4().hex, chosen, folder)
        names = {segment.name for segment in chosen}
        return [s for s in segments if s.name not in names] + ([merged] if merged else [])

    def _begin_compaction(self) -> None:
        if self.compacting and self._compaction is None and (chosen := choose(self._segments)):
            self._compaction = Compaction(self.root, chosen, self.large)

    def _place(self, segment: Segment, folder: Path) -> None:
        """The segment's files in ``folder``: linked where they are on disk already, else written."""
        home = self._homes.get(segment.name)
        names = files_of(segment.name, segment.kind)
        if home is None:
            if not (folder / names[0]).exists():
                write_segment(segment, folder)
            return
        for name in names:
            (folder / name).hardlink_to(home / name)

    def _manifest(self, staging: Path, segments: Sequence[Segment]) -> Manifest:
        paths = sorted(p for p in staging.rglob("*") if p.is_file())
        known = {name: value for name, value in self._files.items() if not name.endswith(".json")}
        new = [path for path in paths if path.relative_to(staging).as_posix() not in known]
        with ThreadPoolExecutor(SYNCING) as pool:  # at once: the disk gathers what waits for it
            known |= {p.relative_to(staging).as_posix(): v for p, v in zip(new, pool.map(sealed, new), strict=True)}
        files = {name: known[name] for name in (path.relative_to(staging).as_posix() for path in paths)}
        return Manifest(
            generation=gen.next_name(self.root),
            created_at=gen.now(),
            embedder=self.embedder,
            dimension=self.dimension,
            chunks=sum(segment.live_count for segment in segments),
            documents=len(self._numbers),
            segments=tuple(SegmentEntry(s.name, len(s), s.kind, tuple(s.dropped)) for s in segments),
            files=files,
            model=self.model,
            without_vectors=tuple(sorted(self._bare)),
        )


#: What FAISS (RuntimeError) and Tantivy (ValueError) say when the disk does not do its part.
_DISK_WORDS = ("os error", "io error", "ioerror", "io_error", "could not open", "write error")


@contextmanager
def translated(root: Path) -> Iterator[None]:
    """Errors of the disk under the index, in our words."""
    try:
        with disk.translated(f"the index ({root})", lambda error: _unavailable(root, error.strerror or str(error))):
            yield
    except (RuntimeError, ValueError) as error:
        if disk.is_full(error):
            raise disk.full(f"the index ({root})") from error
        if not any(word in str(error).lower() for word in _DISK_WORDS):
            raise
        raise _unavailable(root, "a file could not be read or written") from error


def _unavailable(root: Path, reason: str) -> Unavailable:
    return Unavailable(
        "index-unavailable", f"The index folder {root} cannot be used: {reason}. Search goes on as it is."
    )
