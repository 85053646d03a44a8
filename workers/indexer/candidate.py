"""Embedding models beside the one that serves: what they lack is embedded, and their indexes are built, in the background.

As long as a model is kept, new documents are embedded by it too: so it can serve, or serve again, at once. A document that
the serving model has not embedded (another one was in force when it came) is embedded here as well.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from pipeline.documents import EmbeddingModel
from pipeline.errors import MailroomError
from pipeline.faults import fault
from workers.services.active_embedder import Embedders
from workers.services.rebuild import SideIndex, folder_of, is_ready

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue
    from indexes.places import Indexes

log = logging.getLogger(__name__)

#: Seconds between two looks for documents that a model lacks, and before a model that failed is tried again.
LOOK_SECONDS, PAUSE_SECONDS = 2.0, 30.0
#: Documents asked for at a time, and passages embedded in one call.
DOCUMENTS, PASSAGES = 50, 64


class Embedding(Thread):
    """Embeds what ``model`` lacks, document by document; what was done stays done. ``fresh``: numbers of the documents."""

    def __init__(self, catalogue: Catalogue, embedders: Embedders, model: EmbeddingModel) -> None:
        super().__init__(daemon=True, name="embedding")
        self.model = model
        self.fresh: deque[int] = deque()
        self.failed = False
        self._catalogue, self._embedders, self._over = catalogue, embedders, Event()

    def run(self) -> None:
        try:
            while numbers := self._catalogue.embeddings.missing(self.model.digest, DOCUMENTS):
                if not sum(map(self._embed, numbers)):
                    return  # all of them changed meanwhile: they are looked at again later
        except MailroomError as error:
            self.failed = True
            log.error("the model %s cannot embed: %s", self.model.model, error)
        except Exception:  # the writer goes on without it
            self.failed = True
            log.exception("the model %s cannot embed", self.model.model)

    def stop(self) -> None:
        self._over.set()
        self.join()

    def _embed(self, number: int) -> bool:
        if self._over.is_set():
            return False
        embedder, catalogue = self._embedders.load(self.model), self._catalogue
        chunks, _ = catalogue.chunks.of_document(number)
        texts = [chunk.text_with_heading for chunk in chunks]
        rows = []
        for start in range(0, len(texts), PASSAGES):
            rows.extend(embedder.embed(texts[start : start + PASSAGES]))
            if self._over.is_set():
                return False
        stored = catalogue.embeddings.store_vectors(number, self.model.digest, chunks, rows)
        fault("embedding.stored", str(number))
        self.fresh += [number] if stored else []
        return stored


class CandidateIndexBuilder:
    """`advance` in every step of the writer: short, since the work is a thread's or comes in slices."""

    def __init__(self, catalogue: Catalogue, indexes: Indexes, embedders: Embedders) -> None:
        self._catalogue, self._indexes, self._embedders = catalogue, indexes, embedders
        self._embedding: Embedding | None = None
        self._side: SideIndex | None = None
        self._look_at = 0.0

    def advance(self, root: Path, serving: str, missing_from_index: bool, seconds: float) -> list[int]:
        """Go on for about ``seconds``. ``lacking``: the index holds documents without vectors of the ``serving`` model. Returns
        the numbers of those that have them by now."""
        fresh = self._drained(serving)
        if self._embedding is not None and self._embedding.is_alive():
            return fresh
        if self._embedding is not None:
            self._look_at = time.monotonic() + (PAUSE_SECONDS if self._embedding.failed else 0.0)
            self._embedding = None
        if self._side is not None:
            self._build(seconds)
        elif time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            self._begin(root, serving, missing_from_index)
        return fresh

    def _begin(self, root: Path, serving: str, missing_from_index: bool) -> None:
        """The next thing to do, if there is one: vectors first, the serving model's before all."""
        models = self._catalogue.embeddings.models()
        if missing_from_index and all(model.digest != serving for model in models):
            models.append(self._embedders.chosen())
        for model in sorted(models, key=lambda model: model.digest != serving):
            if self._catalogue.embeddings.missing(model.digest, 1):
                self._embedding = Embedding(self._catalogue, self._embedders, model)
                self._embedding.start()
                return
        for model in models:
            if model.digest != serving and not is_ready(root, model):
                folder = folder_of(root, model.digest)
                self._side = SideIndex(self._catalogue.chunks, self._indexes, folder, model)
                return

    def _build(self, seconds: float) -> None:
        if self._side.advance(seconds):
            log.info("the index of another embedding model is built: %d documents", self._side.done)
            self._side = None

    def _drained(self, serving: str) -> list[int]:
        if self._embedding is None or self._embedding.model.digest != serving:
            return []
        fresh = self._embedding.fresh
        return [fresh.popleft() for _ in range(len(fresh))]

    def close(self) -> None:
        """Leave everything as it is, to be gone on with."""
        if self._embedding is not None:
            self._embedding.stop()
        if self._side is not None:
            self._side.close()
            self._side = None
