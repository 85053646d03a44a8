"""The twelve ports over one SQL database."""

from __future__ import annotations

import sqlalchemy as sa

from indexes.catalogue.access import GroupStore, RuleStore
from indexes.catalogue.chunks import ChunkStore
from indexes.catalogue.database import Database
from indexes.catalogue.documents import DocumentStore
from indexes.catalogue.embeddings import EmbeddingStore
from indexes.catalogue.feedback import FeedbackStore
from indexes.catalogue.jobs import JobStore
from indexes.catalogue.keys import KeyStore
from indexes.catalogue.plans import PlanStore
from indexes.catalogue.queries import QueryStore
from indexes.catalogue.requests import RequestStore
from indexes.catalogue.reviews import ReviewStore
from pipeline.errors import Misconfigured


class Catalogue:
    """The database behind all of them."""

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
        self.reviews = ReviewStore(self.database)
        self.rules = RuleStore(self.database)
        self.groups = GroupStore(self.database)
        self.queries = QueryStore(self.database)

    def check(self) -> None:
        """Integrity check; Misconfigured("bad-store") with what is wrong."""
        with self.database.read() as connection:
            if not self.database.sqlite:
                connection.scalar(sa.text("SELECT 1"))
                return
            prediction = connection.scalar(sa.text("PRAGMA integrity_check"))
        if prediction != "ok":
            raise Misconfigured("bad-store", f"The catalogue is damaged ({prediction}); restore the last backup.")

    def close(self) -> None:
        self.database.close()
