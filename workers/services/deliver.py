"""Deliveries: the jobs of the outbox. Each may run twice and takes effect once."""

from __future__ import annotations

import filecmp
import logging
import os
import random
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.disk import link_new, make_folders, new_file, sync_folder
from pipeline.documents import Document, Job, State
from pipeline.erasure import Delivery
from pipeline.errors import Misconfigured, Refused, Rejected, Unavailable
from pipeline.names import fill_template
from pipeline.ports import Blobs
from pipeline.timings import TIMINGS
from workers.services.erase import ERASE, Eraser
from workers.services.failed_folder import FAILED, put_failed
from workers.services.webhook import WebhookSender
from workers.settings import Settings

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue

log = logging.getLogger(__name__)

#: Seconds before attempt 2, 3, ...: the Standard Webhooks schedule. After the last one the delivery is parked.
SCHEDULE = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)


class DeliveryService:
    """Runs claimed jobs of the queue DELIVER: deliveries ("folder", "webhook", "failed") and erasures."""

    def __init__(self, catalogue: Catalogue, blobs: Blobs, settings: Settings, eraser: Eraser) -> None:
        self._catalogue, self._blobs, self._settings, self._eraser = catalogue, blobs, settings, eraser
        self._webhooks = WebhookSender(settings.webhooks.endpoints)

    def run(self, job: Job) -> None:
        """Deliver, then complete the job. A fault of the receiver releases it for a later attempt; others park it."""
        if job.stage == ERASE:
            self._eraser.run(job)
            return
        started = time.perf_counter()
        self._run(job)
        TIMINGS.observe("deliver", time.perf_counter() - started)

    def _run(self, job: Job) -> None:
        jobs = self._catalogue.jobs
        kind, target = job.payload["kind"], job.payload["target"]
        try:
            document = self._catalogue.documents.get(job.subject)
            if document.state is State.DELETED:
                receipt = "the document was deleted"
            elif kind == "webhook":
                receipt = self._webhooks.send(target, job.id, document, job.payload["at"])
            else:
                receipt = {"folder": self._folder, "failed": self._failed}[kind](job, document, target)
            data = {"kind": kind, "target": target, "receipt": receipt, "attempt": job.attempt}
            if not jobs.complete(job, data) and self._catalogue.documents.get(job.subject).state is State.DELETED:
                # It was erased while it was copied, and its erasure may have looked for this copy before it was there.
                self._eraser.remove_copies(document, [Delivery(kind, target, receipt)])
        except (Misconfigured, Refused, Rejected) as error:
            log.error("delivery %s of document %s is parked: %s", job.id, job.subject, error.code)
            TIMINGS.fail("deliver", error.code)
            jobs.park(job, error.code, error.detail)
        except (Unavailable, OSError) as error:
            code = error.code if isinstance(error, Unavailable) else "store-unavailable"
            detail = error.detail if isinstance(error, Unavailable) else f"{type(error).__name__}: {error}"
            TIMINGS.fail("deliver", code)
            if job.attempt > len(SCHEDULE):
                jobs.park(job, code, f"Given up after {job.attempt} attempts: {detail}")
            else:
                jobs.release(job, SCHEDULE[job.attempt - 1] * random.uniform(1.0, 1.2), code, detail)

    def _folder(self, job: Job, document: Document, template: str) -> str:
        """Copy the document under the folder root; return the path. Another content is never overwritten, and a repeat
        finds its own copy."""
        root = self._settings.folders_root
        path = root / fill_template(template, document)
        folder_mode, file_mode = self._settings.filed_modes
        make_folders(path.parent, folder_mode)
        content = self._copy(job, document, path.parent, file_mode)
        try:
            numbered = path.with_name(f"{path.stem}-{document.content_hash[:8]}{path.suffix}")
            for candidate in (path, numbered):
                if link_new(content, candidate) or filecmp.cmp(content, candidate, shallow=False):
                    break
            else:
                text = f"Both {path.name} and its numbered name hold other contents; move one of them."
                raise Refused("conflict", text)
            destination = candidate.relative_to(root)
            for folder in destination.parents:
                sync_folder(root / folder)
            return str(destination)
        finally:
            content.unlink(missing_ok=True)

    def _failed(self, job: Job, document: Document, source: str) -> str:
        """Copy the document to the tray's failed/ folder with a reason file; return the file's name."""
        folder = next((folder for folder in self._settings.tray.folders if folder.source == source), None)
        if folder is None:
            raise Misconfigured("bad-settings", f"There is no tray with source {source!r} any more.")
        root = self._settings.tray_path(folder)
        folder_mode, file_mode = self._settings.tray_modes
        make_folders(root / FAILED, folder_mode)
        content = self._copy(job, document, root / FAILED, file_mode)
        error = Rejected(job.payload["reason"], job.payload["detail"] or "")
        return put_failed(root, document.path, content, error, document.id, file_mode).name

    def _copy(self, job: Job, document: Document, folder: Path, mode: int) -> Path:
        """Write the document's bytes durably to a hidden file of ``folder`` with permissions ``mode``; return its path.

        Files of an earlier attempt that was killed are removed.
        """
        for leftover in folder.glob(f".{job.id}.*"):
            leftover.unlink(missing_ok=True)
        path = folder / f".{job.id}.{uuid.uuid4().hex}"
        try:
            with self._blobs.open(document.content_hash) as source, new_file(path) as copy:
                os.fchmod(copy.fileno(), mode)  # whatever the umask
                shutil.copyfileobj(source, copy, 1 << 20)
        except KeyError as error:
            raise Rejected("damaged", f"The content of document {document.id} is no longer stored.") from error
        return path
