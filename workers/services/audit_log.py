"""What the API writes to the audit besides changes: reads, downloads, searches and refused keys.

No request waits for the database: a thread appends what has come every second. What it cannot append when the process
stops goes to a file, from which the next process takes it up. Only a killed process loses the last second.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.audit import FAILURE, AuditEntry, AuditOrigin, acting, entry
from pipeline.disk import locked, sync
from pipeline.errors import MailroomError, Unavailable

if TYPE_CHECKING:
    from indexes.catalogue.audit_store import AuditStore
    from workers.settings import AuditSettings

log = logging.getLogger(__name__)

#: Seconds between two appends, and between two entries on the refused keys of one address.
APPEND_SECONDS, REFUSED_SECONDS = 1.0, 60.0
#: Entries that wait at most; then requests are refused rather than unrecorded.
MAX_WAITING = 100_000
#: Addresses whose refused keys are counted apart; those of the others are counted together.
MAX_ADDRESSES = 1_000
OTHER_ADDRESSES = "others"
SPOOL_FILE, KEY_FILE, LOCK_FILE = "audit-waiting.jsonl", "audit.key", "audit.lock"
#: Reading routes -> their action. Whether they are recorded says `audit.reads`.
READS: Mapping[str, str] = {
    "GET /v1/documents/{document_id}": "document.read",
    "GET /v1/documents/{document_id}/content": "document.download",
    "GET /v1/documents/{document_id}/text": "document.read_text",
    "GET /v1/documents/{document_id}/record": "document.read_record",
    "GET /v1/documents/{document_id}/why": "document.explain",
    "GET /v1/documents/{document_id}/similar": "document.find_similar",
}
#: Actions that give a document's content out as a whole.
DOWNLOADS = ("document.download", "document.read_text")


class AuditLog:
    """Collects entries and appends them in the background. May be called by several threads at once."""

    def __init__(self, store: AuditStore, settings: AuditSettings, run_path: Path) -> None:
        self._store, self._settings, self._run_path = store, settings, run_path
        self._waiting: deque[AuditEntry] = deque()
        self._refused: Counter[str] = Counter()
        self._refused_since = time.time()
        self._lock, self._appending, self._stopping = threading.Lock(), threading.Lock(), threading.Event()
        self._key: bytes | None = None
        self._take_up()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def check_room(self) -> None:
        """Raise Unavailable if so much waits that what comes now could not be recorded."""
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("store-unavailable", "The audit cannot be written, and too much waits for it; try later.")

    def read(self, route: str, document_id: str, status: int) -> None:
        """Record that a document was read through a route, if the settings ask for it."""
        action, extent = READS.get(route), self._settings.reads
        if action and (extent == "all" or (extent == "downloads" and action in DOWNLOADS)):
            outcome = {} if status < 400 else {"outcome": FAILURE}
            self._waiting.append(entry(action, f"document:{document_id}", {"status": status}, time=_now(), **outcome))

    def search(self, action: str, query: str) -> None:
        """Record a search or a question, by the keyed hash of its words or as it is, as the settings ask."""
        form = self._settings.searches
        if form != "off":
            data = {"query": query} if form == "text" else {"query_hash": self._hash(query)}
            self._waiting.append(entry(action, data=data, time=_now()))

    def refused_route(self, route: str) -> None:
        """Record that a valid key was refused for want of a scope or a right."""
        self._waiting.append(entry("access.refuse", f"route:{route}", outcome=FAILURE, time=_now()))

    def refused_key(self, address: str) -> None:
        """Count a request without a valid key. There is an entry for each address and minute, not for each request."""
        with self._lock:
            is_counted = address in self._refused or len(self._refused) < MAX_ADDRESSES
            self._refused[address if is_counted else OTHER_ADDRESSES] += 1

    def append(self) -> None:
        """Append what waits. Raises Unavailable if the catalogue does not answer; it waits on then."""
        with self._appending:
            self._collect_refused()
            batch = list(self._waiting)
            if batch:
                self._store.append(batch)
                for _ in batch:
                    self._waiting.popleft()

    def close(self) -> None:
        """Append what waits, or keep it in a file for the next process."""
        self._stopping.set()
        self._thread.join()
        self._refused_since = 0.0
        try:
            self.append()
        except MailroomError as error:
            log.error("the audit cannot be written (%s); %s keeps %d entries", error, self._spool, len(self._waiting))
            private = partial(os.open, mode=0o600)
            with locked(self._run_path / LOCK_FILE), open(self._spool, "a", opener=private) as file:
                file.writelines(json.dumps(asdict(waiting)) + "\n" for waiting in self._waiting)
                sync(file)

    @property
    def _spool(self) -> Path:
        return self._run_path / SPOOL_FILE

    def _run(self) -> None:
        while not self._stopping.wait(APPEND_SECONDS):
            try:
                self.append()
            except MailroomError as error:
                log.warning("the audit cannot be written, %d entries wait: %s", len(self._waiting), error)
            except Exception:
                log.exception("the audit cannot be written, %d entries wait", len(self._waiting))

    def _collect_refused(self) -> None:
        """Make entries of the refused keys of the last minute."""
        now = time.time()
        if now - self._refused_since < REFUSED_SECONDS:
            return
        with self._lock:
            counts, since = self._refused, self._refused_since
            self._refused, self._refused_since = Counter(), now
        for address, count in counts.items():
            with acting(AuditOrigin("unknown", source="rest", address=address)):
                data = {"requests": count, "since": int(since)}
                self._waiting.append(entry("key.refuse", data=data, outcome=FAILURE))

    def _hash(self, query: str) -> str:
        """Return the keyed hash of a query in lower case with single spaces. Without the key, which never leaves the
        data folder, nobody can try queries out."""
        if self._key is None:
            path = self._run_path / KEY_FILE
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with suppress(FileExistsError), os.fdopen(os.open(path, flags, 0o600), "wb") as file:
                file.write(secrets.token_bytes(32))
                sync(file)
            self._key = path.read_bytes()
        return hmac.new(self._key, " ".join(query.lower().split()).encode(errors="replace"), hashlib.sha256).hexdigest()

    def _take_up(self) -> None:
        """Take up what another process could not append. The file goes only when all is in the catalogue."""
        self._run_path.mkdir(parents=True, exist_ok=True)
        with locked(self._run_path / LOCK_FILE), suppress(FileNotFoundError):
            entries = [AuditEntry(**json.loads(line)) for line in self._spool.read_text().splitlines()]
            self._store.append(entries)
            self._spool.unlink()


def _now() -> int:
    return int(time.time() * 1000)
