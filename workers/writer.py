"""The index writer: the one process that changes the index. Claims embedded documents, adds, publishes, ends their jobs."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from pipeline.documents import Document, Job, Lane, Outcome, Stage, State
from pipeline.errors import MailroomError, Refused
from pipeline.questions import Caller, Filters
from workers.assemble import House
from workers.lease import owner
from workers.process import Stopping

log = logging.getLogger(__name__)

#: Documents in one generation step.
BATCH = 256
#: Deleted documents are looked for every so many rounds.
SWEEP_ROUNDS = 20
EVERYTHING = Caller((), admin=True)


class Writer:
    """`step` once, or `run` until told to stop."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._rounds = 0

    def run(self, stopping: Stopping) -> None:
        while not stopping:
            try:
                self.step()
            except Refused:
                raise
            except MailroomError as error:
                log.warning("writer: %s", error)
            stopping.wait(self._house.settings.index.publish_seconds)

    def step(self) -> int:
        """Publish what is waiting; returns how many documents became searchable."""
        writer, catalogue = self._house.writer, self._house.catalogue
        if writer.rebuild_needed:
            self.rebuild()
        started = time.perf_counter()
        lease = self._house.settings.workers.lease_seconds * 3
        jobs = catalogue.ledger.claim(Lane.INDEX, owner(), lease, limit=BATCH)
        documents = {job.id: catalogue.documents.get(job.subject) for job in jobs}
        for job in jobs:
            self._add(documents[job.id])
        if self._rounds % SWEEP_ROUNDS == 0:
            self._drop_deleted()
        self._rounds += 1
        generation = writer.publish()
        facts = {
            "generation": generation or "",
            "seconds": round((time.perf_counter() - started) / max(1, len(jobs)), 4),
        }
        return sum(self._end(job, documents[job.id], facts) for job in jobs)

    def rebuild(self) -> str:
        """Everything anew from the catalogue's texts and vectors, without embedding again."""
        log.info("rebuilding the index from the catalogue")
        return self._house.writer.rebuild(self._house.catalogue.passages.scan(self._house.embedder.digest))

    def _add(self, document: Document) -> None:
        chunks, vectors = self._house.catalogue.passages.of_document(document.number, self._house.embedder.digest)
        if vectors is not None and chunks and document.state is not State.DELETED:
            self._house.writer.add(document.number, chunks, vectors, document.title, document.name)

    def _end(self, job: Job, document: Document, facts: Mapping[str, Any]) -> bool:
        """A document with a review reason ends there, searchable all the same."""
        state = State.REVIEW if document.reason else State.INDEXED
        outcome = Outcome(Stage.INDEX, facts, state=state, reason=document.reason, detail=document.detail)
        return self._house.catalogue.ledger.commit(job, outcome) is not None

    def _drop_deleted(self) -> None:
        """Search hides a deleted document at once; here its passages leave the next generation."""
        held = self._house.writer.numbers
        for number in held - self._house.catalogue.documents.visible(EVERYTHING, Filters()):
            self._house.writer.remove(number)
