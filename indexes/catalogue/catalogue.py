"""The twelve ports over one SQL database."""

from __future__ import annotations

import sqlalchemy as sa

from indexes.catalogue.access import SqlGroups, SqlRules
from indexes.catalogue.documents import SqlDocuments
from indexes.catalogue.embeddings import SqlEmbeddings
from indexes.catalogue.feedback import SqlFeedback
from indexes.catalogue.keys import SqlKeys
from indexes.catalogue.ledger import SqlJobStore
from indexes.catalogue.passages import SqlPassages
from indexes.catalogue.plans import SqlPlans
from indexes.catalogue.queries import SqlQueries
from indexes.catalogue.requests import SqlRequests
from indexes.catalogue.reviews import SqlReviews
from indexes.catalogue.store import Store
from pipeline.errors import Misconfigured


class SqlCatalogue:
    """Implements `pipeline.ports.Catalogue` on SQLite or PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.store = Store(url)
        self.documents = SqlDocuments(self.store)
        self.ledger = SqlJobStore(self.store)
        self.passages = SqlPassages(self.store)
        self.embeddings = SqlEmbeddings(self.store)
        self.keys = SqlKeys(self.store)
        self.plans = SqlPlans(self.store)
        self.requests = SqlRequests(self.store)
        self.feedback = SqlFeedback(self.store)
        self.reviews = SqlReviews(self.store)
        self.rules = SqlRules(self.store)
        self.groups = SqlGroups(self.store)
        self.queries = SqlQueries(self.store)

    def check(self) -> None:
        with self.store.read() as connection:
            if not self.store.sqlite:
                connection.scalar(sa.text("SELECT 1"))
                return
            prediction = connection.scalar(sa.text("PRAGMA integrity_check"))
        if prediction != "ok":
            raise Misconfigured("bad-store", f"The catalogue is damaged ({prediction}); restore the last backup.")

    def close(self) -> None:
        self.store.close()
