"""Looking around: suggestions, documents like another one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from workers.api.auth import Reader
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.discovery import SimilarPage, SimilarQuery, SuggestPage, SuggestQuery

router = APIRouter(prefix="/v1", tags=["discovery"])


@router.get("/suggest", responses=responses())
def suggest(app: App, access: Reader, query: Annotated[SuggestQuery, Query()]) -> SuggestPage:
    """Titles, headings, file names and words that go on from what was typed, of documents that the key may read."""
    return SuggestPage.of(app.mailroom.suggestions.of(access.caller, query.prefix, query.limit))


@router.get("/documents/{document_id}/similar", responses=responses(404))
def similar(document_id: str, app: App, access: Reader, query: Annotated[SimilarQuery, Query()]) -> SimilarPage:
    """The documents nearest to this one, of those that the key may read; what says the same is told once."""
    document = app.mailroom.documents.read(access.caller, document_id)
    return SimilarPage.of(app.mailroom.similar.documents(access.caller, document, query.k))
