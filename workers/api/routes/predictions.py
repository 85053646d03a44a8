"""Verdicts: why a document got its own, what a person decided instead, and the house's taxonomy."""

from __future__ import annotations

from fastapi import APIRouter

from workers.api.auth import Access, Administrator, Reader, Uploader
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.documents import Document as DocumentOut
from workers.api.schemas.predictions import Approval, Change, Operation, Recorded, Taxonomy, Undo, Why

router = APIRouter(prefix="/v1", tags=["verdicts"])


@router.get("/documents/{document_id}/why", responses=responses(404, 409))
def why(document_id: str, app: App, access: Reader) -> Why:
    """The parts of the text that moved the verdict most, and the nearest documents that a person labelled, of those that
    the key may read."""
    document = app.mailroom.documents.read(access.caller, document_id)
    return Why.of(app.mailroom.explainer.explain(access.caller, document))


@router.post("/documents/{document_id}/approve", responses=responses(404, 409))
def approve_document(document_id: str, body: Approval, app: App, access: Uploader) -> DocumentOut:
    """File a document under the label, or the first of the labels, that a person gives it. It becomes an example to learn from; plans leave it alone."""
    document = app.mailroom.documents.read(access.caller, document_id)
    return DocumentOut.of(app.mailroom.review.approve(document, body.asked, _who(access), body.new))


@router.get("/taxonomy", responses=responses())
def taxonomy(app: App, _: Reader) -> Taxonomy:
    """The labels of today, and every operation that made them so."""
    held = app.mailroom.taxonomy
    return Taxonomy(labels=held.labels(), operations=[Operation.of(each) for each in held.operations()])


@router.post("/taxonomy", responses=responses(404, 409))
def change_taxonomy(body: Change, app: App, access: Administrator) -> Recorded:
    """Rename, merge, split or retire labels. Verdicts follow with the next document, filed documents by a plan."""
    return Recorded.of(app.mailroom.taxonomy.change(body.kind, body.labels, body.into, _who(access), body.reason))


@router.post("/taxonomy/undo", responses=responses(409))
def undo_taxonomy(body: Undo, app: App, access: Administrator) -> Recorded:
    """Take back the latest operation that stands."""
    return Recorded.of(app.mailroom.taxonomy.undo(_who(access), body.reason))


def _who(access: Access) -> str:
    return f"key:{access.caller.key_id}"
