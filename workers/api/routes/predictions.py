"""Predictions: why a document got its label, what a person decided instead, and the taxonomy."""

from __future__ import annotations

from fastapi import APIRouter

from pipeline.errors import Refused
from pipeline.explanation import Explanation
from workers.api.auth import KeyAccess
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
def why(document_id: str, app: App, access: KeyAccess) -> Explanation:
    """Return the parts of the text that influenced the prediction most, and the nearest documents labelled by a person.

    Only documents that the key may read are compared.
    """
    document = app.mailroom.documents.read(access.caller, document_id)
    return app.mailroom.explainer.explain(access.caller, document)


@router.post("/documents/{document_id}/approve", responses=responses(404, 409))
def approve_document(document_id: str, body: Approval, app: App, access: KeyAccess) -> DocumentStatus:
    """File a document under the label, or the first of the labels, that a person gives it.

    It becomes an example for training, and reclassification plans leave it as it is.
    """
    document = app.mailroom.documents.read(access.caller, document_id)
    _check_labels(app, access, body)
    return DocumentStatus.of(app.mailroom.review.approve(document, body.all_labels, access.name, body.new))


def _check_labels(app: App, access: KeyAccess, approval: Approval) -> None:
    """Raise Refused("forbidden") for labels that the taxonomy does not have yet, unless the key may change it."""
    if "taxonomy" in access.scopes:
        return
    labels = app.mailroom.taxonomy.labels()
    # Where there are labels and no new ones are asked for, an unknown one is refused with the list of all.
    if (approval.new or not labels) and (new := {label.strip() for label in approval.all_labels} - {*labels}):
        text = f"{', '.join(sorted(new))[:200]}: not a label of the taxonomy; a new one needs the scope 'taxonomy' too."
        raise Refused("forbidden", text)


@router.get("/taxonomy", responses=responses())
def taxonomy(app: App) -> Taxonomy:
    """Return the current labels, and every operation that made them so."""
    service = app.mailroom.taxonomy
    operations = [TaxonomyOperation.of(operation) for operation in service.operations()]
    return Taxonomy(labels=service.labels(), operations=operations)


@router.post("/taxonomy", responses=responses(404, 409))
def change_taxonomy(body: TaxonomyChange, app: App, access: KeyAccess) -> TaxonomyReceipt:
    """Rename, merge, split or retire labels. Predictions follow with the next document, filed documents by a plan."""
    return TaxonomyReceipt.of(app.mailroom.taxonomy.change(body.kind, body.labels, body.into, access.name, body.reason))


@router.post("/taxonomy/undo", responses=responses(409))
def undo_taxonomy(body: TaxonomyUndo, app: App, access: KeyAccess) -> TaxonomyReceipt:
    """Undo the latest operation that has not been undone."""
    return TaxonomyReceipt.of(app.mailroom.taxonomy.undo(access.name, body.reason))
