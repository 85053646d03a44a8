"""Retention: which documents' time is over, and their erasure once a person or the rule confirms it."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.audit import AuditOrigin, acting, entry
from pipeline.documents import Document, State
from pipeline.errors import Refused
from pipeline.questions import ADMINISTRATOR, ALL, Filters
from pipeline.retention import ERASE, Proposal, RetentionRule, family_proposal, proposal
from workers.services.erasure import ErasureService
from workers.settings import RetentionSettings

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue

log = logging.getLogger(__name__)

#: Documents that are read at once.
BATCH = 500


class RetentionService:
    """Proposes by the rules of the settings, and erases what is confirmed. What is under a legal hold stays."""

    def __init__(self, catalogue: Catalogue, erasures: ErasureService, settings: RetentionSettings) -> None:
        self._catalogue, self._erasures, self._profile = catalogue, erasures, settings.profile
        self._rules = [RetentionRule(**rule.model_dump()) for rule in settings.rules]

    def due(self, today: datetime.date | None = None) -> Iterator[Proposal]:
        """Yield what the rules propose for documents whose time is over, in the order of their arrival.

        What is attached to a document goes with it, so it is due when the last of them is. Documents that are being
        processed, and those under a legal hold, are left out.
        """
        today = today or datetime.datetime.now(datetime.UTC).date()
        for document in self._documents() if self._rules else ():
            own = proposal(self._rules, document, self._profile)
            if document.parent is not None or own is None or own.due > today:
                continue
            documents = self._catalogue.documents
            family = documents.readable_family(ADMINISTRATOR, document.id) - {document.id}
            attached = [documents.get(document_id) for document_id in family]
            whole = family_proposal(self._rules, document, attached, self._profile)
            if (
                whole is None
                or whole.due > today
                or any(one.state is State.PROCESSING for one in (document, *attached))
            ):
                continue
            if not self._catalogue.documents.holds_on(document.id):
                yield whole

    def confirm(self, document_ids: Sequence[str], by: str) -> int:
        """Erase documents whose time is over, because ``by`` confirms it; return how many were.

        Raises Refused("conflict"), before anything is erased, for a document whose time is not over.
        """
        due = {proposed.document.id: proposed for proposed in self.due()}
        if unknown := [document_id for document_id in document_ids if document_id not in due]:
            text = f"Document {unknown[0][:32]} is not due: its time is not over, or it is under a legal hold."
            raise Refused("conflict", text)
        return self._erase([due[document_id] for document_id in dict.fromkeys(document_ids)], by)

    def apply(self) -> int:
        """Erase what is due by rules that confirm it themselves; return how many documents that were."""
        with acting(AuditOrigin("system:retention")):
            proposals = [proposed for proposed in self.due() if proposed.then == ERASE]
            return self._erase(proposals, "retention") if proposals else 0

    def _erase(self, proposals: Sequence[Proposal], by: str) -> int:
        count = 0
        for proposed in proposals:
            document = proposed.document
            try:
                self._erasures.erase(ADMINISTRATOR, [document.id], by)
            except Refused as error:  # a hold was placed, or somebody was quicker
                log.warning("document %s was not erased by retention: %s", document.id, error.code)
                continue
            data = {"rule": proposed.rule, "due": proposed.due, "by": by}
            self._catalogue.audit.append([entry("retention.erase", f"document:{document.id}", data)])
            count += 1
        return count

    def _documents(self) -> Iterator[Document]:
        """Yield every document once, older revisions too, in the order of arrival."""
        after: str | None = None
        while True:
            everything = (ADMINISTRATOR, Filters(revisions=ALL), BATCH)
            page, _ = self._catalogue.documents.find(*everything, newest_first=False, after=after)
            yield from page
            if len(page) < BATCH:
                return
            after = page[-1].id
