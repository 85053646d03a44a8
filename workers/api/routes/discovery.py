"""Looking around: suggestions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from workers.api.auth import Reader
from workers.api.discovery import SuggestPage, SuggestQuery
from workers.api.problems import responses
from workers.api.routes.common import At

router = APIRouter(prefix="/v1", tags=["discovery"])


@router.get("/suggest", responses=responses())
def suggest(at: At, access: Reader, query: Annotated[SuggestQuery, Query()]) -> SuggestPage:
    """Titles, headings, file names and words that go on from what was typed, of documents that the key may read."""
    return SuggestPage.of(at.house.suggestions.of(access.caller, query.prefix, query.limit))
