"""Is everything there? Asked often and by anyone, so the answer is kept for a second and tells of no document."""

from __future__ import annotations

import logging
import threading
import time
from importlib.metadata import version

from pipeline.document_numbers import DocumentNumbers
from pipeline.errors import MailroomError
from pipeline.parse.sandbox import SandboxedParser
from pipeline.questions import Caller, Filters
from workers.api.schemas.documents import Health as Report
from workers.assemble import Mailroom
from workers.queue.notify import Notifier
from workers.services.missing import missing_from_index

log = logging.getLogger(__name__)

KEEP_SECONDS = 1.0
#: Between two looks at what the index lacks: longer than a document's way from the writer to the readers.
LACK_SECONDS = 10.0
_NOBODY = Caller(())


class Completeness:
    """Whether the index holds the documents that the catalogue calls searchable. A running writer adds within seconds what
    is not there; what lacks at two looks was taken away (an older copy was put back, the folder emptied) and nobody mends
    it."""

    def __init__(self, mailroom: Mailroom) -> None:
        self._mailroom = mailroom
        self._looked_at = float("-inf")
        self._lacking: DocumentNumbers | None = None
        self.is_behind = False

    def look(self) -> bool:
        """Cheap between two looks."""
        if time.monotonic() - self._looked_at >= LACK_SECONDS:
            found = missing_from_index(self._mailroom.catalogue.documents, self._mailroom.reader)
            self.is_behind = self._lacking is not None and len(self._lacking & found) > 0
            self._lacking, self._looked_at = found, time.monotonic()
        return self.is_behind


class Health:
    """`look` tells how things are; `warm` opens what the first search would wait for."""

    def __init__(self, mailroom: Mailroom, notifier: Notifier) -> None:
        self._mailroom, self._hints = mailroom, notifier
        self._sandbox = "unknown"
        self._search = "opening"
        self._lock = threading.Lock()
        self._last: tuple[float, Report] | None = None
        self._completeness = Completeness(mailroom)

    def look(self) -> Report:
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] > KEEP_SECONDS:
                self._last = (time.monotonic(), self._measure())
            return self._last[1]

    def warm(self) -> None:
        """Open the search's model, and find out how well this machine can lock up the parser. In a thread of its own."""
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

    def _measure(self) -> Report:
        catalogue = self._catalogue_answers()
        broker = self._hints.waiting() is not None
        reader = self._mailroom.reader
        generation = reader.snapshot().generation
        index = self._index(reader.stale)
        if catalogue and index == "ok" and self._completeness.look():
            index = "behind"
        fine = catalogue and broker and index == "ok" and self._search != "unavailable"
        return Report(
            status="ok" if fine else "degraded",
            version=version("mailroom-documents"),
            generation=generation,
            index=index,
            catalogue="ok" if catalogue else "unavailable",
            broker="ok" if broker else "unavailable",
            search=self._search,
            sandbox=self._sandbox,
        )

    def _index(self, stale: bool) -> str:
        """What is wrong with its folder; "stale" where all that is known is that the newest generation cannot be used."""
        if self._mailroom.settings.index.url:  # a server: whether it answers, the reader has just seen
            return "stale" if stale else "ok"
        state = self._mailroom.indexes.look().name
        if state in ("read-only", "full", "damaged"):
            return state
        return "stale" if stale else "ok"  # before the first document there is no folder yet, and all is well

    def _catalogue_answers(self) -> bool:
        try:
            self._mailroom.catalogue.documents.find(_NOBODY, Filters(), limit=1)
        except MailroomError:
            return False
        return True
