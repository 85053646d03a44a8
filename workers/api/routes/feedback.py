"""What people make of hits: stored, so that the search can be measured on the house's own judgements."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query

from pipeline.questions import Feedback
from workers.api.auth import Administrator, Reader
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.documents import FeedbackEntry, FeedbackPage, Said

router = APIRouter(prefix="/v1", tags=["feedback"])


@router.post("/feedback", status_code=204, responses=responses(404))
def say(body: Said, app: App, access: Reader) -> None:
    """A click on a hit, or a vote on it, of a document that the key may read."""
    caller = access.caller
    document = app.mailroom.documents.read(caller, body.document_id)
    said = Feedback(body.query, document.id, body.kind, time.time(), caller.key_id, caller.tenant, body.rank)
    app.mailroom.catalogue.feedback.record(said)


@router.get("/feedback", responses=responses())
def given(
    app: App,
    access: Administrator,
    after: Annotated[int, Query(ge=0, le=2**53, description="`next_after` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> FeedbackPage:
    """Clicks and votes on documents that the key may read, oldest first. `mailroom eval export` makes queries and judgements
    of them."""
    found = app.mailroom.catalogue.feedback.page(access.caller, after, limit)
    more = found[-1][0] if len(found) == limit else None
    return FeedbackPage(items=[FeedbackEntry.of(feedback) for _, feedback in found], next_after=more)
