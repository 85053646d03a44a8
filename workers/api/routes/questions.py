"""Search and ask."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from workers.api.auth import KeyAccess
from workers.api.limits import EXPENSIVE
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.search import AnswerPage, QuestionBody, SearchBody, SearchLink, SearchPage
from workers.api.searching import run_search

router = APIRouter(prefix="/v1", tags=["questions"])


@router.post("/search", responses=responses(404, 409))
def search(body: SearchBody, app: App, access: KeyAccess) -> SearchPage:
    """Return the passages that match best, of documents that the key may read. Filters apply before the search."""
    app.audit_log.search("search.run", body.query)
    return run_search(app.mailroom.search, access.caller, body)


@router.get("/search", responses=responses(404, 409))
def search_by_link(app: App, access: KeyAccess, query: Annotated[SearchLink, Query()]) -> SearchPage:
    """Search with query parameters, as a link."""
    app.audit_log.search("search.run", query.query)
    return run_search(app.mailroom.search, access.caller, query)


@router.post("/ask", dependencies=[EXPENSIVE], responses=responses(404))
def ask(body: QuestionBody, app: App, access: KeyAccess) -> AnswerPage:
    """Return an answer of verbatim quotes with their places, or `answered: false` with the nearest passages."""
    app.audit_log.search("search.ask", body.question)
    return AnswerPage.of(app.mailroom.search.ask(access.caller, body.question, body.filters.filters(), body.k))
