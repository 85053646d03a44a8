"""Deliveries: the outbox's jobs, executed. Each may run twice and has its effect once."""

from __future__ import annotations

import datetime
import logging
import os
import random
import re
import shutil
import uuid
from pathlib import Path

from indexes.blobs.folder import sync_folder
from pipeline.documents import Document, Job, State
from pipeline.errors import MailroomError, Misconfigured, Refused, Rejected, Unavailable
from pipeline.ports import Blobs, Catalogue
from workers.failed import FAILED, put_failed
from workers.settings import Settings
from workers.webhook import Gone, Webhook

log = logging.getLogger(__name__)

#: Seconds before attempt 2, 3, ...: the Standard Webhooks schedule. After the last one the delivery is parked.
SCHEDULE = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f<>:\"/\\|?*]+")
_RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$")
MAX_PART_BYTES = 120


class Deliver:
    """Runs a claimed job of the lane DELIVER: kind "folder", "webhook" or "failed"."""

    def __init__(self, catalogue: Catalogue, blobs: Blobs, settings: Settings) -> None:
        self._catalogue, self._blobs, self._settings = catalogue, blobs, settings
        self._webhook = Webhook(settings.webhooks.endpoints)

    def run(self, job: Job) -> None:
        ledger = self._catalogue.ledger
        kind, target = job.payload["kind"], job.payload["target"]
        try:
            document = self._catalogue.documents.get(job.subject)
            if document.state is State.DELETED:
                receipt = "the document was deleted"
            else:
                handler = {"folder": self._folder, "failed": self._failed, "webhook": self._post}[kind]
                receipt = handler(job, document, target)
            ledger.done(job, {"kind": kind, "target": target, "receipt": receipt, "attempt": job.attempt})
        except (Gone, Misconfigured, Refused, Rejected) as error:
            log.error("delivery %s of document %s is parked: %s", job.id, job.subject, error)
            ledger.park(job, error.code, error.detail)
        except (Unavailable, OSError) as error:
            self._again(job, error)

    def _again(self, job: Job, error: Exception) -> None:
        code = error.code if isinstance(error, MailroomError) else "store-unavailable"
        detail = error.detail if isinstance(error, MailroomError) else f"{type(error).__name__}: {error}"
        if job.attempt > len(SCHEDULE):
            self._catalogue.ledger.park(job, code, f"Given up after {job.attempt} attempts: {detail}")
            return
        delay = SCHEDULE[job.attempt - 1] * random.uniform(1.0, 1.2)
        self._catalogue.ledger.release(job, delay, code, detail)

    def _folder(self, job: Job, document: Document, template: str) -> str:
        """A copy under the folder root; never overwrites another content, and a repeat finds its own copy."""
        path = self._settings.folders_root / filled(template, document)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = self._copy(document, path.parent)
        try:
            return str(_place(content, path, document.revision).relative_to(self._settings.folders_root))
        finally:
            content.unlink(missing_ok=True)

    def _failed(self, job: Job, document: Document, source: str) -> str:
        """A copy in the tray's failed/ with a reason file, for the clerk."""
        folder = next(f for f in self._settings.tray.folders if f.source == source)
        root = self._settings.tray_path(folder)
        (root / FAILED).mkdir(parents=True, exist_ok=True)
        content = self._copy(document, root / FAILED)
        error = Rejected(job.payload["reason"], job.payload["detail"] or "")
        return put_failed(root, document.path, content, error, document.id).name

    def _post(self, job: Job, document: Document, endpoint: str) -> str:
        return self._webhook.send(endpoint, job.id, document)

    def _copy(self, document: Document, folder: Path) -> Path:
        """The document's bytes in a hidden file of ``folder``, durable."""
        path = folder / f".{uuid.uuid4().hex}"
        try:
            with self._blobs.open(document.revision) as source, path.open("xb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
        except KeyError as error:
            raise Rejected("damaged", f"The content of document {document.id} is no longer stored.") from error
        return path


def _place(content: Path, path: Path, revision: str) -> Path:
    """Link the complete copy to its name; where that name holds another content, to a name with the revision in it."""
    for candidate in (path, path.with_name(f"{path.stem}-{revision[:8]}{path.suffix}")):
        try:
            candidate.hardlink_to(content)
        except FileExistsError:
            if candidate.read_bytes() != content.read_bytes():
                continue
        sync_folder(candidate.parent)
        return candidate
    raise Refused("conflict", f"Both {path.name} and its numbered name hold other contents; move one of them.")


def filled(template: str, document: Document) -> Path:
    """A folder template with the document's values: each made a harmless path part first."""
    day = datetime.datetime.fromtimestamp(document.received_at, datetime.UTC)
    name = safe_part(document.name)
    values = {
        "label": safe_part(document.label or "unlabelled"),
        "year": f"{day:%Y}",
        "month": f"{day:%m}",
        "day": f"{day:%d}",
        "name": name,
        "stem": Path(name).stem,
        "suffix": Path(name).suffix,
        "source": safe_part(document.source),
        "id": document.id,
        "revision": document.revision,
        "sender": safe_part(document.metadata.get("from", "unknown")),
    }
    parts = [safe_part(part) for part in template.format(**values).split("/") if part]
    return Path(*parts)


def safe_part(text: str) -> str:
    """One path part: no separators, no control or reserved characters, no reserved names, 120 bytes at most."""
    part = _UNSAFE.sub("_", text).strip(" .") or "_"
    if _RESERVED.match(part):
        part = f"_{part}"
    stem, dot, suffix = part.rpartition(".")
    if len(part.encode()) <= MAX_PART_BYTES:
        return part
    room = MAX_PART_BYTES - len(f".{suffix}".encode()) if dot and len(suffix) < 10 else MAX_PART_BYTES
    cut = (stem if room < MAX_PART_BYTES else part).encode()[:room].decode("utf-8", "ignore")
    return f"{cut}.{suffix}" if room < MAX_PART_BYTES else cut
