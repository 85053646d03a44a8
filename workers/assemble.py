"""The composition root: the one place where settings become working parts, by hand.

A `House` builds each part the first time it is asked for, so that a role (API, worker, writer, tray, command line)
pays only for what it uses: only workers load the classifier, only the API and the writer open the index.
"""

from __future__ import annotations

import logging
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline.offline import go_offline

go_offline(os.environ)

from indexes.open import open_blobs, open_catalogue, open_indexes  # noqa: E402  (the switches come before any import of a runtime)
from indexes.places import Indexes, Reader, Writer  # noqa: E402
from models.registry import open_version  # noqa: E402
from pipeline.answer import Finder, Reranking  # noqa: E402
from pipeline.embed import OnnxEmbedder  # noqa: E402
from pipeline.errors import Misconfigured  # noqa: E402
from pipeline.ingest import Ingest, Policy, Tools  # noqa: E402
from pipeline.onnx import ModelFolder  # noqa: E402
from pipeline.parse.limits import ParseLimits  # noqa: E402
from pipeline.parse.sandbox import SandboxedParser  # noqa: E402
from pipeline.ports import Blobs, Embedder, Reranker  # noqa: E402
from pipeline.rerank import OnnxReranker  # noqa: E402
from pipeline.rules import Rules, load_rules  # noqa: E402
from workers.queue.notify import Notifier  # noqa: E402
from workers.services.active_classifier import Classifiers  # noqa: E402
from workers.services.active_embedder import Embedders  # noqa: E402
from workers.services.deliver import Deliver  # noqa: E402
from workers.services.explain import PredictionExplainer  # noqa: E402
from workers.services.promotion import Promoter  # noqa: E402
from workers.services.reclassify import Reclassify  # noqa: E402
from workers.services.similar import Similar  # noqa: E402
from workers.services.suggest import Suggestions  # noqa: E402
from workers.services.taxonomy import TaxonomyService  # noqa: E402
from workers.settings import Settings  # noqa: E402

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue

log = logging.getLogger(__name__)


class Mailroom:
    """Every part of one installation, built on first use. Not to be carried across a fork once parts are built."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def catalogue(self) -> Catalogue:
        return open_catalogue(self.settings.catalogue_url)

    @cached_property
    def blobs(self) -> Blobs:
        return open_blobs(self.settings.blobs_url)

    @cached_property
    def parser(self) -> SandboxedParser:
        return SandboxedParser(ParseLimits(**self.settings.parse.model_dump()))

    @cached_property
    def classifiers(self) -> Classifiers:
        return Classifiers(self.settings)

    @cached_property
    def embedder(self) -> Embedder:
        """The model that the settings name. The one in force may be another: `embedders`."""
        return OnnxEmbedder(self._model(self.settings.models.embedder), **self.runtime)

    @cached_property
    def embedders(self) -> Embedders:
        return Embedders(self.settings, self.catalogue)

    @cached_property
    def reranker(self) -> Reranker | None:
        """None unless one is configured; none, too, where it is missing or altered: search goes on without."""
        name = self.settings.models.reranker
        try:
            return OnnxReranker(self._model(name), **self.runtime) if name else None
        except Misconfigured as error:
            log.error("no reranker: %s", error)
            return None

    @property
    def reranking(self) -> Reranking | None:
        """How the reranker is used; None without one."""
        chosen = self.settings.search
        return Reranking(self.reranker, chosen.reranked, chosen.rerank) if self.reranker else None

    @property
    def runtime(self) -> dict[str, Any]:
        """How ONNX sessions are run: threads, and the execution providers in order of preference."""
        return {"threads": self.settings.models.threads, "providers": self.settings.models.providers}

    @cached_property
    def rules(self) -> Rules:
        return load_rules(self.settings.rules_path)

    @cached_property
    def ingest(self) -> Ingest:
        workers = self.settings.workers
        policy = Policy(
            max_attempts=workers.max_attempts,
            lease_seconds=workers.lease_seconds,
            readable_floor=self.settings.classify.readable_floor,
            trays=frozenset(folder.source for folder in self.settings.tray.folders),
        )
        self.classifiers.current()  # loaded before the first document is claimed
        tools = Tools(
            self.catalogue.documents,
            self.catalogue.chunks,
            self.catalogue.ledger,
            self.blobs,
            self.parser,
            self.classifiers.current,
            self.embedders.current,
            self.rules,
            policy,
        )
        return Ingest(tools)

    @cached_property
    def deliver(self) -> Deliver:
        return Deliver(self.catalogue, self.blobs, self.settings)

    @cached_property
    def reclassify(self) -> Reclassify:
        return Reclassify(self)

    @cached_property
    def promoter(self) -> Promoter:
        return Promoter(self)

    @cached_property
    def taxonomy(self) -> TaxonomyService:
        return TaxonomyService(self)

    @cached_property
    def explainer(self) -> PredictionExplainer:
        return PredictionExplainer(self)

    @cached_property
    def suggestions(self) -> Suggestions:
        return Suggestions(self)

    @cached_property
    def similar(self) -> Similar:
        return Similar(self)

    @cached_property
    def notifier(self) -> Notifier:
        return Notifier(self.settings)

    @cached_property
    def indexes(self) -> Indexes:
        index = self.settings.index
        return open_indexes(index.url, self.settings.index_path, index.kind)

    @cached_property
    def reader(self) -> Reader:
        return self.indexes.reader()

    @cached_property
    def writer(self) -> Writer:
        return self.indexes.writer(self.embedders.chosen())

    @cached_property
    def search(self) -> Finder:
        parts = self.catalogue.documents, self.catalogue.chunks, self.reader
        return Finder(*parts, self.embedder, self.reranking, self.embedders.of)

    def _model(self, name: str) -> ModelFolder:
        return open_version(self.settings.models_root, name)

    def close(self) -> None:
        """Give back what was opened: the parser's child, the catalogue's connections."""
        for part in ("parser", "writer", "catalogue"):
            if part in self.__dict__:
                self.__dict__[part].close()
