"""The index as an operator changes it: rebuilt, copied to another place, or of another embedding model.

A running index writer does the work, since it is the one process that changes the index; without one, the calling
process does it. What was interrupted resumes with the same call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from indexes.open import open_indexes
from pipeline.documents import EmbeddingModel
from pipeline.errors import Misconfigured, Refused, Unavailable
from pipeline.questions import ADMINISTRATOR, ALL, Filters
from workers.indexer.writer import CLOCK_SECONDS, SLICE_SECONDS
from workers.services.active_embedder import Embedders
from workers.services.rebuild import REBUILD_REQUEST, Rebuild, candidate_folder, is_ready
from workers.settings import Settings

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue
    from indexes.places import Indexes
    from pipeline.ports import IndexReader, IndexWriter
    from workers.indexer.writer import Indexer

#: Seconds for a running writer to publish a rebuilt index.
REBUILD_SECONDS = 24 * 3600.0
#: Seconds between two looks at the work of the running writer, and between two steps of our own.
POLL_SECONDS, STEP_SECONDS = 0.2, 0.02
#: Seconds for which an index that cannot be opened may still become usable: a reader tries again within that time.
STUCK_SECONDS = 20.0

#: Is called with the number of documents that are done.
Report = Callable[[int], None]


class IndexMaintenance:
    """Rebuilds and copies the index from the catalogue's texts and vectors, without embedding anything again."""

    def __init__(
        self,
        catalogue: Catalogue,
        indexes: Indexes,
        embedders: Embedders,
        settings: Settings,
        open_writer: Callable[[], IndexWriter],
        open_indexer: Callable[[], Indexer],
    ) -> None:
        self._catalogue, self._indexes, self._embedders, self._settings = catalogue, indexes, embedders, settings
        self._open_writer, self._open_indexer = open_writer, open_indexer

    def document_count(self) -> int:
        """Return how many documents the catalogue has."""
        return sum(self._catalogue.documents.counts().values())

    def rebuild(self, wait: bool, report: Report) -> str | None:
        """Build the index anew while the present one serves; return its generation.

        None if a running writer does it and ``wait`` is False; ``report`` is not called while a running writer works.
        """
        try:
            writer = self._open_writer()
        except Refused:  # a running writer holds the index
            return self._request_rebuild(wait)
        _run(Rebuild(self._catalogue.chunks, self._indexes, writer), report)
        self._open_indexer().step()  # what the catalogue finished meanwhile
        return self._indexes.reader().snapshot().generation

    def _request_rebuild(self, wait: bool) -> str | None:
        request = self._settings.index_path / REBUILD_REQUEST
        request.touch()
        deadline = time.monotonic() + REBUILD_SECONDS
        while wait and time.monotonic() < deadline:
            if not request.exists():
                return self._indexes.reader().snapshot().generation
            time.sleep(POLL_SECONDS)
        if wait:
            raise Refused("conflict", "The writer did not finish; see logs/writer.log in the data folder.")
        return None

    def copy_to(self, url: str, report: Report) -> tuple[int, int]:
        """Copy the index to ``url`` (empty: the folder of the settings) while the present one serves.

        Returns how many documents and chunks are there. Raises Refused("bad-request") for the present place, and
        Misconfigured("bad-index") if something is missing in the copy.
        """
        settings = self._settings.index
        if url == settings.url:
            raise Refused("bad-request", "The index is there already; `mailroom index rebuild` builds it anew.")
        target = open_indexes(url, self._settings.index_path, settings.kind)
        writer = target.writer(self._embedders.serving_model())
        try:
            copy = Rebuild(self._catalogue.chunks, target, writer)
            try:
                _run(copy, report)
            finally:
                copy.close()
        finally:
            writer.close()
        return self._verified(target, copy.started_at)

    def _verified(self, target: Indexes, started_at: float) -> tuple[int, int]:
        """Return how many documents and chunks a copy holds; those finished after its start may be missing."""
        documents = self._catalogue.documents
        all_revisions = documents.visible(ADMINISTRATOR, Filters(revisions=ALL))
        expected = all_revisions - documents.finished_since(started_at - CLOCK_SECONDS)
        snapshot = target.reader().snapshot()
        missing = expected - snapshot.numbers
        stored, searchable = target.counts(), (len(snapshot.numbers), len(snapshot.lexical))
        if missing or stored != searchable:
            detail = f"{len(missing)} documents are missing there"
            detail += f"; {stored} documents and passages are stored, not {searchable}"
            raise Misconfigured("bad-index", f"{detail}. Nothing was switched; run the same command again.")
        return stored


def _run(rebuild: Rebuild, report: Report) -> None:
    while not rebuild.run_for(SLICE_SECONDS):
        report(rebuild.documents_done)
    report(rebuild.documents_done)


