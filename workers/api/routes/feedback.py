"""Feedback on hits, stored so that the search can be measured on the organisation's own judgements."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query

from pipeline.questions import Feedback
from workers.api.auth import KeyAccess
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.search import FeedbackBody, FeedbackEntry, FeedbackPage

router = APIRouter(prefix="/v1", tags=["feedback"])


@router.post("/feedback", status_code=204, responses=responses(404))
def record_feedback(body: FeedbackBody, app: App, access: KeyAccess) -> None:
    """Record a click on a hit, or a vote on it, of a document that the key may read."""
    caller = access.caller
    document = app.mailroom.documents.read(caller, body.document_id)
    feedback = Feedback(body.query, document.id, body.kind, time.time(), caller.key_id, caller.tenant, body.rank)
    app.mailroom.catalogue.feedback.record(feedback)


@router.get("/feedback", responses=responses())
def list_feedback(
    app: App,
    access: KeyAccess,
    after: Annotated[int, Query(ge=0, le=2**53, description="`next_after` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> FeedbackPage:
    """Return clicks and votes on documents that the key may read, oldest first.

    `mailroom eval export` makes queries and judgements of them.
    """
    rows = app.mailroom.catalogue.feedback.page(access.caller, after, limit)
    next_after = rows[-1][0] if len(rows) == limit else None
    return FeedbackPage(items=[FeedbackEntry.of(feedback) for _, feedback in rows], next_after=next_after)
