"""The active embedding model, followed without a restart, and the candidates.

The settings name a model. `mailroom index model swap` lets another one serve instead: the catalogue remembers that, so
that workers embed their next document by it, and the writer publishes its index. A question is always embedded by the
model of the index that is searched, so that the two never disagree.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from models.registry import open_version
from pipeline.documents import EmbeddingModel
from pipeline.embed import OnnxEmbedder, embedder_digest
from pipeline.errors import MailroomError, Misconfigured
from pipeline.onnx import ModelFolder
from pipeline.ports import Embedder
from workers.settings import Settings

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue

log = logging.getLogger(__name__)

#: Seconds between two queries of the catalogue for the model that serves.
CHECK_SECONDS = 1.0
#: Seconds before a model that could not be loaded is tried again.
RETRY_SECONDS = 30.0


class Embedders:
    """The embedding models of one process, each loaded once, when it is first used. Thread-safe."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings, self._catalogue = settings, catalogue
        self._lock = threading.RLock()
        self._loaded: dict[str, Embedder] = {}
        self._retry_at: dict[str, float] = {}
        self._serving: EmbeddingModel | None = None
        self._checked_at = float("-inf")

    @cached_property
    def configured(self) -> EmbeddingModel:
        """The model that the settings name. Raises Misconfigured("bad-model")."""
        return self.describe(self._settings.models.embedder)

    def serving_model(self) -> EmbeddingModel:
        """Return the model that serves: the one that was swapped in, unless the settings have changed since."""
        with self._lock:
            if self._serving is None or time.monotonic() - self._checked_at >= CHECK_SECONDS:
                setting = self._settings.models.embedder
                models = self._catalogue.embeddings.models()
                serving = (model for model in models if model.serving and model.setting == setting)
                self._serving = next(serving, None) or self.configured
                self._checked_at = time.monotonic()
            return self._serving

    def current(self) -> Embedder:
        """Return the embedder of the model that serves. Raises Misconfigured("bad-model")."""
        return self.load(self.serving_model())

    def by_digest(self, digest: str) -> Embedder | None:
        """Return the embedder of an index's model, or None if it cannot be used: the search is then a lexical one."""
        with self._lock:
            if digest in self._loaded:
                return self._loaded[digest]
            if time.monotonic() < self._retry_at.get(digest, 0.0):
                return None
            models = {model.digest: model for model in (*self._catalogue.embeddings.models(), self.configured)}
            try:
                if digest in models:
                    return self.load(models[digest])
                reason = "it is not known here"
            except MailroomError as error:
                reason = str(error)
            log.error("the embedding model of the index cannot be used (%s): words alone are searched", reason)
            self._retry_at[digest] = time.monotonic() + RETRY_SECONDS
            return None

    def load(self, model: EmbeddingModel) -> Embedder:
        """Return the embedder of a model, loaded once.

        Raises Misconfigured("bad-model") if it cannot be loaded, and if its folder holds another model by now.
        """
        with self._lock:
            if model.digest not in self._loaded:
                folder = self._open(model.model)
                if embedder_digest(folder) != model.digest:
                    text = f"{model.model} is not what it was when its vectors were made; build it again."
                    raise Misconfigured("bad-model", text)
                models = self._settings.models
                self._loaded[model.digest] = OnnxEmbedder(folder, threads=models.threads, providers=models.providers)
            return self._loaded[model.digest]

    def describe(self, name: str) -> EmbeddingModel:
        """Check every file of a NAME, NAME@VERSION or folder; return its model. Raises Misconfigured("bad-model")."""
        folder = self._open(name)
        model = str(Path(name).absolute()) if "/" in name else folder.manifest.title
        return EmbeddingModel(embedder_digest(folder), model, folder.manifest.dimension)

    def _open(self, name: str) -> ModelFolder:
        folder = open_version(self._settings.models_root, name)
        if folder.manifest.kind != "embedder":
            raise Misconfigured(
                "bad-model", f"{folder.manifest.title} is of the kind {folder.manifest.kind}, not embedder."
            )
        return folder
