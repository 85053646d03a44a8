"""Documents as a caller may see them: read, list, text, decision record, retry, erase."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.access import Effect, Origin, Scope, folder_scope, with_ancestors
from pipeline.documents import Arrival, Document, Event, QueueName
from pipeline.erasure import ErasureOrder
from pipeline.errors import Refused
from pipeline.facets import Facets, check
from pipeline.questions import Caller, Filters
from pipeline.retention import Hold, OnHold
from workers.queue.notify import Notifier
from workers.services.intake import Intake

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue

_DOCUMENT_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class DocumentListing:
    """One page of documents. ``total`` counts all that match; ``cursor`` is the id of the document before the page."""

    documents: Sequence[Document]
    total: int
    limit: int
    offset: int
    cursor: str | None
    has_more: bool
    facets: Facets | None

    @property
    def next_offset(self) -> int | None:
        """The offset of the next page, or None on the last one and where a cursor leads on."""
        return self.offset + len(self.documents) if self.has_more and self.cursor is None else None

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page, or None on the last one."""
        return self.documents[-1].id if self.has_more else None


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A document with the arrivals, events and other revisions that its reader may see, oldest first."""

    document: Document
    arrivals: Sequence[Arrival]
    events: Sequence[Event]
    revisions: Sequence[Document]


class DocumentService:
    """Reads and changes documents for a caller. What the caller may not see is not found, as if it did not exist."""

    def __init__(self, catalogue: Catalogue, intake: Intake, notifier: Notifier) -> None:
        self._catalogue, self._intake, self._notifier = catalogue, intake, notifier

    def read(self, caller: Caller, document_id: str) -> Document:
        """Return a document. Raises Refused("not-found") for an unknown one and for one that the caller may not see."""
        missing = Refused("not-found", "There is no such document, or this key may not see it.")
        if not _DOCUMENT_ID.fullmatch(document_id):
            raise missing
        try:
            return self._catalogue.documents.read(caller, document_id)
        except Refused:
            raise missing from None

    def may_read(self, caller: Caller, document_id: str) -> bool:
        """Return True if `read` would return the document."""
        try:
            self.read(caller, document_id)
        except Refused:
            return False
        return True

    def find(
        self,
        caller: Caller,
        filters: Filters,
        limit: int,
        offset: int,
        newest_first: bool = True,
        facets: Sequence[str] = (),
        facet_limit: int = 20,
        cursor: str | None = None,
    ) -> DocumentListing:
        """Return one page of the documents that the caller may read, with the counts of ``facets`` over all that match.

        ``cursor`` is the `next_cursor` of the page before. With cursors each document that is there all the time comes
        once, whatever arrives or goes meanwhile; with offsets some come twice or never. Raises Refused("bad-request")
        for an unknown facet or field of metadata, Refused("not-found") for a cursor that leads nowhere.
        """
        check(facets, facet_limit)
        store = self._catalogue.documents
        rows, total = store.find(caller, filters, limit + 1, offset, newest_first, cursor)
        page, has_more = rows[:limit], len(rows) > limit
        counts = store.facets(caller, filters, facets, facet_limit) if facets else ()
        facet_counts = Facets(counts, total, True) if counts else None
        return DocumentListing(page, total, limit, offset, cursor, has_more, facet_counts)

    def text(self, caller: Caller, document_id: str) -> str:
        """Return the text as it was read, which quotes and passages point into; empty before the document is read."""
        parsed = self._catalogue.chunks.parsed(self.read(caller, document_id).id)
        return parsed.text if parsed else ""

    def record(self, caller: Caller, document_id: str) -> DecisionRecord:
        """Return the decision record without the arrivals that were for others."""
        document = self.read(caller, document_id)
        arrivals, events = self._catalogue.documents.history(document_id)
        visible = self.visible_arrivals(caller, document_id, arrivals)
        places = {(arrival.source, arrival.path) for arrival in visible}
        own = [e for e in events if e.event != "received" or (e.data.get("source"), e.data.get("path")) in places]
        return DecisionRecord(document, visible, own, self._catalogue.documents.revisions(caller, document))

    def visible_arrivals(self, caller: Caller, document_id: str, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Return the arrivals that the caller may know of: one that was for others stays hidden."""
        if caller.admin:
            return list(arrivals)
        principals = self._catalogue.groups.principals(caller.principals, caller.tenant)
        allowing = {
            rule.scope
            for rule in self._catalogue.rules.applying_to(document_id, caller.tenant)
            if rule.effect is not Effect.DENY and rule.origin is not Origin.ARRIVAL and rule.principal in principals
        }
        own = Scope(document_id=document_id)
        return [
            arrival
            for arrival in arrivals
            if principals & {*arrival.access}
            or allowing & {own, *with_ancestors(folder_scope(arrival.source, arrival.path))}
        ]

    def retry(self, caller: Caller, document_id: str) -> Document:
        """Send a failed, quarantined or reviewed document through the path again; return it as it is then.

        Raises Refused("conflict") for a document that is still being processed.
        """
        self.read(caller, document_id)
        if not self._catalogue.jobs.retry(document_id):
            raise Refused("conflict", f"Document {document_id} is still on its way; wait until it has ended.")
        self._notifier.notify(self._catalogue.jobs, QueueName.INGEST)
        return self._catalogue.documents.get(document_id)

    def erase(self, caller: Caller, document_id: str, order: ErasureOrder | None = None) -> list[Document]:
        """Hide the document and what is attached to it at once, and forget their texts, vectors and bytes; return those
        that the caller could read, as they were, the document first.

        Raises Refused: "forbidden" if it is somebody else's, since only its owner or an administrator's key erases it;
        "legal-hold" if a hold is on it or on what is attached to it.
        """
        document = self.erasable(caller, document_id)
        readable = self._catalogue.documents.readable_family(caller, document.id)
        try:
            return [erased for erased in self._intake.erase(document.id, order) if erased.id in readable]
        except OnHold as error:  # placed this moment
            raise hold_refusal(caller, document.id, error.holds) from None

    def erasable(self, caller: Caller, document_id: str) -> Document:
        """Return a document that the caller may erase. Raises as `erase` does."""
        document = self.read(caller, document_id)
        if not caller.admin and document.owner != caller.owner:
            detail = "This key may read the document but did not send it; its owner or an administrator can erase it."
            raise Refused("forbidden", detail)
        if placed := self._catalogue.documents.holds_on(document.id):
            raise hold_refusal(caller, document.id, placed)
        return document


def hold_refusal(caller: Caller, document_id: str, placed: Sequence[Hold]) -> Refused:
    """Return the error for a document under legal holds. Their ids and reasons are for administrators."""
    text = f"Document {document_id} is under a legal hold and stays"
    if not caller.admin:
        return Refused("legal-hold", f"{text}; an administrator knows which.")
    reasons = "; ".join(f"hold {hold.id} on the {hold.kind}: {hold.reason}" for hold in placed[:5])
    return Refused("legal-hold", f"{text}: {reasons}.")
