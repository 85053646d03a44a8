"""A reader of an index in Milvus: what the server holds, and which documents these are."""

from __future__ import annotations

import threading
import time

from indexes.milvus.lexical import MilvusLexical
from indexes.milvus.limit import Limit
from indexes.milvus.schema import DOCUMENTS, PASSAGES, names
from indexes.milvus.server import Server
from indexes.milvus.state import Facts, Held, changed_since, read_facts
from indexes.milvus.vectors import MilvusVectors
from indexes.reader import EMPTY, FIRST_PAUSE, LAST_PAUSE, Snapshot
from pipeline.document_numbers import DocumentNumbers
from pipeline.errors import Misconfigured, Unavailable

#: The state is asked for no more often than this, seconds.
LOOK_EVERY = 0.3


class MilvusReader:
    """Implements what `indexes.reader.IndexReader` does. A snapshot says what was published when it was taken; the server
    answers from what it holds now, which may be newer."""

    def __init__(self, server: Server, role: str) -> None:
        self.problem: str | None = None
        self._server, self._names = server, names(role)
        self._lock = threading.Lock()
        self._snapshot, self._facts = EMPTY, None
        self._held: dict[int, Held] = {}
        self._look_at, self._pause = 0.0, FIRST_PAUSE

    @property
    def stale(self) -> bool:
        return self.problem is not None

    def snapshot(self) -> Snapshot:
        """The newest publication; an empty one before the first."""
        first = self._snapshot is EMPTY
        if time.monotonic() >= self._look_at and self._lock.acquire(blocking=first):
            try:
                self._look()
            finally:
                self._lock.release()
        return self._snapshot

    def _look(self) -> None:
        try:
            facts = read_facts(self._server, self._names[DOCUMENTS])
            if facts != self._facts:
                self._take(facts)
        except (Unavailable, Misconfigured) as error:
            self.problem, self._look_at = error.detail, time.monotonic() + self._pause
            self._pause = min(LAST_PAUSE, 2 * self._pause)
            return
        self.problem, self._pause = None, FIRST_PAUSE
        self._look_at = time.monotonic() + LOOK_EVERY

    def _take(self, facts: Facts | None) -> None:
        """All documents anew where another index stands in this one's place, else those that changed."""
        before = self._facts
        if before is None or facts is None or facts.born != before.born or facts.serial < before.serial:
            self._held, before = {}, None
        if facts is not None:
            for each in changed_since(self._server, self._names[DOCUMENTS], before.serial if before else 0):
                self._held[each.number] = each
            self._held = {number: each for number, each in self._held.items() if each.passages}
        self._facts = facts
        self._snapshot = self._opened(facts) if facts else EMPTY

    def _opened(self, facts: Facts) -> Snapshot:
        numbers, held = DocumentNumbers(self._held), self._held.values()
        total, bare = sum(each.passages for each in held), [each for each in held if each.bare]
        limit = Limit(numbers)
        count = total - sum(each.passages for each in bare)
        return Snapshot(
            f"{facts.serial:012d}",
            facts.embedder,
            MilvusVectors(self._server, self._names[PASSAGES], limit, count, bool(bare)),
            MilvusLexical(self._server, self._names, limit, total, facts.languages),
            numbers,
            facts.model,
            len(bare),
        )