class EmbeddingModels:
    """Builds candidate embedding models and their indexes, and lets them serve.

    ``wait``: wait for a running writer; otherwise it goes on by itself, and the methods return False.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        indexes: Indexes,
        embedders: Embedders,
        setting: str,
        open_indexer: Callable[[], Indexer],
    ) -> None:
        self._embeddings, self._indexes, self._embedders = catalogue.embeddings, indexes, embedders
        self._setting, self._open_indexer = setting, open_indexer

    def candidate(self, name: str) -> EmbeddingModel:
        """Return the model of a NAME, NAME@VERSION or folder. Raises Refused("conflict") for the one that serves, and
        Misconfigured("bad-model")."""
        model = self._embedders.describe(name)
        if model.digest == self._embedders.serving_model().digest:
            raise Refused("conflict", f"{model.model} is the model that serves.")
        return model

    def former(self) -> EmbeddingModel:
        """Return the model that served before the last swap. Raises Refused("conflict") if there is none."""
        serving = self._embedders.serving_model()
        former = [model for model in self._embeddings.models() if model.served_until and model.digest != serving.digest]
        if not former:
            raise Refused("conflict", "No model was swapped for the one that serves: there is nothing to go back to.")
        return max(former, key=lambda model: model.served_until or 0.0)

    def states(self) -> list[dict[str, Any]]:
        """Return the model that serves and the candidates: role, dimension, documents without vectors, readiness."""
        serving = self._embedders.serving_model()
        candidates = [model for model in self._embeddings.models() if model.digest != serving.digest]
        return [
            {
                "model": model.model,
                "role": "active" if model is serving else "former" if model.served_until else "candidate",
                "dimension": model.dimension,
                "documents_missing": self._embeddings.count_missing(model.digest),
                "ready": model is serving or is_ready(self._indexes.root, model),
            }
            for model in (serving, *candidates)
        ]

    def build(self, model: EmbeddingModel, wait: bool, report: Callable[[int], None]) -> bool:
        """Embed every document by a candidate and build its index; from now on new documents are embedded by it, too.

        ``report`` is called with the number of documents that are not embedded yet.
        """
        self._embeddings.add(model)

        def is_built() -> bool:
            missing = self._embeddings.count_missing(model.digest)
            report(missing)
            return not missing and is_ready(self._indexes.root, model)

        return self._run_until(is_built, wait)

    def activate(self, model: EmbeddingModel, wait: bool) -> bool:
        """Let a candidate serve; the model that it replaces stays a candidate.

        Raises Unavailable("index-unavailable") if the index that is published cannot be opened.
        """
        self._embeddings.serve(model.digest, self._embedders.serving_model(), self._setting)
        return self._run_until(ActivationCheck(self._indexes.reader(), model).is_serving, wait)

    def check_ready(self, model: EmbeddingModel) -> None:
        """Raise Refused("conflict") if the index of a candidate is not complete."""
        if not is_ready(self._indexes.root, model):
            raise Refused("conflict", f"The index of {model.model} is not ready; see `mailroom index model status`.")

    def drop(self, model: EmbeddingModel) -> None:
        """Delete a candidate: its vectors and its index."""
        self._embeddings.drop(model.digest)
        self._indexes.drop(candidate_folder(self._indexes.root, model.digest))

    def _run_until(self, is_done: Callable[[], bool], wait: bool) -> bool:
        """Wait for the running writer, or take its steps here if none runs. Return whether it is done."""
        try:
            indexer = self._open_indexer()
        except Refused:  # a running writer holds the index
            if not wait:
                return False
            while not is_done():
                time.sleep(POLL_SECONDS)
            return True
        try:
            while True:
                indexer.step()
                if is_done():
                    return True
                time.sleep(STEP_SECONDS)
        finally:
            indexer.close()


class ActivationCheck:
    """Checks whether a reader has the index of a model."""

    def __init__(self, reader: IndexReader, model: EmbeddingModel) -> None:
        self._reader, self._model = reader, model
        self._failing_since: float | None = None

    def is_serving(self) -> bool:
        """Return whether the index is that of the model.

        Raises Unavailable("index-unavailable") if what is published cannot be opened for `STUCK_SECONDS`.
        """
        serving = self._reader.snapshot().embedder == self._model.digest
        if self._reader.problem is None:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = time.monotonic()
        elif not serving and time.monotonic() - self._failing_since > STUCK_SECONDS:
            detail = f"{self._model.model} is to serve, but its index cannot be opened: {self._reader.problem}"
            raise Unavailable("index-unavailable", f"{detail} Fix that; the writer resumes the swap by itself.")
        return serving
