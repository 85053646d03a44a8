"""The job of an erasure: removes what deletion alone leaves behind, and signs the receipt.

It runs in the queue DELIVER. Each step may be repeated; what cannot be removed now is tried again later.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexes.catalogue.erasures import ERASE
from pipeline.disk import locked, replacement, write_durably
from pipeline.documents import Document, Job
from pipeline.erasure import Delivery, ErasedDocument, Erasure, ErasureState
from pipeline.errors import MailroomError
from workers.services.filed_copies import FiledCopies
from workers.services.installation_key import InstallationKey
from workers.services.intake import Intake
from workers.services.tombstones import Tombstones
from workers.settings import Settings

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue

__all__ = ["ERASE", "Eraser"]

log = logging.getLogger(__name__)

#: Seconds between two looks at what an erasure waits for, and before a step that failed is repeated, at most.
WAIT_SECONDS, MAX_PAUSE_SECONDS = 1.0, 3600.0
#: Seconds after which an erasure runs whose request was never completed: its process was killed.
OPEN_SECONDS = 60.0
#: Holds when the catalogue's file was last written anew, and for how long; and the share of time spent on that at most.
VACUUM_MARKER, VACUUM_SHARE = "vacuum", 0.05
#: The stores of a receipt, in its order, and what is removed from each.
STORES = (
    "originals",
    "texts",
    "vectors",
    "candidate vectors",
    "cached results",
    "index",
    "filed copies",
    "failed copies",
    "jobs",
    "history",
    "arrivals",
    "plans",
    "idempotency keys",
    "feedback",
    "feedback on other documents",
    "saved queries",
    "training sets",
)


class Eraser:
    """Runs the jobs of erasures."""

    def __init__(self, catalogue: Catalogue, intake: Intake, settings: Settings) -> None:
        self._catalogue, self._intake, self._settings = catalogue, intake, settings
        self._key = InstallationKey(settings.home)
        self._tombstones = Tombstones(settings.home, self._key)

    def run(self, job: Job) -> None:
        """Erase, then complete the job with a receipt. The job is released while the index is not clean yet."""
        jobs = self._catalogue.jobs
        try:
            waits_for = self._advance(job)
        except (MailroomError, OSError) as error:
            log.error("erasure %s will be continued: %s", job.subject, error)
            pause = min(MAX_PAUSE_SECONDS, WAIT_SECONDS * 2**job.attempt)
            jobs.release(job, pause, "store-unavailable", f"{type(error).__name__}: {error}")
            return
        if waits_for:
            jobs.release(job, WAIT_SECONDS, "waiting", waits_for, counted=False)

    def _advance(self, job: Job) -> str:
        """Run every step that can be run; return what the erasure waits for, or "" once it is done."""
        store = self._catalogue.erasures
        erasure = store.get(job.subject)
        if erasure.state is ErasureState.OPEN:
            if time.time() - erasure.requested_at < OPEN_SECONDS:
                return "the request is still being recorded"
            store.seal(erasure.id)
        for document in erasure.documents:
            if not document.done:
                self._erase(document)
        if not erasure.index_clean:
            return "the index writer rewrites what holds something of the documents"
        times = [document.anonymised_at for document in store.get(erasure.id).documents]
        if not self._is_vacuumed(max(times, default=0.0)):
            return "the catalogue's file is written anew, for several erasures at a time"
        for document in erasure.documents:  # couriers may have been about to write when it was deleted
            unfinished = [delivery for delivery in document.deliveries if delivery.place is None]
            self._remove_copies(document.id, document.content_hash, unfinished)
        unreachable = self._tombstones.add(document.id for document in erasure.documents)
        receipt = self._key.signed(self._receipt(store.get(erasure.id), unreachable))
        store.finish(job, receipt)
        return ""

    def _is_vacuumed(self, since: float) -> bool:
        """Return True if the catalogue's file was written anew after ``since``; do it, unless that was done so recently
        that it would take more than a small share of the time."""
        database, marker = self._catalogue.database, self._settings.run_path / VACUUM_MARKER
        if not database.sqlite:
            return True
        with locked(marker.with_name(f"{VACUUM_MARKER}.lock")):
            try:
                started, seconds = map(float, marker.read_text().split())
            except (OSError, ValueError):
                started, seconds = 0.0, 0.0
            if started > since:
                return True
            if time.time() - started < seconds / VACUUM_SHARE:
                return False
            started = time.time()
            database.vacuum()
            write_durably(marker, f"{started} {time.time() - started}\n".encode())
            return True

    def _erase(self, document: ErasedDocument) -> None:
        """Remove a document from everything but the index, and anonymise its rows."""
        self._intake.drop_unused(document.content_hash)
        copies = self._remove_copies(document.id, document.content_hash, document.deliveries)
        examples, models = self._remove_examples(document.id)
        removed = {**document.removed, **copies.removed, "training sets": examples}
        why = "the model was trained on a set with this document; its weights do not contain the text as such"
        remaining = [*copies.remaining, *(("models", model, why, "the model is trained anew") for model in models)]
        done = replace(document, removed=removed, remaining=remaining, done=True)
        self._catalogue.erasures.update(done, self._key.pseudonym("content", document.content_hash))

    def remove_copies(self, document: Document, deliveries: Sequence[Delivery]) -> None:
        """Remove the copies that deliveries of a deleted document have put into folders after all."""
        self._remove_copies(document.id, document.content_hash, deliveries)

    def _remove_copies(self, document_id: str, content_hash: str, deliveries: Sequence[Delivery]) -> FiledCopies:
        copies = FiledCopies(self._settings, self._catalogue.erasures.is_shared_copy)
        for delivery in deliveries:
            copies.remove(document_id, content_hash, delivery)
        return copies

    def _remove_examples(self, document_id: str) -> tuple[int, list[str]]:
        """Remove a document from the recorded training sets; return how many examples, and the models' names."""
        identity, count, models = f"document:{document_id}", 0, []
        for file in sorted((self._settings.home / "training").glob("*/examples.jsonl")):
            lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
            others = [line for line in lines if json.loads(line).get("identity") != identity]
            if len(others) < len(lines):
                with replacement(file) as out:
                    out.writelines(line.encode() for line in others)
                count += len(lines) - len(others)
                # Any version that the registry has may have been trained on the set.
                versions = sorted(Path(self._settings.models_root / file.parent.name).glob("*/model.toml"))
                models += [f"{file.parent.name}@{version.parent.name}" for version in versions]
        return count, models

    def _receipt(self, erasure: Erasure, unreachable: Sequence[str]) -> dict[str, Any]:
        removed: Counter[str] = Counter()
        for document in erasure.documents:
            removed.update(document.removed)
        removed.update(originals=len(erasure.documents), index=len(erasure.documents))
        remaining = [list(row) for document in erasure.documents for row in document.remaining]
        remaining += self._always_kept(unreachable)
        return {
            "kind": "mailroom-erasure-receipt",
            "version": 1,
            "erasure": erasure.id,
            "tenant": erasure.tenant,
            "requested_at": erasure.requested_at,
            "requested_by": erasure.requested_by,
            "finished_at": time.time(),
            "documents": [
                {
                    "id": document.id,
                    "attached_to": document.parent,
                    "received_at": document.received_at,
                    "content": self._key.pseudonym("content", document.content_hash),
                }
                for document in erasure.documents
            ],
            "removed": {store: removed[store] for store in STORES},
            "kept": [dict(zip(("store", "what", "why", "until"), row, strict=True)) for row in remaining],
        }

    def _always_kept(self, unreachable: Sequence[str]) -> list[list[str]]:
        history = "id, times, states and a keyed hash of the content: proof that the documents were here and are erased"
        rows = [["catalogue", "a row for each document and its history", history, "the installation is removed"]]
        if not self._settings.catalogue_url.startswith("sqlite"):
            why = "PostgreSQL overwrites deleted rows by VACUUM and its write-ahead log by rotation"
            rows.append(["catalogue", "deleted rows in the database server's files", why, "the server has reused them"])
        if self._settings.index.url:
            why = "Milvus deletes the files of compacted segments when its garbage collection is due"
            rows.append(["index", "deleted rows in the server's files", why, "the server's garbage collection"])
        for folder in self._tombstones.backups():
            why = "a backup is not rewritten; the list of erasures beside it hides the documents again at a restore"
            if str(folder) in unreachable:
                why = "the backup cannot be reached; restore it only with this installation's list of erasures"
            rows.append(["backups", str(folder), why, "the next `mailroom backup` to this folder"])
        return rows
