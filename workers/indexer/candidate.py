"""Candidate embedding models: missing vectors are embedded, and candidate indexes are built, in the background.

As long as a candidate is kept, new documents are embedded by it, too: so it can serve, or serve again, at once. A
document without vectors of the serving model (another model served when it arrived) is embedded here as well.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import numpy as np

from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import EmbeddingModel
from pipeline.errors import MailroomError
from pipeline.faults import fault
from workers.services.active_embedder import Embedders
from workers.services.rebuild import CandidateIndex, candidate_folder, is_ready

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue
    from indexes.places import Indexes

log = logging.getLogger(__name__)

#: Seconds between two searches for documents without vectors, and before a model that failed is tried again.
SEARCH_SECONDS, PAUSE_SECONDS = 2.0, 30.0
#: Documents in one query, and chunks in one call of the model.
DOCUMENTS, CHUNKS = 50, 64


class EmbeddingThread(Thread):
    """Embeds the documents without vectors of ``model``, one by one; each is stored at once.

    ``embedded`` holds the numbers of the documents that are done and were not yet collected.
    """

    def __init__(self, catalogue: Catalogue, embedders: Embedders, model: EmbeddingModel) -> None:
        super().__init__(daemon=True, name="embedding")
        self.model = model
        self.embedded: deque[int] = deque()
        self.failed = False
        self._catalogue, self._embedders, self._stop_requested = catalogue, embedders, Event()

    def run(self) -> None:
        """Embed until no document is missing. An error is logged and ends the thread; the writer goes on without it."""
        try:
            while numbers := self._catalogue.embeddings.missing(self.model.digest, DOCUMENTS):
                if not sum(map(self._embed, numbers)):
                    return  # all of them changed meanwhile: the next thread tries them again
        except MailroomError as error:
            self.failed = True
            log.error("the model %s cannot embed: %s", self.model.model, error)
        except Exception:
            self.failed = True
            log.exception("the model %s cannot embed", self.model.model)

    def stop(self) -> None:
        """End the thread after its current call of the model, and wait for its end."""
        self._stop_requested.set()
        self.join()

    def _embed(self, number: int) -> bool:
        if self._stop_requested.is_set():
            return False
        embedder = self._embedders.load(self.model)
        chunks, _ = self._catalogue.chunks.of_document(number)
        texts = [chunk.text_with_heading for chunk in chunks]
        vectors = np.zeros((len(texts), self.model.dimension), np.float32)
        for start in range(0, len(texts), CHUNKS):
            vectors[start : start + CHUNKS] = embedder.embed(texts[start : start + CHUNKS])
            if self._stop_requested.is_set():
                return False
        stored = self._catalogue.embeddings.store_vectors(number, self.model.digest, chunks, vectors)
        fault("embedding.stored", str(number))
        self.embedded += [number] if stored else []
        return stored


class CandidateIndexBuilder:
    """Brings all models up to date, in short steps between those of the index writer: one thread embeds, or one
    candidate index is built in slices."""

    def __init__(self, catalogue: Catalogue, indexes: Indexes, embedders: Embedders) -> None:
        self._catalogue, self._indexes, self._embedders = catalogue, indexes, embedders
        self._embedding: EmbeddingThread | None = None
        self._index: CandidateIndex | None = None
        self._search_at = 0.0

    def run_for(self, root: Path, serving: str, vectors_missing: bool, seconds: float) -> list[int]:
        """Work for about ``seconds``.

        Args:
            root: the folder of the index that serves.
            serving: the digest of its model.
            vectors_missing: whether it holds documents without vectors of that model.
            seconds: the length of a slice of building.

        Returns the numbers of the documents that the serving model has embedded since the last call.
        """
        embedded = []
        if self._embedding is not None and self._embedding.model.digest == serving:
            waiting = self._embedding.embedded
            embedded = [waiting.popleft() for _ in range(len(waiting))]
        if self._embedding is not None and self._embedding.is_alive():
            return embedded
        if self._embedding is not None:
            self._search_at = time.monotonic() + (PAUSE_SECONDS if self._embedding.failed else 0.0)
            self._embedding = None
        if self._index is not None:
            if self._index.run_for(seconds):
                log.info("the index of another embedding model is built: %d documents", self._index.documents_done)
                self._index = None
        elif time.monotonic() >= self._search_at:
            self._search_at = time.monotonic() + SEARCH_SECONDS
            self._start_next(root, serving, vectors_missing)
        return embedded

    def _start_next(self, root: Path, serving: str, vectors_missing: bool) -> None:
        """Start what is missing: vectors before indexes, those of the serving model first."""
        models = self._catalogue.embeddings.models()
        if vectors_missing and all(model.digest != serving for model in models):
            models.append(self._embedders.serving_model())
        for model in sorted(models, key=lambda model: model.digest != serving):
            if self._catalogue.embeddings.missing(model.digest, 1):
                self._embedding = EmbeddingThread(self._catalogue, self._embedders, model)
                self._embedding.start()
                return
        for model in models:
            if model.digest != serving and not is_ready(root, model):
                folder = candidate_folder(root, model.digest)
                self._index = CandidateIndex(self._catalogue.chunks, self._indexes, folder, model)
                return

    def drop_with(self, root: Path, erased: DocumentNumbers) -> None:
        """Delete the candidate indexes that hold one of these documents; they are built again from stored vectors."""
        for model in self._catalogue.embeddings.models():
            folder = candidate_folder(root, model.digest)
            building = self._index if self._index is not None and self._index.folder == folder else None
            reader = self._indexes.reader(folder) if folder.exists() else None
            numbers = building.numbers if building else reader.snapshot().numbers if reader else DocumentNumbers()
            if erased.isdisjoint(numbers):
                continue
            if building is not None:
                building.close()
                self._index = None
            self._indexes.drop(folder)
            log.info("the candidate index of %s held erased documents and is built anew", model.model)

    def close(self) -> None:
        """Stop the work; the next builder resumes it."""
        if self._embedding is not None:
            self._embedding.stop()
        if self._index is not None:
            self._index.close()
            self._index = None
