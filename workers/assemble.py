"""The composition root: the one place where settings become working parts, by hand.

A `Mailroom` builds each part on first use, and imports it then, so that a role (API, worker, writer, tray, commands)
pays only for what it uses. Only workers load the classifier, only the API and the writer open the index, and a command
that reads the catalogue imports no runtime.
"""

from __future__ import annotations

import logging
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline.errors import Misconfigured
from pipeline.offline import go_offline

go_offline(os.environ)  # before any import of a runtime

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue
    from indexes.places import Indexes
    from pipeline.answer import Finder, Reranking
    from pipeline.ingest import Ingest
    from pipeline.onnx import ModelFolder
    from pipeline.parse.sandbox import SandboxedParser
    from pipeline.ports import Blobs, Embedder, IndexReader, IndexWriter, Reranker
    from pipeline.rules import Rules
    from workers.indexer.maintenance import EmbeddingModels, IndexMaintenance
    from workers.indexer.writer import Indexer
    from workers.queue.notify import Notifier
    from workers.services.access import AccessService
    from workers.services.active_classifier import Classifiers
    from workers.services.active_embedder import Embedders
    from workers.services.audit import AuditAnchor
    from workers.services.audit_log import AuditLog
    from workers.services.backup import BackupService
    from workers.services.comparison import EmbedderComparison
    from workers.services.deliver import DeliveryService
    from workers.services.documents import DocumentService
    from workers.services.erase import Eraser
    from workers.services.erasure import ErasureService
    from workers.services.explain import PredictionExplainer
    from workers.services.intake import Intake
    from workers.services.keys import KeyService
    from workers.services.promotion import Promoter
    from workers.services.reclassify import ReclassificationService
    from workers.services.retention import RetentionService
    from workers.services.review import ReviewService
    from workers.services.similar import SimilarDocuments
    from workers.services.suggest import Suggestions
    from workers.services.taxonomy import TaxonomyService
    from workers.services.training import Trainer
    from workers.settings import Settings, TrayFolder
    from workers.tray.tray import Tray

log = logging.getLogger(__name__)


