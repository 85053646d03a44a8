"""Search and ask."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from workers.api.auth import Reader
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.documents import Answer, Question, Search, SearchLink, SearchPage
from workers.api.searching import answer

router = APIRouter(prefix="/v1", tags=["questions"])


@router.post("/search", responses=responses())
def search(body: Search, app: App, access: Reader) -> SearchPage:
    """Passages that answer the query, of documents that the key may read. The filter comes before the search."""
    return answer(app.mailroom.search, access.caller, body)


@router.get("/search", responses=responses())
def search_by_link(app: App, access: Reader, query: Annotated[SearchLink, Query()]) -> SearchPage:
    """The same, as a link."""
    return answer(app.mailroom.search, access.caller, query)


@router.post("/ask", responses=responses())
def ask(body: Question, app: App, access: Reader) -> Answer:
    """An answer made of verbatim quotes with their places, or `found: false` with the nearest passages."""
    return Answer.of(app.mailroom.search.ask(access.caller, body.question, body.filters.filters(), body.k))
