"""The classifier in force, followed without a restart.

A promotion moves a pointer file, a taxonomy operation replaces another. Whoever judges a document asks `current` once
for it: two `stat` calls where nothing changed, the new version where something did. So a worker switches between two
documents and never inside one.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

from models.active import pointer_path
from models.registry import open_version
from models.taxonomy import FILE, read_operations
from pipeline.classify import OnnxClassifier
from pipeline.errors import MailroomError
from pipeline.onnx import ModelFolder
from pipeline.ports import Classifier
from workers.settings import Settings

log = logging.getLogger(__name__)

#: A version that could not be used is tried again after this long: its folder may have been put right.
RETRY_SECONDS = 30.0

_Signature = tuple[tuple[int, int, int] | None, ...]


class Classifiers:
    """One per process; safe for its threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._seen: _Signature | None = None
        self._again = 0.0
        self._current: OnnxClassifier | None = None

    def current(self) -> Classifier | None:
        """The classifier in force under today's taxonomy.

        None where there never was a usable one: documents then go to review, and ingestion and search go on. Where a
        newly promoted version cannot be used, the one before it goes on serving, and the log says so.
        """
        with self._lock:
            signature = self._signature()
            if signature != self._seen or time.monotonic() > self._again > 0:
                self._follow()
                # Taken before the files were read: what changed meanwhile is seen next time.
                self._seen = signature
            return self._current

    def open(self, model: str) -> OnnxClassifier:
        """Any version (NAME, NAME@VERSION or a folder) under today's taxonomy. Raises Misconfigured("bad-model")."""
        return self._load(open_version(self._settings.models_root, model))

    def _follow(self) -> None:
        try:
            folder = open_version(self._settings.models_root, self._settings.models.classifier)
            held = self._current
            if held is not None and held.name == folder.manifest.title and held.runs(folder):
                self._current = held.with_taxonomy(read_operations(self._settings.models_root))
            else:
                self._current = self._load(folder)
                log.info("the classifier is %s", self._current.name)
            self._again = 0.0
        except MailroomError as error:
            self._again = time.monotonic() + RETRY_SECONDS
            still = f"{self._current.name} goes on serving" if self._current else "documents go to review"
            log.error("no new classifier, %s: %s", still, error)

    def _load(self, folder: ModelFolder) -> OnnxClassifier:
        models = self._settings.models
        operations = read_operations(self._settings.models_root)
        runtime: dict[str, Any] = {"threads": models.threads, "providers": models.providers}
        return OnnxClassifier(folder, **runtime, operations=operations)

    def _signature(self) -> _Signature:
        root, name = self._settings.models_root, self._settings.models.classifier
        pointed = () if "/" in name or "@" in name else (pointer_path(root, name),)
        return tuple(_stat(path) for path in (root / FILE, *pointed))


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
