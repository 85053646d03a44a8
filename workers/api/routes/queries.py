"""Saved queries: whoever saved one lists, runs and deletes it; for everyone else it is not there."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from workers.api import saved
from workers.api.auth import Reader
from workers.api.problems import responses
from workers.api.routes.common import App
from workers.api.saved import Saved, SavedPage, Saving
from workers.api.schemas.documents import K, Offset, SearchPage

router = APIRouter(prefix="/v1/queries", tags=["queries"])


@router.post("", status_code=201, responses=responses(409))
def create(body: Saving, app: App, access: Reader) -> Saved:
    """Save a search under a name. It belongs to the user that the key stands for, or to the key where it stands for none."""
    return saved.save(app.mailroom, access.caller, body)


@router.get("", responses=responses())
def listed(app: App, access: Reader) -> SavedPage:
    """The caller's saved queries, by name."""
    return saved.listed(app.mailroom, access.caller)


@router.get("/{query_id}/results", responses=responses(404))
def run(
    query_id: str,
    app: App,
    access: Reader,
    k: Annotated[K | None, Query(description="in place of the saved one")] = None,
    offset: Annotated[Offset | None, Query(description="in place of the saved one")] = None,
) -> SearchPage:
    """Search again: what there is now, of documents that the key may read now."""
    return saved.run(app.mailroom, access.caller, query_id, k, offset)


@router.delete("/{query_id}", status_code=204, responses=responses(404))
def delete(query_id: str, app: App, access: Reader) -> None:
    """Forget a saved query."""
    saved.delete(app.mailroom, access.caller, query_id)
