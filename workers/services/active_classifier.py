"""The active classifier, followed without a restart.

A promotion replaces a pointer file, a taxonomy operation another file. `current` is called once for each document: it
costs two `stat` calls if nothing changed, and loads the new version otherwise. So a worker switches between two
documents and never inside one.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from models.active import pointer_path
from models.registry import open_version
from models.taxonomy import FILE, read_operations
from pipeline.classify import OnnxClassifier
from pipeline.errors import MailroomError
from pipeline.onnx import ModelFolder
from workers.settings import Settings

log = logging.getLogger(__name__)

#: Seconds before a version that could not be used is tried again: its folder may have been repaired.
RETRY_SECONDS = 30.0

_Signature = tuple[tuple[int, int, int] | None, ...]


class Classifiers:
    """The active classifier of one process, and any other version on demand. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._signature: _Signature | None = None
        self._retry_at = 0.0
        self._current: OnnxClassifier | None = None

    def current(self) -> OnnxClassifier | None:
        """Return the active classifier under today's taxonomy.

        None if there was never a usable one: documents then go to review, and ingestion and search go on. If a newly
        promoted version cannot be used, the one before it continues to serve, and the error is logged.
        """
        with self._lock:
            root, name = self._settings.models_root, self._settings.models.classifier
            pointer = () if "/" in name or "@" in name else (pointer_path(root, name),)
            signature = tuple(file_identity(path) for path in (root / FILE, *pointer))
            if signature != self._signature or time.monotonic() > self._retry_at > 0:
                self._follow()
                # Taken before the files were read: what changed meanwhile is noticed at the next call.
                self._signature = signature
            return self._current

    def open(self, model: str) -> OnnxClassifier:
        """Load a version (NAME, NAME@VERSION or a folder) under today's taxonomy. Raises Misconfigured("bad-model")."""
        return self._load(open_version(self._settings.models_root, model))

    def _follow(self) -> None:
        current = self._current
        try:
            folder = open_version(self._settings.models_root, self._settings.models.classifier)
            if current is not None and current.name == folder.manifest.title and current.runs(folder):
                self._current = current.with_taxonomy(read_operations(self._settings.models_root))
            else:
                self._current = self._load(folder)
                log.info("the classifier is %s", self._current.name)
            self._retry_at = 0.0
        except MailroomError as error:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            consequence = f"{current.name} continues to serve" if current else "documents go to review"
            log.error("the classifier cannot be loaded, %s: %s", consequence, error)

    def _load(self, folder: ModelFolder) -> OnnxClassifier:
        models = self._settings.models
        operations = read_operations(self._settings.models_root)
        return OnnxClassifier(folder, threads=models.threads, providers=models.providers, operations=operations)


def file_identity(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is replaced: inode, time and size; None if it cannot be read."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
