"""Saved queries. Only their owner can list, run and delete them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from workers.api import saved
from workers.api.auth import KeyAccess
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.schemas.queries import SavedQueryBody, SavedQueryItem, SavedQueryPage
from workers.api.schemas.search import K, Offset, SearchPage

router = APIRouter(prefix="/v1/queries", tags=["queries"])


@router.post("", status_code=201, responses=responses(404, 409))
def create_query(body: SavedQueryBody, app: App, access: KeyAccess) -> SavedQueryItem:
    """Save a search under a name. It belongs to the user that the key stands for, otherwise to the key."""
    return saved.create(app.mailroom, access.caller, body)


@router.get("", responses=responses())
def list_queries(app: App, access: KeyAccess) -> SavedQueryPage:
    """Return the caller's saved queries, by name."""
    return saved.find_all(app.mailroom, access.caller)


@router.get("/{query_id}/results", responses=responses(404, 409))
def run_query(
    query_id: str,
    app: App,
    access: KeyAccess,
    k: Annotated[K | None, Query(description="in place of the saved one")] = None,
    offset: Annotated[Offset | None, Query(description="in place of the saved one")] = None,
) -> SearchPage:
    """Run the search again, over the documents that the key may read now."""
    app.audit_log.search("search.saved", query_id)
    return saved.run(app.mailroom, access.caller, query_id, k, offset)


@router.delete("/{query_id}", status_code=204, responses=responses(404))
def delete_query(query_id: str, app: App, access: KeyAccess) -> None:
    """Delete a saved query."""
    saved.delete(app.mailroom, access.caller, query_id)
