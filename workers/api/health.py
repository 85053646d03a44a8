"""The health of every part. Anyone may ask, and often: a report is cached and says nothing about any document."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from pipeline.document_numbers import DocumentNumbers
from pipeline.errors import MailroomError
from pipeline.parse.sandbox import SandboxedParser
from pipeline.questions import Caller, Filters
from workers.api.schemas.service import HealthReport, RoleHealth
from workers.assemble import Mailroom
from workers.process_report import read_reports
from workers.queue.notify import Notifier
from workers.services.liveness import queue_faults, role_faults, role_states, shortages
from workers.services.missing import missing_from_index

log = logging.getLogger(__name__)

CACHE_SECONDS = 1.0
#: Between two comparisons of index and catalogue: longer than a document's way from the writer to the readers.
COMPARE_SECONDS = 10.0
_NOBODY = Caller(())


class IndexCompleteness:
    """Compares the index with the documents that the catalogue calls searchable.

    A running writer adds missing documents within seconds. What is missing in two comparisons was removed, by an older
    copy of the folder or an emptied one, and no writer repairs it.
    """

    def __init__(self, mailroom: Mailroom) -> None:
        self._mailroom = mailroom
        self._compared_at = float("-inf")
        self._missing: DocumentNumbers | None = None
        self._is_behind = False

    def is_behind(self) -> bool:
        """Return True if documents were missing in two comparisons. Compares every COMPARE_SECONDS at most."""
        if time.monotonic() - self._compared_at >= COMPARE_SECONDS:
            missing = missing_from_index(self._mailroom.catalogue.documents, self._mailroom.reader)
            self._is_behind = self._missing is not None and len(self._missing & missing) > 0
            self._missing, self._compared_at = missing, time.monotonic()
        return self._is_behind


class HealthMonitor:
    """Reports the state of every part, and opens what the first search would wait for."""

    def __init__(self, mailroom: Mailroom, notifier: Notifier) -> None:
        self._mailroom, self._notifier = mailroom, notifier
        self._sandbox = "unknown"
        self._search = "opening"
        self._lock = threading.Lock()
        self._latest: tuple[float, HealthReport] | None = None
        self._completeness = IndexCompleteness(mailroom)
        self._counts: Sequence[Mapping[str, Any]] = ()
        self._counted_at = float("-inf")

    def report(self) -> HealthReport:
        """Return a report that is at most CACHE_SECONDS old, or the one before while another thread measures."""
        latest = self._latest
        is_old = latest is None or time.monotonic() - latest[0] > CACHE_SECONDS
        if is_old and self._lock.acquire(blocking=latest is None):
            try:
                if self._latest is latest:  # otherwise another thread has just measured
                    self._latest = (time.monotonic(), self.measure())
            finally:
                self._lock.release()
        assert self._latest is not None
        return self._latest[1]

    def warm(self) -> None:
        """Open the search's model, and find out how well the parser is confined. Takes seconds: use a thread."""
        try:
            self._mailroom.search.search  # noqa: B018  (building it loads the model)
            self._mailroom.embedder.embed(["warm"])
            self._search = "ok"
        except MailroomError as error:
            self._search = "unavailable"
            log.error("search is not available: %s", error)
        try:
            parser = SandboxedParser()
            self._sandbox = parser.sandbox_level
            parser.close()
        except (MailroomError, OSError) as error:
            log.error("the parser's sandbox cannot be started: %s", error)

    def measure(self) -> HealthReport:
        """Return a new report."""
        catalogue_answers = True
        try:
            self._mailroom.catalogue.documents.find(_NOBODY, Filters(), limit=1)
        except MailroomError:
            catalogue_answers = False
        broker_answers = self._notifier.waiting() is not None
        generation = self._mailroom.reader.snapshot().generation
        index = self._index_state()
        if catalogue_answers and index == "ok" and self._completeness.is_behind():
            index = "behind"
        parts = {
            "index": index,
            "catalogue": "ok" if catalogue_answers else "unavailable",
            "broker": "ok" if broker_answers else "unavailable",
            "search": self._search,
        }
        backlog = self._backlog() if catalogue_answers else []
        roles = role_states(read_reports(self._mailroom.settings.run_path), time.time())
        reasons = [f"{part}: {state}" for part, state in parts.items() if state not in ("ok", "opening")]
        reasons += [*role_faults(roles), *queue_faults(backlog)]
        return HealthReport(
            status="degraded" if reasons else "ok",
            version=version("mailroom-documents"),
            generation=generation,
            **parts,
            sandbox=self._sandbox,
            roles={
                role.role: RoleHealth(
                    state=role.state,
                    processes=role.processes,
                    last_sign_seconds=None if role.last_sign_seconds is None else round(role.last_sign_seconds, 1),
                )
                for role in roles
            },
            reasons=reasons,
            warnings=shortages(backlog, self._mailroom.settings.home),
        )

    def _backlog(self) -> Sequence[Mapping[str, Any]]:
        """Return the job store's backlog, counted every COMPARE_SECONDS at most."""
        if time.monotonic() - self._counted_at >= COMPARE_SECONDS:
            self._counts, self._counted_at = self._mailroom.catalogue.jobs.backlog(), time.monotonic()
        return self._counts

    def _index_state(self) -> str:
        stale = "stale" if self._mailroom.reader.stale else "ok"
        if self._mailroom.settings.index.url:  # a server: the reader has just shown whether it answers
            return stale
        state: str = self._mailroom.indexes.state().name
        # No other state is a fault: before the first document, for example, the folder does not exist yet.
        return state if state in ("read-only", "full", "damaged") else stale
