"""The index writer: the one process that changes the index. Claims embedded documents, adds, publishes, ends their jobs.

The catalogue is the truth and the index follows it: what the index lacks (an older copy was put back) is added, what it
holds too much (deleted) is dropped, and what cannot be read is made anew, all without embedding again.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from pipeline.documents import TERMINAL, Document, Job, Outcome, QueueName, Stage, State
from pipeline.errors import MailroomError, Misconfigured, Unavailable
from pipeline.faults import fault
from pipeline.questions import ADMINISTRATOR, Filters
from workers.indexer.candidate import CandidateIndexBuilder
from workers.queue.lease import owner
from workers.queue.process import StopSignal
from workers.services.active_embedder import Embedders
from workers.services.rebuild import Rebuild, folder_of, read_marker, set_aside
from workers.settings import Settings

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue
    from indexes.places import Indexes, Writer

log = logging.getLogger(__name__)

#: Documents in one generation step.
BATCH = 256
#: Seconds between two looks at whether index and catalogue hold the same documents.
COMPARE_SECONDS = 2.0
#: Touching this file in the index's folder asks for a rebuild.
REQUEST = "rebuild.request"
#: Seconds that a step gives to a rebuild while the present index serves: additions wait no longer than this.
SLICE_SECONDS = 1.0
#: Clocks may differ by so many seconds: what was finished so long before a generation is looked at again.
CLOCK_SECONDS = 300.0
#: Seconds before a job is tried again whose index folder could not be written.
PAUSE_SECONDS = 5.0


class Indexer:
    """Keeps the index of ``writer`` in step with the catalogue: `step` once, or `run` until it is stopped."""

    def __init__(
        self, catalogue: Catalogue, indexes: Indexes, writer: Writer, embedders: Embedders, settings: Settings
    ) -> None:
        self._catalogue, self._indexes, self._writer = catalogue, indexes, writer
        self._embedders, self._settings = embedders, settings
        self._compared_at = 0.0
        self._compared: frozenset[int] | None = None
        self._request = settings.index_path / REQUEST
        self._rebuild: Rebuild | None = None
        self._beside = CandidateIndexBuilder(catalogue, indexes, embedders)
        self._openings = 0

    def run(self, stopping: StopSignal) -> None:
        """Until told to stop. An error of the surroundings is waited out; any other ends the process, and the next one
        begins with checking every file."""
        while not stopping:
            try:
                self.step()
            except Unavailable as error:
                log.warning("writer: %s", error)
            stopping.wait(self._settings.index.publish_seconds)
        self.close()

    def close(self) -> None:
        """Leave what is under way as it is, to be gone on with."""
        self._beside.close()
        if self._rebuild is not None:
            self._rebuild.close()
            self._rebuild = None

    def step(self) -> int:
        """Publish what is waiting; returns how many documents became searchable."""
        writer, job_store = self._writer, self._catalogue.jobs
        started = time.monotonic()
        self._look_after_index()
        self._follow_model()
        self._go_on_with_rebuild()
        self._replay()
        self._go_on_beside()
        jobs = job_store.claim(QueueName.INDEX, owner(), self._settings.workers.lease_seconds * 3, limit=BATCH)
        try:
            added = [(job, document) for job in jobs if (document := self._added(job)) is not None]
            self._compare({document.number for _, document in added})
            fault("writer.added")
            generation = writer.publish()
        except Unavailable as error:
            for job in jobs:
                job_store.release(job, PAUSE_SECONDS, error.code, error.detail, counted=False)
            raise
        fault("writer.published")
        seconds = (time.monotonic() - started) / max(1, len(added))
        return sum(self._end(job, document, generation or "", seconds) for job, document in added)

    def _look_after_index(self) -> None:
        """A folder that was taken away, exchanged or written to is opened anew, every file checked: an older generation, or
        none, and then the index is made anew."""
        writer = self._writer
        damage = writer.damage if writer.is_open else "the folder"
        if damage is not None:
            log.error("the index in %s was changed by somebody else (%s); every file is checked", writer.root, damage)
            writer.reopen()

    def _follow_model(self) -> None:
        """Another embedding model is to serve: the present index is kept beside, and its own one adopted or made."""
        writer, chosen = self._writer, self._embedders.chosen()
        if chosen.digest == writer.embedder:
            return
        log.info("the embedding model is now %s", chosen.model)
        self.close()
        if not writer.rebuild_needed:
            set_aside(writer)
        fault("model.aside")
        writer.change_model(chosen.digest, chosen.dimension, chosen.model)

    def _adopted(self) -> bool:
        """Whether the index of the model that is to serve lay ready beside."""
        writer = self._writer
        folder = folder_of(writer.root, writer.embedder)
        marker = read_marker(folder)
        if marker is None or not marker.whole or marker.embedder != writer.embedder:
            return False
        try:
            writer.adopt(folder, marker.at)
        except Misconfigured as error:
            log.error("the index beside cannot be used: %s", error)
        self._indexes.drop(folder)
        return not writer.rebuild_needed

    def _go_on_beside(self) -> None:
        """Models beside the one that serves; and documents of which it had no vectors get them."""
        writer = self._writer
        missing_from_index = bool(writer.without_vectors)
        fresh = self._beside.advance(writer.root, writer.embedder, missing_from_index, SLICE_SECONDS)
        for document in self._catalogue.documents.by_number(fresh).values():
            if document.number in writer.without_vectors:
                self._add(document)

    def _go_on_with_rebuild(self) -> None:
        """All of it where nothing usable is there; else a slice, and the present index goes on serving and growing."""
        writer = self._writer
        if self._rebuild is None:
            if writer.rebuild_needed and self._adopted():
                return
            if not (writer.rebuild_needed or self._request.exists() or folder_of(writer.root).exists()):
                return
            log.info("rebuilding the index from the catalogue")
            self._rebuild = Rebuild(self._catalogue.chunks, self._indexes, writer)
        if self._rebuild.advance(None if writer.rebuild_needed else SLICE_SECONDS):
            log.info("the index was rebuilt: %d documents", self._rebuild.done)
            self._rebuild = None
            self._request.unlink(missing_ok=True)

    def _replay(self) -> None:
        """After the index was opened: what the catalogue finished since that generation was made is added again, since an
        older one may hold a document's former text."""
        writer = self._writer
        if self._openings == writer.openings:
            return
        self._openings, self._compared = writer.openings, None
        documents = self._catalogue.documents
        again = documents.finished_since(writer.since - CLOCK_SECONDS) | writer.without_vectors
        for document in documents.by_number(again).values():
            self._add(document)

    def _added(self, job: Job) -> Document | None:
        """The job's document, added. One that cannot be added harms only itself: its job goes back, counted, and after
        three attempts the document is quarantined."""
        document = self._catalogue.documents.get(job.subject)
        if job.attempt > self._settings.workers.max_attempts:
            self._quarantine(job)
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
        """False when there is nothing to add: no passages. One embedded by another model is found by its words."""
        chunks, vectors = self._catalogue.chunks.of_document(document.number, self._writer.embedder)
        if not chunks or document.state is State.DELETED:
            return False
        self._writer.add(document.number, chunks, vectors, document.title, document.name)
        return True

    def _quarantine(self, job: Job) -> None:
        detail = (
            f"The document could not be added to the index; see the writer's log, then `mailroom retry {job.subject}`."
        )
        outcome = Outcome(Stage.INDEX, state=State.QUARANTINED, reason="attempts-exhausted", detail=detail)
        self._catalogue.jobs.commit(job, outcome)

    def _end(self, job: Job, document: Document, generation: str, seconds: float) -> bool:
        """A document with a review reason ends there, searchable all the same."""
        state = State.REVIEW if document.reason else State.INDEXED
        outcome = Outcome(
            Stage.INDEX,
            {"generation": generation, "seconds": round(seconds, 4)},
            state=state,
            reason=document.reason,
            detail=document.detail,
        )
        return self._catalogue.jobs.commit(job, outcome) is not None

    def _compare(self, fresh: set[int]) -> None:
        """Drop what was deleted, add what is missing. Search hides a deleted document at once; here its passages leave
        the next generation. ``fresh``: added just now. A comparison is skipped while the catalogue's answer is the same
        object as before, which it is until somebody changed what may be seen."""
        if time.monotonic() - self._compared_at < COMPARE_SECONDS:
            return
        self._compared_at = time.monotonic()
        expected = self._catalogue.documents.visible(ADMINISTRATOR, Filters())
        if expected is self._compared:
            return
        held = self._writer.numbers
        self._drop(held - expected)
        self._complete(expected - held - fresh)
        self._compared = expected

    def _drop(self, numbers: frozenset[int]) -> None:
        kept = self._catalogue.documents.by_number(numbers)  # another tenant's, or embedded anew just now
        for number in numbers - kept.keys():
            self._writer.remove(number)

    def _complete(self, numbers: frozenset[int]) -> None:
        """Documents that are through, yet not in the index. Those on their way have jobs of their own."""
        documents = self._catalogue.documents.by_number(numbers)
        missing = [d for d in documents.values() if d.state in TERMINAL and self._add(d)]
        if missing:
            log.warning("the index lacked %d documents that the catalogue has; they were added", len(missing))
