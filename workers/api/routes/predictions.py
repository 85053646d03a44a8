"""Predictions: why a document got its label, what a person decided instead, and the taxonomy."""

from __future__ import annotations

from fastapi import APIRouter

from pipeline.explanation import Explanation
from workers.api.auth import Access, Administrator, Reader, Uploader
from workers.api.limits import EXPENSIVE
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.documents import DocumentStatus
from workers.api.schemas.predictions import (
    Approval,
    Taxonomy,
    TaxonomyChange,
    TaxonomyOperation,
    TaxonomyReceipt,
    TaxonomyUndo,
)

router = APIRouter(prefix="/v1", tags=["predictions"])


@router.get("/documents/{document_id}/why", dependencies=[EXPENSIVE], responses=responses(404, 409))
def why(document_id: str, app: App, access: Reader) -> Explanation:
    """Return the parts of the text that influenced the prediction most, and the nearest documents labelled by a person.

    Only documents that the key may read are compared.
    """
    document = app.mailroom.documents.read(access.caller, document_id)
    return app.mailroom.explainer.explain(access.caller, document)


@router.post("/documents/{document_id}/approve", responses=responses(404, 409))
def approve_document(document_id: str, body: Approval, app: App, access: Uploader) -> DocumentStatus:
    """File a document under the label, or the first of the labels, that a person gives it.

    It becomes an example for training, and reclassification plans leave it as it is.
    """
    document = app.mailroom.documents.read(access.caller, document_id)
    return DocumentStatus.of(app.mailroom.review.approve(document, body.all_labels, _who(access), body.new))


@router.get("/taxonomy", responses=responses())
def taxonomy(app: App, _: Reader) -> Taxonomy:
    """Return the current labels, and every operation that made them so."""
    service = app.mailroom.taxonomy
    operations = [TaxonomyOperation.of(operation) for operation in service.operations()]
    return Taxonomy(labels=service.labels(), operations=operations)


@router.post("/taxonomy", responses=responses(404, 409))
def change_taxonomy(body: TaxonomyChange, app: App, access: Administrator) -> TaxonomyReceipt:
    """Rename, merge, split or retire labels. Predictions follow with the next document, filed documents by a plan."""
    return TaxonomyReceipt.of(
        app.mailroom.taxonomy.change(body.kind, body.labels, body.into, _who(access), body.reason)
    )


@router.post("/taxonomy/undo", responses=responses(409))
def undo_taxonomy(body: TaxonomyUndo, app: App, access: Administrator) -> TaxonomyReceipt:
    """Undo the latest operation that has not been undone."""
    return TaxonomyReceipt.of(app.mailroom.taxonomy.undo(_who(access), body.reason))


def _who(access: Access) -> str:
    return f"key:{access.caller.key_id}"
