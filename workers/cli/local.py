"""The stores of this machine, as the commands use them: with the operator's rights, and with the JSON of REST.

Models of responses take long to import; each method imports its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from pipeline.documents import Arrival
from pipeline.errors import Refused
from pipeline.questions import ADMINISTRATOR
from workers.cli.files import pieces
from workers.services.operator import current_user

if TYPE_CHECKING:
    from workers.assemble import Mailroom

Json = dict[str, Any]


class Local:
    """Calls the services that REST calls, as the administrator. Needs no running server, and does not disturb one."""

    def __init__(self, mailroom: Mailroom) -> None:
        self._mailroom = mailroom

    def add(self, file: Path, name: str, fields: Mapping[str, Any]) -> Json:
        """Store a file under a name in its source; return its id, its state, and whether it is new."""
        source, access, labels = fields.get("source", "cli"), fields.get("access"), fields.get("labels", ())
        arrival = Arrival(source, name, time.time(), tuple(access or ["*"]), tuple(labels), {})
        document, created = self._mailroom.intake.receive(pieces(file), arrival)
        return {"id": document.id, "created": created, "state": str(document.state)}

    def document(self, document_id: str) -> Json:
        """Return a document."""
        from workers.api.schemas.documents import DocumentStatus

        self._mailroom.audit_log.read("GET /v1/documents/{document_id}", document_id, 200)
        return _json(DocumentStatus.of(self._mailroom.documents.read(ADMINISTRATOR, document_id)))

    def record(self, document_id: str) -> Json:
        """Return a document's decision record."""
        from workers.api.schemas.documents import DocumentRecord

        return _json(DocumentRecord.of(self._mailroom.documents.record(ADMINISTRATOR, document_id)))

    def documents(self, filters: Mapping[str, Any], **page: Any) -> Json:
        """Return a page of documents. ``page``: limit, offset, cursor, order, facets."""
        from workers.api.schemas.documents import DocumentPage, DocumentQuery

        query = DocumentQuery.model_validate({**filters, **page})
        order, rest = query.order == "newest", (query.facets, query.facet_limit, query.cursor)
        find = self._mailroom.documents.find
        return _json(DocumentPage.of(find(ADMINISTRATOR, query.filters(), query.limit, query.offset, order, *rest)))

    def search(self, query: str, filters: Mapping[str, Any], **options: Any) -> Json:
        """Return a page of passages. ``options`` as `POST /v1/search` takes them."""
        from workers.api.schemas.search import SearchBody
        from workers.api.searching import run_search

        body = SearchBody.model_validate({"query": query, "filters": filters, **options})
        self._mailroom.audit_log.search("search.run", body.query)
        return _json(run_search(self._mailroom.search, ADMINISTRATOR, body))

    def ask(self, question: str, filters: Mapping[str, Any]) -> Json:
        """Return an answer."""
        from workers.api.schemas.search import AnswerPage, QuestionBody

        body = QuestionBody.model_validate({"question": question, "filters": filters})
        self._mailroom.audit_log.search("search.ask", body.question)
        answer = self._mailroom.search.ask(ADMINISTRATOR, body.question, body.filters.filters(), body.k)
        return _json(AnswerPage.of(answer))

    def suggest(self, prefix: str, limit: int) -> Json:
        """Return completions."""
        from workers.api.schemas.discovery import SuggestPage, SuggestQuery

        query = SuggestQuery(prefix=prefix, limit=limit)
        return _json(SuggestPage(items=list(self._mailroom.suggestions.find(ADMINISTRATOR, query.prefix, query.limit))))

    def similar(self, document_id: str, k: int) -> Json:
        """Return the documents nearest to one."""
        from workers.api.schemas.discovery import SimilarDocument, SimilarPage

        document = self._mailroom.documents.read(ADMINISTRATOR, document_id)
        neighbours = self._mailroom.similar.find(ADMINISTRATOR, document, k)
        return _json(SimilarPage(items=[SimilarDocument.of(neighbour) for neighbour in neighbours]))

    def retry(self, document_id: str) -> None:
        """Send a document through the path again."""
        self._mailroom.documents.retry(ADMINISTRATOR, document_id)

    def erase(self, document_ids: Sequence[str]) -> list[str]:
        """Erase documents; return the id of the erasure."""
        by = f"operator:{current_user()}"
        return [self._mailroom.erasures.erase(ADMINISTRATOR, document_ids, by)[0].id]

    def erasure(self, erasure_id: str) -> Json:
        """Return an erasure."""
        from workers.api.schemas.erasures import ErasureStatus

        return _json(ErasureStatus.of_erasure(self._mailroom.erasures.get(ADMINISTRATOR, erasure_id)))

    def feedback(self) -> Iterator[Json]:
        """Yield all clicks and votes, oldest first."""
        from workers.api.schemas.search import FeedbackEntry

        after = 0
        while rows := self._mailroom.catalogue.feedback.page(ADMINISTRATOR, after):
            yield from (_json(FeedbackEntry.of(feedback)) for _, feedback in rows)
            after = rows[-1][0]

    def why(self, document_id: str) -> Json:
        """Return the explanation of a document's prediction."""
        document = self._mailroom.documents.read(ADMINISTRATOR, document_id)
        return _json(self._mailroom.explainer.explain(ADMINISTRATOR, document))

    def approve(self, document_id: str, labels: Sequence[str], new: bool) -> Json:
        """File a document under the labels that a person decided on; return it."""
        from workers.api.schemas.documents import DocumentStatus

        document = self._mailroom.documents.read(ADMINISTRATOR, document_id)
        return _json(DocumentStatus.of(self._mailroom.review.approve(document, labels, current_user(), new)))

    def save_query(self, name: str, search: Mapping[str, Any]) -> Json:
        """Save a search under a name; return the saved query."""
        from workers.api import saved
        from workers.api.schemas.queries import SavedQueryBody

        body = SavedQueryBody.model_validate({"name": name, "search": search})
        return _json(saved.create(self._mailroom, ADMINISTRATOR, body))

    def saved_queries(self) -> Json:
        """Return the saved queries."""
        from workers.api import saved

        return _json(saved.find_all(self._mailroom, ADMINISTRATOR))

    def run_query(self, query_id: str, **page: int) -> Json:
        """Return a page of passages for a saved query. ``page``: k, offset."""
        from workers.api import saved

        return _json(saved.run(self._mailroom, ADMINISTRATOR, query_id, page.get("k"), page.get("offset")))

    def delete_query(self, query_id: str) -> None:
        """Delete a saved query."""
        from workers.api import saved

        saved.delete(self._mailroom, ADMINISTRATOR, query_id)

    def rules(self, place: Mapping[str, str]) -> Json:
        """Return the access rules of a place, or all."""
        from workers.api.schemas.access import AccessPlace, AccessRuleItem, AccessRules

        rules = self._mailroom.access.rules(AccessPlace.model_validate(place).scope_or_none())
        return _json(AccessRules(items=[AccessRuleItem.of(rule) for rule in rules]))

    def add_rule(self, rule: Mapping[str, str]) -> Json:
        """Add an access rule; return whether it is new."""
        from workers.api.schemas.access import AccessRuleBody

        body = AccessRuleBody.model_validate(rule)
        return {"created": self._mailroom.access.add_rule(body.rule(current_user()))}

    def remove_rule(self, rule: Mapping[str, str]) -> None:
        """Remove an access rule."""
        from workers.api.schemas.access import AccessRuleBody

        body = AccessRuleBody.model_validate(rule)
        self._mailroom.access.remove_rule(body.scope(), body.principal, body.effect)

    def explain_access(self, document_id: str, principals: Sequence[str]) -> Json:
        """Return whether someone may read a document, and the rule that decides."""
        from workers.api.schemas.access import AccessDecision, AccessQuestion

        question = AccessQuestion(document_id=document_id, principal=list(principals))
        return _json(AccessDecision.of(self._mailroom.access.explain(question.document_id, question.principal)))

    def groups(self) -> Json:
        """Return the groups and their members."""
        from workers.api.schemas.access import Groups

        return _json(Groups.of(self._mailroom.access.groups()))

    def add_members(self, group: str, members: Sequence[str]) -> Json:
        """Add members to a group; return how many are new."""
        from workers.api.schemas.access import Group

        body = Group(name=group, members=list(members))
        return {"members": self._mailroom.access.add_members(body.name, body.members)}

    def remove_members(self, group: str, members: Sequence[str]) -> Json:
        """Remove members from a group; return how many were in it."""
        from workers.api.schemas.access import GroupMembers

        query = GroupMembers(name=group, member=list(members))
        return {"members": self._mailroom.access.remove_members(query.name, query.member)}

    def retention(self, limit: int) -> Json:
        """Return documents whose time is over."""
        from workers.api.schemas.retention import RetentionPage

        return _json(RetentionPage.of_proposals(self._mailroom.retention.due(), limit))

    def confirm_retention(self, document_ids: Sequence[str]) -> Json:
        """Erase documents whose time is over; return how many."""
        return {"erased": self._mailroom.retention.confirm(document_ids, current_user())}

    def holds(self) -> Json:
        """Return the legal holds."""
        from workers.api.schemas.holds import HoldItem, HoldPage

        return _json(HoldPage(items=[HoldItem.of(hold) for hold in self._mailroom.catalogue.holds.all()]))

    def add_hold(self, hold: Mapping[str, str]) -> Json:
        """Place a legal hold; return it."""
        from workers.api.schemas.holds import HoldBody, HoldItem

        body = HoldBody.model_validate(hold)
        return _json(HoldItem.of(self._mailroom.catalogue.holds.add(*body.parts, current_user())[0]))

    def remove_hold(self, hold_id: str) -> None:
        """Lift a legal hold."""
        self._mailroom.catalogue.holds.remove(hold_id)

    def audit(self, **query: Any) -> Json:
        """Return a page of the audit, newest first. ``query`` as `GET /v1/audit` takes it."""
        from workers.api.schemas.audit import AuditPage, AuditQuery

        parameters = AuditQuery.model_validate(query)
        return _json(AuditPage.of_query(parameters, self._mailroom.catalogue.audit, ADMINISTRATOR.tenant))

    def keys(self) -> Json:
        """Return every key without its secret."""
        from workers.api.schemas.keys import KeyItem, KeyPage

        return _json(KeyPage(items=[KeyItem.of(key) for key in self._mailroom.keys.find_all()]))

    def create_key(self, key: Mapping[str, Any]) -> Json:
        """Make a key; return it with its secret."""
        from workers.api.schemas.keys import KeyBody, NewKey
        from workers.services.keys import OPERATOR

        body = KeyBody.model_validate(key)
        return _json(NewKey.of_pair(*self._mailroom.keys.create(body.name, body.access(), OPERATOR, current_user())))

    def rotate_key(self, key_id: str, rotation: Mapping[str, str]) -> Json:
        """Give a key another secret; return it with that."""
        from workers.api.schemas.keys import NewKey, Rotation
        from workers.services.keys import OPERATOR

        body = Rotation.model_validate(rotation)
        rotate = self._mailroom.keys.rotate
        return _json(NewKey.of_pair(*rotate(key_id, body.overlap, body.expires or "", OPERATOR, current_user())))

    def revoke_key(self, key_id: str) -> None:
        """End a key."""
        from workers.services.keys import OPERATOR

        self._mailroom.keys.revoke(key_id, OPERATOR, current_user())

    def deliveries(self, state: str) -> Json:
        """Return deliveries: those that were given up ("dead"), or "all" that are not done."""
        from workers.api.schemas.deliveries import DeliveryPage

        return _json(DeliveryPage.of_rows(self._mailroom.catalogue.deliveries.find(state == "dead", 1000)))

    def retry_deliveries(self, delivery_id: str | None) -> int:
        """Send one delivery that was given up again, or all; return how many."""
        ids = None if delivery_id is None else [delivery_id]
        count = self._mailroom.catalogue.deliveries.retry(ids, current_user())
        if ids and not count:
            raise Refused("not-found", f"No delivery {delivery_id} was given up; see `mailroom deliveries list`.")
        return count

    def drop_delivery(self, delivery_id: str) -> None:
        """Remove a delivery that was given up."""
        self._mailroom.catalogue.deliveries.drop(delivery_id, current_user())

    def taxonomy(self) -> Json:
        """Return the current labels and all operations."""
        from workers.api.schemas.predictions import Taxonomy, TaxonomyOperation

        service = self._mailroom.taxonomy
        operations = [TaxonomyOperation.of(operation) for operation in service.operations()]
        return _json(Taxonomy(labels=service.labels(), operations=operations))

    def change_taxonomy(self, change: Mapping[str, Any]) -> Json:
        """Rename, merge, split or retire labels; return the operation and what it affects."""
        from workers.api.schemas.predictions import TaxonomyChange, TaxonomyReceipt

        body = TaxonomyChange.model_validate(change)
        service = self._mailroom.taxonomy
        return _json(TaxonomyReceipt.of(service.change(body.kind, body.labels, body.into, current_user(), body.reason)))

    def undo_taxonomy(self, reason: str) -> Json:
        """Undo the latest taxonomy operation; return it and what it affects."""
        from workers.api.schemas.predictions import TaxonomyReceipt, TaxonomyUndo

        body = TaxonomyUndo(reason=reason)
        return _json(TaxonomyReceipt.of(self._mailroom.taxonomy.undo(current_user(), body.reason)))

    def jobs(self) -> Json:
        """Return the counts of documents and jobs."""
        from workers.api.schemas.service import JobCounts
        from workers.services.workload import workload

        return _json(JobCounts.of(workload(self._mailroom.catalogue, self._mailroom.notifier)))

    def close(self) -> None:
        """Close nothing: the context owns the installation."""


def _json(model: Any) -> Json:
    values: Json = to_jsonable_python(model)
    return values