class Mailroom:
    """Builds each part of one installation on first use. It must not cross a fork once it has built parts."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def catalogue(self) -> Catalogue:
        """The catalogue of the settings' URL."""
        from indexes.open import open_catalogue

        return open_catalogue(self.settings.catalogue_url)

    @cached_property
    def blobs(self) -> Blobs:
        """The original bytes."""
        from indexes.open import open_blobs

        return open_blobs(self.settings.blobs_url)

    @cached_property
    def parser(self) -> SandboxedParser:
        """The parser in a killable child process, which starts with the first document."""
        from pipeline.parse.limits import ParseLimits
        from pipeline.parse.sandbox import SandboxedParser

        return SandboxedParser(ParseLimits(**self.settings.parse.model_dump()))

    @cached_property
    def classifiers(self) -> Classifiers:
        """The active classifier, and others on demand."""
        from workers.services.active_classifier import Classifiers

        return Classifiers(self.settings)

    @cached_property
    def embedder(self) -> Embedder:
        """The embedder that the settings name. The active one may be another: see `embedders`."""
        from pipeline.embed import OnnxEmbedder

        return OnnxEmbedder(self._model(self.settings.models.embedder), **self.runtime)

    @cached_property
    def embedders(self) -> Embedders:
        """The active embedding model, and candidates."""
        from workers.services.active_embedder import Embedders

        return Embedders(self.settings, self.catalogue)

    @cached_property
    def reranker(self) -> Reranker | None:
        """The configured reranker, or None without one and if it is missing or altered: search goes on without it."""
        from pipeline.rerank import OnnxReranker

        name = self.settings.models.reranker
        try:
            return OnnxReranker(self._model(name), **self.runtime) if name else None
        except Misconfigured as error:
            log.error("no reranker: %s", error)
            return None

    @property
    def reranking(self) -> Reranking | None:
        """The reranker with its settings, or None without one."""
        from pipeline.answer import Reranking

        search = self.settings.search
        return Reranking(self.reranker, search.reranked, search.rerank) if self.reranker else None

    @property
    def runtime(self) -> dict[str, Any]:
        """Arguments of every ONNX session: threads, and the execution providers in order of preference."""
        return {"threads": self.settings.models.threads, "providers": self.settings.models.providers}

    @cached_property
    def rules(self) -> Rules:
        """The routing rules. Raises Misconfigured("bad-rules")."""
        from pipeline.rules import load_rules

        return load_rules(self.settings.rules_path)

    @cached_property
    def ingest(self) -> Ingest:
        """What runs the jobs of the queue INGEST. The classifier is loaded before the first document is claimed."""
        from pipeline.ingest import Ingest, Policy, Tools

        workers = self.settings.workers
        policy = Policy(
            max_attempts=workers.max_attempts,
            lease_seconds=workers.lease_seconds,
            readable_floor=self.settings.classify.readable_floor,
            trays=frozenset(folder.source for folder in self.settings.tray.folders),
        )
        self.classifiers.current()
        tools = Tools(
            self.catalogue.documents,
            self.catalogue.chunks,
            self.catalogue.jobs,
            self.blobs,
            self.parser,
            self.classifiers.current,
            self.embedders.current,
            self.rules,
            policy,
        )
        return Ingest(tools)

    @cached_property
    def deliver(self) -> DeliveryService:
        """What runs the jobs of the queue DELIVER."""
        from workers.services.deliver import DeliveryService

        return DeliveryService(self.catalogue, self.blobs, self.settings, self.eraser)

    @cached_property
    def eraser(self) -> Eraser:
        """What runs the jobs of erasures."""
        from workers.services.erase import Eraser

        return Eraser(self.catalogue, self.intake, self.settings)

    @cached_property
    def backups(self) -> BackupService:
        """What writes and restores backups."""
        from workers.services.backup import BackupService

        return BackupService(self.catalogue, self.blobs, self.settings)

    @cached_property
    def erasures(self) -> ErasureService:
        """What erases documents, with a receipt."""
        from workers.services.erasure import ErasureService

        return ErasureService(self.catalogue, self.documents, self.notifier)

    @cached_property
    def reclassify(self) -> ReclassificationService:
        """What makes reclassification plans and runs the jobs of the queue RECLASSIFY."""
        from workers.services.reclassify import ReclassificationService

        return ReclassificationService(self.catalogue, self.classifiers, self.settings)

    @cached_property
    def promoter(self) -> Promoter:
        """What compares, promotes and rolls back classifiers."""
        from workers.services.promotion import Promoter

        return Promoter(self.catalogue, self.parser, self.classifiers, self.taxonomy, self.settings)

    @cached_property
    def trainer(self) -> Trainer:
        """What collects labelled texts and trains a classifier."""
        from workers.services.training import Trainer

        return Trainer(self.catalogue, self.taxonomy, self.promoter.readers, self.settings)

    @cached_property
    def taxonomy(self) -> TaxonomyService:
        """What reads and changes the taxonomy."""
        from workers.services.taxonomy import TaxonomyService

        classifier = self.settings.models.classifier
        return TaxonomyService(self.catalogue, self.settings.models_root, classifier, lambda: self.rules)

    @cached_property
    def review(self) -> ReviewService:
        """What files documents by a person's decision."""
        from workers.services.review import ReviewService

        return ReviewService(self.catalogue, self.taxonomy, self.rules, self.notifier, self.settings.models_root)

    @cached_property
    def explainer(self) -> PredictionExplainer:
        """What explains predictions."""
        from workers.services.explain import PredictionExplainer

        passes = self.settings.models.why_passes
        return PredictionExplainer(self.catalogue, self.reader, self.classifiers, passes)

    @cached_property
    def suggestions(self) -> Suggestions:
        """What completes what somebody types."""
        from workers.services.suggest import Suggestions

        return Suggestions(self.catalogue, self.reader)

    @cached_property
    def similar(self) -> SimilarDocuments:
        """What finds similar documents."""
        from workers.services.similar import SimilarDocuments

        return SimilarDocuments(self.catalogue, self.reader)

    @cached_property
    def comparison(self) -> EmbedderComparison:
        """What compares a candidate embedding model with the active one."""
        from workers.services.comparison import EmbedderComparison

        return EmbedderComparison(self.catalogue, self.indexes, self.reader, self.embedders)

    @cached_property
    def intake(self) -> Intake:
        """What receives and erases documents."""
        from workers.services.intake import Intake

        limit = self.settings.api.upload_max_bytes
        return Intake(self.catalogue, self.blobs, self.notifier, self.settings.run_path, limit)

    @cached_property
    def documents(self) -> DocumentService:
        """Documents as a caller may see them."""
        from workers.services.documents import DocumentService

        return DocumentService(self.catalogue, self.intake, self.notifier)

    @cached_property
    def keys(self) -> KeyService:
        """API keys."""
        from workers.services.keys import KeyService

        return KeyService(self.catalogue.keys)

    @cached_property
    def retention(self) -> RetentionService:
        """What proposes the erasure of documents whose time is over."""
        from workers.services.retention import RetentionService

        return RetentionService(self.catalogue, self.erasures, self.settings.retention)

    @cached_property
    def audit_anchor(self) -> AuditAnchor:
        """The check of the audit, and its anchor in the data folder."""
        from workers.services.audit import AuditAnchor

        return AuditAnchor(self.catalogue.audit, self.settings.home)

    @cached_property
    def audit_log(self) -> AuditLog:
        """What records the reads and searches of this process."""
        from workers.services.audit_log import AuditLog

        return AuditLog(self.catalogue.audit, self.settings.audit, self.settings.run_path)

    @cached_property
    def access(self) -> AccessService:
        """Access rules and groups."""
        from workers.services.access import AccessService

        return AccessService(self.catalogue)

    @cached_property
    def index_maintenance(self) -> IndexMaintenance:
        """Rebuild and copy of the index."""
        from workers.indexer.maintenance import IndexMaintenance

        parts = self.catalogue, self.indexes, self.embedders, self.settings
        return IndexMaintenance(*parts, lambda: self.writer, self.indexer)

    @cached_property
    def embedding_models(self) -> EmbeddingModels:
        """Candidate embedding models: built, activated, dropped."""
        from workers.indexer.maintenance import EmbeddingModels

        setting = self.settings.models.embedder
        return EmbeddingModels(self.catalogue, self.indexes, self.embedders, setting, self.indexer)

    def tray(self, folder: TrayFolder) -> Tray:
        """Build the tray of one watched folder."""
        from workers.tray.tray import Tray

        return Tray(folder, self.blobs, self.catalogue.jobs, self.intake, self.notifier, self.settings)

    def indexer(self) -> Indexer:
        """Build what keeps the index in step with the catalogue. Raises Refused("conflict") if another one runs."""
        from workers.indexer.writer import Indexer

        return Indexer(self.catalogue, self.indexes, self.writer, self.embedders, self.settings)

    @cached_property
    def notifier(self) -> Notifier:
        """What sends wake-ups to the broker."""
        from workers.queue.notify import Notifier

        return Notifier(self.settings)

    @cached_property
    def indexes(self) -> Indexes:
        """The index that serves, and candidates: a folder or a Milvus server."""
        from indexes.open import open_indexes

        index = self.settings.index
        return open_indexes(index.url, self.settings.index_path, index.kind)

    @cached_property
    def reader(self) -> IndexReader:
        """A reader of the index that serves."""
        return self.indexes.reader()

    @cached_property
    def writer(self) -> IndexWriter:
        """The writer of the index that serves. Raises Refused("conflict") if another process has it."""
        return self.indexes.writer(self.embedders.serving_model())

    @cached_property
    def search(self) -> Finder:
        """Search and answers."""
        from pipeline.answer import Finder

        return Finder(
            self.catalogue.documents,
            self.catalogue.chunks,
            self.reader,
            self.embedder,
            self.reranking,
            self.embedders.by_digest,
        )

    def _model(self, name: str) -> ModelFolder:
        from models.registry import open_version

        return open_version(self.settings.models_root, name)

    def close(self) -> None:
        """Close what was opened: the parser's child, the index, the catalogue's connections."""
        for part in ("parser", "writer", "audit_log", "catalogue"):
            if part in self.__dict__:
                self.__dict__[part].close()
