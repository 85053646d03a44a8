"""The one writer of an index folder: collects changes and publishes them as a new generation."""

from __future__ import annotations

import logging
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from indexes import generations as gen
from indexes.compaction import Compaction, choose, choose_to_purge, is_quick
from indexes.generations import Manifest, SegmentEntry
from indexes.integrity import VerifiedFiles, seal
from indexes.lexical.working_copy import WorkingCopy, beside_removed, has_removed
from indexes.vectors.rows import check_vectors
from indexes.vectors.segments import Segment, files_of, make_segment, merge, read_segment, write_segment
from pipeline import disk
from pipeline.disk import ProcessLock
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk
from pipeline.errors import Misconfigured, Unavailable
from pipeline.faults import fault
from pipeline.ports import DocumentTexts
from pipeline.questions import chunk_key

log = logging.getLogger(__name__)

#: Files made durable at once: the disk gathers what waits for it.
SYNC_THREADS = 8
#: Chunks that one call of `purge` may write again.
PURGED_CHUNKS = 5_000


class FolderWriter:
    """Implements `pipeline.ports.IndexWriter` over generations in a folder.

    ``rebuild_needed``: there is no usable generation, or only one of another embedding model. With ``compacting`` False
    segments stay as they come, for a caller that merges all of them in the end. ``large``: the kind of a large segment,
    empty for the usual one.
    """

    def __init__(
        self, root: Path, embedder: str, dimension: int, model: str = "", compacting: bool = True, large: str = ""
    ) -> None:
        self.root, self.embedder, self.dimension, self.model = root, embedder, dimension, model
        self.compacting, self.large = compacting, large
        self._verified = VerifiedFiles()
        self._compaction: Compaction | None = None
        self._work: WorkingCopy | None = None
        self._lock = ProcessLock(root / "writer.lock", "An index writer")
        self.openings, self.rebuild_needed = 0, True
        self.reopen()

    @property
    def numbers(self) -> DocumentNumbers:
        """The documents that the next generation will hold."""
        return DocumentNumbers(np.fromiter(self._numbers, np.int64, len(self._numbers)))

    @property
    def without_vectors(self) -> DocumentNumbers:
        """Those of `numbers` that the model has not embedded yet; search finds them by words alone."""
        return DocumentNumbers(self._without_vectors)

    def reopen(self) -> None:
        """Drop what is not published and resume from the newest usable generation.

        Raises Unavailable where the folder cannot be used, Refused("conflict") where another process has the lock.
        """
        self._close_work()
        self._segments: list[Segment] = []
        self._folder_of: dict[str, Path] = {}  # segment name -> folder of its files
        self._pending: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._drops: set[int] = set()
        self._numbers: set[int] = set()
        self._without_vectors: set[int] = set()
        self._files: dict[str, tuple[str, int]] = {}
        self._published: Path | None = None
        self._changed, self.since, self._purging = False, 0.0, False
        self.openings += 1
        with translated(self.root):
            self._lock.acquire()
            (self.root / "generations").mkdir(parents=True, exist_ok=True)
            self.rebuild_needed = not self._resume()

    @property
    def is_open(self) -> bool:
        """False after a failed opening, or when somebody removed or replaced the folder."""
        return self._work is not None and self._lock.is_held

    @property
    def damage(self) -> str | None:
        """A file of the current generation that is gone or altered, or None. Nothing new is built on it: reopen."""
        return self._verified.unverified(self._published, self._files) if self._published else None

    def add(
        self, number: int, chunks: Sequence[Chunk], vectors: np.ndarray | None, title: str | None = None, name: str = ""
    ) -> None:
        """Add or replace a document; without ``vectors`` search finds it by words alone."""
        check_vectors(number, vectors, len(chunks), self.dimension)
        self.remove(number)
        self._working_copy.add(number, chunks, title, name)
        if vectors is None:
            self._without_vectors.add(number)
        elif len(chunks):
            keys = np.array([chunk_key(number, chunk.ordinal) for chunk in chunks], np.int64)
            self._pending[number] = (keys, np.asarray(vectors, np.float32))
        self._numbers.add(number)
        self._changed = True

    def remove(self, number: int) -> None:
        """Remove a document. Does nothing for one that the index does not hold."""
        if number not in self._numbers:
            return
        self._working_copy.remove(number)
        if self._pending.pop(number, None) is None and number not in self._without_vectors:
            self._drops.add(number)
        self._without_vectors.discard(number)
        self._numbers.discard(number)
        self._changed = True

    def publish(self, force: bool = False) -> str | None:
        """Make the changes visible to readers; return the generation's name, or None without changes.

        With ``force`` it publishes even then. Raises Unavailable where the folder cannot be written; then this step is
        dropped, and the catalogue still has it.
        """
        if not (force or self._changed or (self._compaction and self._compaction.done)):
            return None
        try:
            with translated(self.root):
                return self._publish()
        except Exception:
            try:
                self.reopen()
            except (Unavailable, Misconfigured) as error:
                log.error("the index cannot be written now: %s", error)
            raise

    def adopt(self, other: Path, since: float) -> str:
        """Publish the current generation of another folder as the next one here; return its name here.

        What is not published here is dropped. ``since``: when the other one was begun; what was finished later may be
        missing in it. Raises Misconfigured("bad-index"), Unavailable.
        """
        with translated(self.root):
            manifest = gen.link_current(other, self.root, self._verified, since)
            name = gen.generations(self.root)[-1].name
        self.change_model(manifest.embedder, manifest.dimension, manifest.model)
        return name

    def keep_as(self, target: Path) -> float | None:
        """Publish the current generation in another folder as well, by links; `adopt` takes it back.

        Returns when it was made (epoch seconds), or None where there is none of this model.
        """
        folder = gen.current(self.root)
        if folder is None or (manifest := gen.read_manifest(folder)).embedder != self.embedder:
            return None
        shutil.rmtree(target, ignore_errors=True)
        with translated(self.root):
            gen.link_current(self.root, target, self._verified)
        return manifest.created_at

    def change_model(self, embedder: str, dimension: int, model: str) -> None:
        """Resume with vectors of another model; what is not published is dropped."""
        self.embedder, self.dimension, self.model = embedder, dimension, model
        self.reopen()

    def compact(self) -> None:
        """Start to merge all segments into one in the background; a later `publish` takes the result."""
        if self._compaction is None and len(self._segments) > 1:
            self._compaction = Compaction(self.root, self._segments, self.large)

    def purge(self, texts: DocumentTexts, seconds: float) -> bool:
        """Work for about ``seconds`` on files that hold something of removed documents, until a publication shows that
        none is left and older ones are gone; then return True.

        Segments of vectors are merged. Words leave a segment of Tantivy when every other document in it has been
        written again: ``texts`` returns what has to be written, or None for a document that is deleted.
        """
        if self._is_clean():
            gen.prune(self.root, 1)
            self._purging = False
            return True
        self._purging = True
        self._changed |= self._compaction is None  # a publication starts the next merge
        until = time.monotonic() + seconds
        published = self._published
        for number in beside_removed(published / "lexical", PURGED_CHUNKS) if published else ():
            self._changed = True
            text = texts(number) if number in self._numbers else None
            if text is None:
                self._working_copy.remove(number)
            else:
                self._working_copy.add(number, *text)
            if time.monotonic() > until:
                break
        return False

    def _is_clean(self) -> bool:
        """Return True if the current generation holds nothing of a removed document and nothing waits or is merged."""
        if self._changed or self._compaction is not None or any(len(s.dropped) for s in self._segments):
            return False
        return self._published is None or not has_removed(self._published / "lexical")

    @property
    def is_compacting(self) -> bool:
        """True while segments are merged in the background."""
        return self._compaction is not None and not self._compaction.done

    def await_compaction(self) -> None:
        """Wait for the merge that runs in the background, if one does."""
        if self._compaction is not None:
            self._compaction.wait()

    def close(self) -> None:
        """Release the folder; what was not published is dropped."""
        self._close_work()
        self._lock.release()

    @property
    def _working_copy(self) -> WorkingCopy:
        if self._work is None:
            raise Unavailable("index-unavailable", f"The index in {self.root} is not open; it has to be reopened.")
        return self._work

    def _close_work(self) -> None:
        if self._compaction is not None:
            self._compaction.wait()
            shutil.rmtree(self._compaction.folder, ignore_errors=True)
            self._compaction = None
        if self._work is not None:
            self._work.close()
            self._work = None

    def _resume(self) -> bool:
        """Resume from the published generation, every digest verified; from an older one where that is damaged."""
        usable = self._usable()
        if usable is not None and (usable[1].embedder, usable[1].dimension) != (self.embedder, self.dimension):
            log.warning("the index was made by another embedding model")
            usable = None
        try:
            self._work = WorkingCopy(self.root, usable[0] / "lexical" if usable else None)
        except Misconfigured as error:
            log.error("%s The index has to be rebuilt.", error)  # of another version's fields
            self._work, usable = WorkingCopy(self.root, None), None
        if usable is None:
            return False
        folder, manifest = usable
        vectors = folder / "vectors"
        self._segments = [read_segment(s.name, s.kind, self.dimension, vectors, s.dropped) for s in manifest.segments]
        self._folder_of = {segment.name: vectors for segment in self._segments}
        self._without_vectors = set(manifest.without_vectors)
        self._numbers = set(self._without_vectors)
        for segment in self._segments:
            self._numbers.update((segment.documents - segment.dropped).array.tolist())
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
            self._verified.verify(folder, manifest.files)
            return folder, manifest
        except Misconfigured as error:
            usable = gen.newest_usable(self.root, self._verified)
            log.error("%s %s", error, f"Going on from {usable[0].name}." if usable else "The index has to be rebuilt.")
            self._changed = usable is not None  # the next publication puts CURRENT right
            return usable

    def _publish(self) -> str:
        if (path := self.damage) is not None:
            raise Unavailable("index-unavailable", f"{path} of the index in {self.root} was altered or taken away.")
        self._working_copy.commit()
        self._working_copy.collect_garbage()
        staging = gen.fresh_staging(self.root)
        segments = self._stage_vectors(staging / "vectors")
        self._working_copy.link(staging / "lexical")
        manifest = self._manifest(staging, segments)
        fault("index.manifest")
        self._published = gen.publish(self.root, staging, manifest)
        self._verified.trust(self._published, manifest.files)
        self._verified.forget_except(manifest.files)
        vectors = self._published / "vectors"
        # A new segment is opened from its files, so that its rows leave this process's memory.
        self._segments = [
            s if s.name in self._folder_of else read_segment(s.name, s.kind, self.dimension, vectors, tuple(s.dropped))
            for s in segments
        ]
        self._folder_of = {segment.name: vectors for segment in segments}
        self._files, self._changed = dict(manifest.files), False
        self._pending, self._drops = {}, set()
        gen.prune(self.root)
        if self._compaction is None:
            shutil.rmtree(self.root / "compacting", ignore_errors=True)
            if chosen := self._chosen(self._segments):
                self._compaction = Compaction(self.root, chosen, self.large)
        return manifest.generation

    def _stage_vectors(self, folder: Path) -> list[Segment]:
        drops = DocumentNumbers(self._drops)
        segments = [s.without(s.dropped | (s.documents & drops)) for s in self._segments] if drops else self._segments
        segments = self._with_compacted(segments)
        if self._pending:
            keys, rows = zip(*self._pending.values(), strict=True)
            new = make_segment(uuid.uuid4().hex, np.concatenate(keys), np.concatenate(rows), large=self.large)
            segments = [*segments, new]
        segments = self._with_small_merged([s for s in segments if s.live_count], folder)
        for segment in segments:
            self._place(segment, folder)
        return segments

    def _with_compacted(self, segments: list[Segment]) -> list[Segment]:
        """Replace segments that the background has merged by the result."""
        if self._compaction is None or not self._compaction.done:
            return segments
        done, self._compaction = self._compaction, None
        if done.error is not None:
            return segments
        if done.result is not None:
            self._folder_of[done.result.name] = done.folder
            self._files |= done.files
        return done.replace_sources(segments)

    def _with_small_merged(self, segments: list[Segment], folder: Path) -> list[Segment]:
        """Merge segments at once where that takes milliseconds."""
        busy = self._compaction.names if self._compaction else frozenset()
        chosen = self._chosen([segment for segment in segments if segment.name not in busy])
        if not chosen or not is_quick(chosen):
            return segments
        merged = merge(uuid.uuid4().hex, chosen, folder)
        names = {segment.name for segment in chosen}
        return [s for s in segments if s.name not in names] + ([merged] if merged else [])

    def _chosen(self, segments: list[Segment]) -> list[Segment]:
        """Return the segments to merge now."""
        chosen = choose(segments) if self.compacting else []
        return chosen or (choose_to_purge(segments) if self._purging else [])

    def _place(self, segment: Segment, folder: Path) -> None:
        """Put the segment's files into ``folder``: linked where they are on the disk already, otherwise written."""
        origin = self._folder_of.get(segment.name)
        names = files_of(segment.name, segment.kind)
        if origin is None:
            if not (folder / names[0]).exists():
                write_segment(segment, folder)
            return
        for name in names:
            (folder / name).hardlink_to(origin / name)

    def _manifest(self, staging: Path, segments: Sequence[Segment]) -> Manifest:
        paths = {path.relative_to(staging).as_posix(): path for path in sorted(staging.rglob("*")) if path.is_file()}
        sealed = {name: value for name, value in self._files.items() if not name.endswith(".json")}
        new = [name for name in paths if name not in sealed]
        with ThreadPoolExecutor(SYNC_THREADS) as pool:
            sealed |= zip(new, pool.map(seal, (paths[name] for name in new)), strict=True)
        return Manifest(
            generation=gen.next_name(self.root),
            created_at=time.time(),
            embedder=self.embedder,
            dimension=self.dimension,
            chunks=sum(segment.live_count for segment in segments),
            documents=len(self._numbers),
            segments=tuple(SegmentEntry(s.name, len(s), s.kind, tuple(s.dropped)) for s in segments),
            files={name: sealed[name] for name in paths},
            model=self.model,
            without_vectors=tuple(sorted(self._without_vectors)),
        )


#: Parts of the messages of FAISS (RuntimeError) and Tantivy (ValueError) when the disk fails.
_DISK_ERRORS = ("os error", "io error", "ioerror", "io_error", "could not open", "write error")


@contextmanager
def translated(root: Path) -> Iterator[None]:
    """Raise errors of the disk under an index folder as Unavailable: "disk-full" or "index-unavailable"."""
    place = f"the index ({root})"

    def unavailable(reason: str) -> Unavailable:
        detail = f"The index folder {root} cannot be used: {reason}. Search goes on as it is."
        return Unavailable("index-unavailable", detail)

    try:
        with disk.translated(place, lambda error: unavailable(error.strerror or str(error))):
            yield
    except (RuntimeError, ValueError) as error:
        if disk.is_full(error):
            raise disk.full(place) from error
        if not any(part in str(error).lower() for part in _DISK_ERRORS):
            raise
        raise unavailable("a file could not be read or written") from error
