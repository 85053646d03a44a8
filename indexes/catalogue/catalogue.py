"""The catalogue: sixteen stores over one SQL database."""

from __future__ import annotations

import sqlalchemy as sa

from indexes.catalogue.access import GroupStore, RuleStore
from indexes.catalogue.audit_store import AuditStore
from indexes.catalogue.chunks import ChunkStore
from indexes.catalogue.database import Database
from indexes.catalogue.deliveries import DeliveryStore
from indexes.catalogue.documents import DocumentStore
from indexes.catalogue.embeddings import EmbeddingStore
from indexes.catalogue.erasures import ErasureStore
from indexes.catalogue.feedback import FeedbackStore
from indexes.catalogue.holds import HoldStore
from indexes.catalogue.jobs import JobStore
from indexes.catalogue.keys import KeyStore
from indexes.catalogue.plans import PlanStore
from indexes.catalogue.queries import QueryStore
from indexes.catalogue.requests import RequestStore
from indexes.catalogue.reviews import ReviewStore
from indexes.catalogue.transfer import TransferStore
from pipeline.errors import Misconfigured


class Catalogue:
    """The database and the stores over it. Every method of a store is one transaction; all may be called by several
    threads and processes at once."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.documents = DocumentStore(self.database)
        self.jobs = JobStore(self.database)
        self.chunks = ChunkStore(self.database)
        self.embeddings = EmbeddingStore(self.database)
        self.keys = KeyStore(self.database)
        self.plans = PlanStore(self.database)
        self.requests = RequestStore(self.database)
        self.feedback = FeedbackStore(self.database)
        self.erasures = ErasureStore(self.database)
        self.reviews = ReviewStore(self.database)
        self.rules = RuleStore(self.database)
        self.groups = GroupStore(self.database)
        self.transfer = TransferStore(self.database)
        self.queries = QueryStore(self.database)
        self.audit = AuditStore(self.database)
        self.holds = HoldStore(self.database)
        self.deliveries = DeliveryStore(self.database)

    def check(self) -> None:
        """Check the database: SQLite's integrity check, or that PostgreSQL answers. Raises Misconfigured("bad-store")
        with what is damaged."""
        with self.database.read() as connection:
            if not self.database.sqlite:
                connection.scalar(sa.text("SELECT 1"))
                return
            finding = connection.scalar(sa.text("PRAGMA integrity_check"))
        if finding != "ok":
            raise Misconfigured("bad-store", f"The catalogue is damaged ({finding}); restore the last backup.")

    def close(self) -> None:
        """Close every connection of the database."""
        self.database.close()
