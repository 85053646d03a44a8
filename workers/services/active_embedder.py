"""The embedding model in force, followed without a restart, and those beside it.

The settings name one. `mailroom index model swap` lets another serve instead: that stands in the catalogue, so that
workers embed new documents by it from their next document on, and the writer publishes its index. A question is always
embedded by the model of the index that is searched, so that the two never disagree.
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

#: The catalogue is asked this often which model serves, seconds.
LOOK_EVERY = 1.0
#: A model that could not be loaded is tried again after this long.
RETRY_SECONDS = 30.0


class Embedders:
    """One per process; safe for its threads. ``configured`` is loaded when it is first needed, as every other model."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings, self._catalogue = settings, catalogue
        self._lock = threading.RLock()
        self._loaded: dict[str, Embedder] = {}
        self._failed: dict[str, float] = {}
        self._chosen: EmbeddingModel | None = None
        self._looked_at = float("-inf")

    @cached_property
    def configured(self) -> EmbeddingModel:
        """The model that the settings name. Raises Misconfigured("bad-model")."""
        return self.describe(self._settings.models.embedder)

    def chosen(self) -> EmbeddingModel:
        """The model that serves: the one that was swapped in, for as long as the settings stay what they were then."""
        with self._lock:
            if self._chosen is None or time.monotonic() - self._looked_at >= LOOK_EVERY:
                setting = self._settings.models.embedder
                serving = (m for m in self._catalogue.embeddings.models() if m.serving and m.setting == setting)
                self._chosen = next(serving, None) or self.configured
                self._looked_at = time.monotonic()
            return self._chosen

    def current(self) -> Embedder:
        """The model that embeds the next document. Raises Misconfigured("bad-model")."""
        return self.load(self.chosen())

    def of(self, digest: str) -> Embedder | None:
        """The model that made an index's vectors; None where it is not to be had: then words alone are searched."""
        with self._lock:
            if digest in self._loaded:
                return self._loaded[digest]
            if time.monotonic() < self._failed.get(digest, 0.0):
                return None
            known = {model.digest: model for model in (*self._catalogue.embeddings.models(), self.configured)}
            try:
                if digest in known:
                    return self.load(known[digest])
                reason = "it is not known here"
            except MailroomError as error:
                reason = str(error)
            log.error("the embedding model of the index cannot be used (%s): words alone are searched", reason)
            self._failed[digest] = time.monotonic() + RETRY_SECONDS
            return None

    def load(self, model: EmbeddingModel) -> Embedder:
        """The model, loaded once. Raises Misconfigured("bad-model"), too where the folder is another one by now."""
        with self._lock:
            if model.digest not in self._loaded:
                folder = self._open(model.model)
                if embedder_digest(folder) != model.digest:
                    text = f"{model.model} is not what it was when its vectors were made; build it again."
                    raise Misconfigured("bad-model", text)
                runtime = {"threads": self._settings.models.threads, "providers": self._settings.models.providers}
                self._loaded[model.digest] = OnnxEmbedder(folder, **runtime)
            return self._loaded[model.digest]

    def describe(self, name: str) -> EmbeddingModel:
        """A model by NAME, NAME@VERSION or folder, every file checked. Raises Misconfigured("bad-model")."""
        folder = self._open(name)
        model = str(Path(name).absolute()) if "/" in name else folder.manifest.title
        return EmbeddingModel(embedder_digest(folder), model, folder.manifest.dimension)

    def _open(self, name: str) -> ModelFolder:
        folder = open_version(self._settings.models_root, name)
        if folder.manifest.kind != "embedder":
            raise Misconfigured("bad-model", f"{folder.manifest.title} is a {folder.manifest.kind}, no embedder.")
        return folder
