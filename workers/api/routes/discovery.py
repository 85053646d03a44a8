"""Suggestions, and documents like another one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from workers.api.auth import KeyAccess
from workers.api.limits import EXPENSIVE
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.discovery import SimilarDocument, SimilarPage, SimilarQuery, SuggestPage, SuggestQuery

router = APIRouter(prefix="/v1", tags=["discovery"])


@router.get("/suggest", responses=responses())
def suggest(app: App, access: KeyAccess, query: Annotated[SuggestQuery, Query()]) -> SuggestPage:
    """Return titles, headings, file names and words that begin as typed, of documents that the key may read."""
    return SuggestPage(items=list(app.mailroom.suggestions.find(access.caller, query.prefix, query.limit)))


@router.get("/documents/{document_id}/similar", dependencies=[EXPENSIVE], responses=responses(404))
def similar(document_id: str, app: App, access: KeyAccess, query: Annotated[SimilarQuery, Query()]) -> SimilarPage:
    """Return the nearest documents that the key may read; near-duplicates are listed under the closer document."""
    document = app.mailroom.documents.read(access.caller, document_id)
    neighbours = app.mailroom.similar.find(access.caller, document, query.k)
    return SimilarPage(items=[SimilarDocument.of(neighbour) for neighbour in neighbours])
