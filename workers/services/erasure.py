"""Erasure as a caller requests it: documents by id, or all that name a subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from indexes.catalogue.database import new_id
from pipeline.documents import Document, QueueName
from pipeline.erasure import Erasure, ErasureOrder
from pipeline.errors import Refused
from pipeline.questions import Caller
from workers.queue.notify import Notifier
from workers.services.documents import DocumentService

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue


class ErasureService:
    """Starts erasures and returns how far they are."""

    def __init__(self, catalogue: Catalogue, documents: DocumentService, notifier: Notifier) -> None:
        self._catalogue, self._documents, self._notifier = catalogue, documents, notifier

    def erase(self, caller: Caller, document_ids: Sequence[str], by: str) -> tuple[Erasure, list[Document]]:
        """Hide documents and what is attached to them at once, and start the job that removes the rest.

        ``by`` is recorded as who requested it. Returns the erasure, and those of its documents that the caller could
        read, as they were. Raises Refused("not-found") for a document that the caller may not see, "forbidden" for one
        of somebody else's; then nothing is erased.
        """
        for document_id in document_ids:
            self._documents.erasable(caller, document_id)
        order, store = ErasureOrder(new_id(), by), self._catalogue.erasures
        store.open(order, caller.tenant)
        erased: list[Document] = []
        try:
            for document_id in document_ids:
                try:
                    erased += self._documents.erase(caller, document_id, order)
                except Refused as error:  # attached to an earlier one, or somebody was quicker
                    if error.code != "not-found":
                        raise
        finally:
            store.seal(order.id)
            self._notifier.notify(self._catalogue.jobs, QueueName.DELIVER)
        return store.get(order.id), erased

    def get(self, caller: Caller, erasure_id: str) -> Erasure:
        """Return an erasure. Raises Refused("not-found") for one that somebody else requested, unless the caller is an
        administrator."""
        erasure = self._catalogue.erasures.get(erasure_id)
        if erasure.tenant != caller.tenant or not (caller.admin or erasure.requested_by == caller.owner):
            raise Refused("not-found", f"There is no erasure {erasure_id}.")
        return erasure
