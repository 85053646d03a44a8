"""The index writer: the one process that changes the index. Claims embedded documents, adds, publishes, ends their
jobs.

The catalogue is the truth and the index follows it: what is missing from the index (an older copy was put back) is
added, what was deleted is removed, and what cannot be read is rebuilt, all without embedding again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import TERMINAL, Chunk, Document, Job, Outcome, QueueName, Stage, State
from pipeline.errors import MailroomError, Misconfigured, Unavailable
from pipeline.faults import fault
from pipeline.questions import ADMINISTRATOR, ALL, Filters
from pipeline.timings import TIMINGS
from workers.indexer.candidate import CandidateIndexBuilder
from workers.queue.lease import owner
from workers.queue.process import StopSignal
from workers.services.active_embedder import Embedders
from workers.services.rebuild import (
    REBUILD_REQUEST,
    Rebuild,
    candidate_folder,
    keep_as_candidate,
    read_marker,
    rebuild_folder,
)
from workers.settings import Settings

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue
    from indexes.places import Indexes
    from pipeline.ports import IndexWriter

log = logging.getLogger(__name__)

#: Documents in one generation.
BATCH = 256
#: Seconds between two comparisons of the index with the catalogue.
COMPARE_SECONDS = 2.0
#: Seconds of a step for a rebuild while the present index serves: new documents wait no longer than this.
SLICE_SECONDS = 1.0
#: Seconds by which clocks may differ: what was finished so long before a generation is added again.
CLOCK_SECONDS = 300.0
#: Seconds before a job is tried again if the index could not be written.
PAUSE_SECONDS = 5.0


class Indexer:
    """Keeps the index of ``writer`` in step with the catalogue."""

    def __init__(
        self, catalogue: Catalogue, indexes: Indexes, writer: IndexWriter, embedders: Embedders, settings: Settings
    ) -> None:
        self._catalogue, self._indexes, self._writer = catalogue, indexes, writer
        self._embedders, self._settings = embedders, settings
        self._compared_at = 0.0
        self._compared: DocumentNumbers | None = None
        self._request = settings.index_path / REBUILD_REQUEST
        self._rebuild: Rebuild | None = None
        self._candidates = CandidateIndexBuilder(catalogue, indexes, embedders)
        self._openings = 0

    def run(self, stopping: StopSignal) -> None:
        """Repeat steps until a signal to stop arrives.

        A fault of the surroundings is waited out; any other error ends the process, and the next one checks every file.
        """
        while not stopping:
            try:
                self.step()
            except Unavailable as error:
                log.warning("writer: %s", error)
            stopping.wait(self._settings.index.publish_seconds)
        self.close()

    def close(self) -> None:
        """Release what is being built; the next indexer resumes it."""
        self._candidates.close()
        if self._rebuild is not None:
            self._rebuild.close()
            self._rebuild = None

    def step(self) -> int:
        """Publish what is waiting; return how many documents became searchable. Raises Unavailable."""
        jobs = self._catalogue.jobs
        started = time.monotonic()
        self._check_files()
        self._follow_model()
        self._continue_rebuild()
        self._add_again()
        self._continue_candidates()
        lease_seconds = self._settings.workers.lease_seconds * 3
        batch = jobs.claim(QueueName.INDEX, owner(), lease_seconds, limit=BATCH)
        erased = self._remove_erased()
        try:
            added = [(job, document) for job in batch if (document := self._add_claimed(job)) is not None]
            self._compare({document.number for _, document in added})
            fault("writer.added")
            if erased and self._rebuild is None and self._writer.purge(self._texts, SLICE_SECONDS):
                self._catalogue.erasures.index_is_clean(erased)
            generation = self._writer.publish()
        except Unavailable as error:
            TIMINGS.fail("index", error.code)
            for job in batch:
                jobs.release(job, PAUSE_SECONDS, error.code, error.detail, counted=False)
            raise
        fault("writer.published")
        if added:
            TIMINGS.observe("index", time.monotonic() - started)
        seconds = (time.monotonic() - started) / max(1, len(added))
        return sum(self._end(job, document, generation or "", seconds) for job, document in added)

    def _check_files(self) -> None:
        """Reopen a folder that was removed, exchanged or written to, with every file checked.

        That opens an older generation, or none, and then the index is rebuilt.
        """
        writer = self._writer
        damage = writer.damage if writer.is_open else "the folder"
        if damage is not None:
            log.error("the index in %s was changed by somebody else (%s); every file is checked", writer.root, damage)
            writer.reopen()

    def _follow_model(self) -> None:
        """Follow the model that is to serve. The index of the model before is kept as a candidate."""
        writer, model = self._writer, self._embedders.serving_model()
        if model.digest == writer.embedder:
            return
        log.info("the embedding model is now %s", model.model)
        self.close()
        if not writer.rebuild_needed:
            keep_as_candidate(writer)
        fault("model.changing")
        writer.change_model(model.digest, model.dimension, model.model)

    def _adopt_candidate(self) -> bool:
        """Adopt the candidate index of the model that is to serve. Return False if none is ready."""
        writer = self._writer
        folder = candidate_folder(writer.root, writer.embedder)
        marker = read_marker(folder)
        if marker is None or not marker.complete or marker.embedder != writer.embedder:
            return False
        try:
            writer.adopt(folder, marker.started_at)
        except Misconfigured as error:
            log.error("the candidate index cannot be used: %s", error)
        self._indexes.drop(folder)
        return not writer.rebuild_needed

    def _continue_candidates(self) -> None:
        """Build candidates for a slice, and add the vectors that documents of the index have received."""
        writer = self._writer
        vectors_missing = bool(writer.without_vectors)
        embedded = self._candidates.run_for(writer.root, writer.embedder, vectors_missing, SLICE_SECONDS)
        for document in self._catalogue.documents.by_number(embedded).values():
            if document.number in writer.without_vectors:
                self._add(document)

    def _continue_rebuild(self) -> None:
        """Rebuild the whole index if none is usable; otherwise a slice, while the present one serves and grows."""
        writer = self._writer
        if self._rebuild is None:
            if writer.rebuild_needed and self._adopt_candidate():
                return
            if not (writer.rebuild_needed or self._request.exists() or rebuild_folder(writer.root).exists()):
                return
            log.info("rebuilding the index from the catalogue")
            self._rebuild = Rebuild(self._catalogue.chunks, self._indexes, writer)
        if self._rebuild.run_for(None if writer.rebuild_needed else SLICE_SECONDS):
            log.info("the index was rebuilt: %d documents", self._rebuild.documents_done)
            self._rebuild = None
            self._request.unlink(missing_ok=True)

    def _add_again(self) -> None:
        """Add what the catalogue has finished since the generation that was opened.

        An older generation may hold the former text of a document.
        """
        writer = self._writer
        if self._openings == writer.openings:
            return
        self._openings, self._compared = writer.openings, None
        documents = self._catalogue.documents
        numbers = documents.finished_since(writer.since - CLOCK_SECONDS) | writer.without_vectors
        for document in documents.by_number(numbers).values():
            self._add(document)

    def _add_claimed(self, job: Job) -> Document | None:
        """Add a job's document and return it.

        None if it cannot be added: its job is released, and after three attempts the document is quarantined.
        """
        document = self._catalogue.documents.get(job.subject)
        if job.attempt > self._settings.workers.max_attempts:
            detail = f"see the writer's log, then `mailroom retry {job.subject}`."
            outcome = Outcome(
                Stage.INDEX,
                state=State.QUARANTINED,
                reason="attempts-exhausted",
                detail=f"The document could not be added to the index; {detail}",
            )
            self._catalogue.jobs.commit(job, outcome)
            return None
        try:
            self._add(document)
            return document
        except Unavailable:
            raise
        except (MailroomError, ValueError, RuntimeError) as error:
            log.exception("document %s cannot be added to the index", document.id)
            code = error.code if isinstance(error, MailroomError) else "internal"
            self._catalogue.jobs.release(job, 5.0, code, str(error))
            return None

    def _add(self, document: Document) -> bool:
        """Add a document. Return False if it has no chunks. Without vectors of this model it has lexical hits only."""
        chunks, vectors = self._catalogue.chunks.of_document(document.number, self._writer.embedder)
        if not chunks or document.state is State.DELETED:
            return False
        self._compared = None  # it may have been deleted since: see `_compare`
        self._writer.add(document.number, chunks, vectors, document.title, document.name)
        return True

    def _end(self, job: Job, document: Document, generation: str, seconds: float) -> bool:
        """End a job. A document with a reason for review ends in review, and is searchable nevertheless."""
        state = State.REVIEW if document.reason else State.INDEXED
        outcome = Outcome(
            Stage.INDEX,
            {"generation": generation, "seconds": round(seconds, 4)},
            state=state,
            reason=document.reason,
            detail=document.detail,
        )
        return self._catalogue.jobs.commit(job, outcome) is not None

    def _remove_erased(self) -> Mapping[str, Sequence[int]]:
        """Remove the documents of erasures that wait for the index, also from candidate indexes; return their numbers
        by erasure."""
        erased = self._catalogue.erasures.waiting_for_index()
        numbers = [number for waiting in erased.values() for number in waiting]
        for number in numbers:
            self._writer.remove(number)
        if numbers:
            self._candidates.drop_with(self._writer.root, DocumentNumbers(numbers))
        return erased

    def _texts(self, number: int) -> tuple[Sequence[Chunk], str | None, str] | None:
        """Return chunks, title and name of a document, or None for one that is deleted."""
        document = self._catalogue.documents.by_number([number]).get(number)
        if document is None:
            return None
        return self._catalogue.chunks.of_document(number)[0], document.title, document.name

    def _compare(self, just_added: set[int]) -> None:
        """Remove what was deleted, and add what is missing.

        Search hides a deleted document at once; here its chunks leave the next generation. Nothing is compared while
        the catalogue returns the same object and the index is as it was compared. Both are needed: what can be seen is
        the same object again after a document has come and gone, and the index has it since it came.
        """
        if time.monotonic() - self._compared_at < COMPARE_SECONDS:
            return
        self._compared_at = time.monotonic()
        expected = self._catalogue.documents.visible(ADMINISTRATOR, Filters(revisions=ALL))
        if expected is self._compared:
            return
        indexed, documents = self._writer.numbers, self._catalogue.documents
        surplus = indexed - expected
        # Those that exist are of another tenant, or were just embedded again.
        for number in surplus - documents.by_number(surplus).keys():
            self._writer.remove(number)
        # Those that are still being processed have jobs of their own.
        missing = documents.by_number(expected - indexed - just_added).values()
        added = sum(document.state in TERMINAL and self._add(document) for document in missing)
        if added:
            log.warning("%d documents were missing from the index and were added", added)
        self._compared = expected
